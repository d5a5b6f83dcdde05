"""What agents publish to each other: keys, tags, the schema of a value, limits, and how it is told to a model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.domain.errors import InvalidInput

MAX_VALUE_BYTES = 25_000  # so that each value alone fits into one answer
MAX_RESULTS = 2000  # in a swarm
MAX_RESULTS_OF_SUBTASK = 200
MAX_TAGS = 20
MAX_FIELDS = 30  # of an object that its schema names
MAX_TOLD = 30_000  # characters of one answer to get_results
MAX_TOLD_FIRST = 8000  # in the message that an attempt begins with
MAX_VALUE_TOLD = 2000  # of each value there
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,199}")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,49}")
_TYPES: Mapping[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class Shared:
    """One result as others read it."""

    key: str
    producer: str
    value: Any
    schema: Mapping[str, Any]
    tags: Sequence[str]
    size: int

    @property
    def heading(self) -> str:
        tags = f"; tags {', '.join(self.tags)}" if self.tags else ""
        return f"{self.key} (from {self.producer}; {describe(self.schema)}, {self.size:,} bytes{tags})"


def check_key(key: str) -> str:
    """Raises InvalidInput where it is none."""
    if not _KEY.fullmatch(key):
        raise InvalidInput(
            f"The key {key[:60]!r} must be 1 to 200 of letters, digits and . _ / : -, and begin with a letter or digit."
        )
    return key


def check_tags(tags: Iterable[str]) -> list[str]:
    """Each once, in their order."""
    found = list(dict.fromkeys(tags))
    if len(found) > MAX_TAGS:
        raise InvalidInput(f"There are {len(found)} tags; at most {MAX_TAGS} are kept.")
    for tag in found:
        if not _TAG.fullmatch(tag):
            raise InvalidInput(
                f"The tag {tag[:60]!r} must be 1 to 50 of letters, digits and . _ / : -, "
                "and begin with a letter or digit."
            )
    return found


def size_of(value: Any) -> int:
    """In bytes, as JSON; raises InvalidInput where it is too large to be shared."""
    size = len(as_json(value).encode("utf-8", "replace"))
    if size > MAX_VALUE_BYTES:
        raise InvalidInput(
            f"The value has {size:,} bytes as JSON; at most {MAX_VALUE_BYTES:,} are shared. "
            "Share it in parts, or what others need of it."
        )
    return size


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def schema_of(value: Any) -> dict[str, Any]:
    """Its JSON type; of an object the types of its fields, of an array those of its items."""
    schema: dict[str, Any] = {"type": _TYPES[type(value)]}
    if isinstance(value, dict):
        schema["properties"] = {str(name)[:80]: _TYPES[type(one)] for name, one in list(value.items())[:MAX_FIELDS]}
        schema |= {"more": len(value) - MAX_FIELDS} if len(value) > MAX_FIELDS else {}
    if isinstance(value, list):
        schema["items"] = sorted({_TYPES[type(one)] for one in value})
        schema["length"] = len(value)
    return schema


def describe(schema: Mapping[str, Any]) -> str:
    """In one line, for people and models."""
    kind = str(schema.get("type", "unknown"))
    if kind == "object":
        fields = [f"{name}: {of}" for name, of in schema.get("properties", {}).items()]
        more = [f"and {schema['more']} more"] if schema.get("more") else []
        return f"object {{{', '.join(fields + more)}}}"
    if kind == "array":
        items = " or ".join(schema.get("items", ())) or "nothing"
        return f"array of {schema.get('length', 0)} ({items})"
    return kind


def told(found: Sequence[Shared], *, most: int = MAX_TOLD) -> str:
    """For get_results: whole values while they fit, then only what there is and how to get it."""

    def line(one: Shared, room: int) -> str:
        whole = f"{one.heading}\n{as_json(one.value)}"
        return whole if len(whole) <= room else f"{one.heading}\n(left out here; ask for this key alone)"

    return _while_it_fits(found, line, most, "\n\n", "({} more; narrow the query by tags, prefix or producer)")


def told_first(found: Sequence[Shared]) -> str:
    """For the first message of an attempt: small values whole, the others by name, never more than a model can use."""

    def line(one: Shared, room: int) -> str:
        value = as_json(one.value)
        whole = f"{one.heading}: {value}"
        fits = len(value) <= MAX_VALUE_TOLD and len(whole) <= room
        return whole if fits else f"{one.heading}: get_results(key={json.dumps(one.key)})"

    return _while_it_fits(found, line, MAX_TOLD_FIRST, "\n", "and {} more: get_results lists them.")


def _while_it_fits(
    found: Sequence[Shared], line_of: Callable[[Shared, int], str], room: int, gap: str, rest: str
) -> str:
    """A line for each, of the room that is left; then how many there are for which it was not enough."""
    lines: list[str] = []
    for one in found:
        line = line_of(one, room)
        if len(line) > room:
            lines.append(rest.format(len(found) - len(lines)))
            break
        lines.append(line)
        room -= len(line) + len(gap)
    return gap.join(lines)
