"""How a client wants its answer made, in either shape's words: carried to the endpoint, or refused in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestration.adapters.llm.parts import mapping
from orchestration.domain.conversation import Sampling
from orchestration.domain.errors import InvalidInput

MOST_STOPS = 16
_MOST = {"temperature": 2, "top_p": 1}
_PLAIN = {None, "text"}


def sampling_of(body: Mapping[str, Any], stops: object, form: object) -> Sampling:
    """`form` is what the client's shape has for the form of the answer, as _form reads it."""
    return Sampling(_number(body, "temperature"), _number(body, "top_p"), _stops(stops), _form(mapping(form)))


def _number(body: Mapping[str, Any], name: str) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST[name]:
        raise InvalidInput(f"The {name} must be a number from 0 to {_MOST[name]}.")
    return float(value)


def _stops(given: object) -> tuple[str, ...]:
    found = [given] if isinstance(given, str) else given if given is not None else []
    if not isinstance(found, list) or len(found) > MOST_STOPS or not all(isinstance(one, str) and one for one in found):
        raise InvalidInput(f"Stop must be a text, or a list of at most {MOST_STOPS} texts, none of them empty.")
    return tuple(found)


def _form(given: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """As Chat Completions has it; the other shapes have the schema's fields beside its type."""
    kind = given.get("type")
    if kind in _PLAIN:
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    schema = mapping(given.get("json_schema")) or given
    if kind != "json_schema" or not isinstance(schema.get("schema"), dict):
        raise InvalidInput(f"The form of the answer is {kind!r}; use text, json_object, or json_schema with a schema.")
    name = str(schema.get("name") or "answer")
    kept = {key: schema[key] for key in ("description", "strict") if schema.get(key) is not None}
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema["schema"], **kept}}
