"""Turns pydantic's findings into sentences that a person or a model can act on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

MOST = 5  # a reader mends five things at a time
MAX_WHERE = 100  # characters of a field's name that are repeated: it may be anything


class FromModel(BaseModel):
    """What a model of language wrote. It may name fields that nobody knows, and null means that nothing is given."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {name: value for name, value in given.items() if value is not None}


def sentences(error: ValidationError, *, known: Collection[str] = ()) -> list[str]:
    """One sentence a finding, at most `MOST` and a closing count."""
    found = error.errors(include_url=False)
    told = [_sentence(".".join(str(part) for part in one["loc"]), one["type"], one["msg"], known) for one in found]
    more = [f"And {len(told) - MOST} more."] if len(told) > MOST else []
    return told[:MOST] + more


def _sentence(where: str, kind: str, message: str, known: Collection[str]) -> str:
    where = where if len(where) <= MAX_WHERE else f"{where[:MAX_WHERE]}…"
    if kind == "extra_forbidden":
        return f"{where} is not known; the fields are {', '.join(sorted(known))}."
    if kind == "missing":
        return f"{where} is missing."
    text = message.removeprefix("Value error, ")
    text = text[:1].lower() + text[1:]
    return f"{where}: {text}." if where else f"{text[:1].upper()}{text[1:]}."
