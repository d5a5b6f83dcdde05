"""Reading what services send, whatever liberties they take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson


def load(data: bytes) -> Any:
    """JSON, also with half a surrogate pair: services cut a character in two between events. ValueError if not."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data)


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def words(value: object) -> str:
    if isinstance(value, list):  # parts, as some services answer
        return "".join(str(mapping(part).get("text") or "") for part in value)
    return value if isinstance(value, str) else ""


def mend(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
