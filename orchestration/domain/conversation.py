"""What is said to a model and what it answers, whichever service it lives behind.

Pure values and the questions that can be answered from them alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, NoReturn

from orchestration.domain.errors import InvalidInput
from orchestration.domain.texts import bytes_of

Role = Literal["system", "user", "assistant", "tool"]

MILLION = Decimal(1_000_000)
BYTES_PER_TOKEN = 4
MAX_NESTING = 64  # of an answer's JSON: what walks over it afterwards has only so much of a stack

_LENIENT = json.JSONDecoder(strict=False)
_OBJECT_START = re.compile(r'\{(?=\s*+["}])')
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*+"?)|,(?=\s*+[}\]])', re.DOTALL)


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool that a model is offered; `parameters` is a JSON schema. `parallel`: it only looks, so several calls of it
    in one answer may run at the same time."""

    name: str
    description: str
    parameters: Mapping[str, Any] = field(hash=False)
    parallel: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as the model wrote it: `arguments` is its own text and may not be valid JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Image:
    """Its bytes in base64."""

    media_type: str
    data: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is to be made. `form` is Chat Completions' response_format; None: as the service does it."""

    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    form: Mapping[str, Any] | None = None


PLAIN = Sampling()


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    images: tuple[Image, ...] = ()  # of a user


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. `cached_tokens` are part of `input_tokens`."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole answer. `finish_reason` is stop, tool_calls, length, content_filter or the service's own.

    `detour` says why endpoints that come before the one that answered did not; `refused` counts the tries that were
    too many for a service, `waited_ms` is what all tries waited before they could be made.
    """

    text: str
    tool_calls: tuple[ToolCall, ...]
    usage: Usage
    finish_reason: str
    model: str
    endpoint: str
    cost_usd: Decimal
    latency_ms: int
    first_token_ms: int
    retries: int = 0
    endpoint_id: str = ""
    detour: str = ""
    streamed: bool = True
    refused: int = 0
    waited_ms: int = 0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model service. `key_env` names the environment variable that holds its key, `key_name` what it is kept under
    in the keyring; the key itself is never here. One that nobody has `vouched` for may only be at a public address.

    Prices are USD per million tokens. `max_concurrent` is a hard cap; None lets the gateway find the limit.
    `request_delay_ms` is where the limiter starts once the service asks for fewer requests without saying how many.
    `roles` are who may use it, empty for everybody. `alternatives` are asked where this one cannot answer.
    `context_window` is what an operator says of the model; None: it is known by the model's name, or learned.
    """

    name: str
    kind: Literal["openai", "anthropic"]
    base_url: str
    model: str
    key_env: str = ""
    input_price: Decimal = Decimal(0)
    output_price: Decimal = Decimal(0)
    max_concurrent: int | None = None
    loopback: bool = False
    id: str = ""
    weight: int = 100
    roles: str = ""
    request_delay_ms: int = 0
    alternatives: tuple[Endpoint, ...] = ()
    context_window: int | None = None
    key_name: str = ""
    vouched: bool = True

    @property
    def place(self) -> str:
        """What its limits and its health are remembered by."""
        return f"{self.id or self.name} {self.base_url}"


def cost(usage: Usage, endpoint: Endpoint) -> Decimal:
    """USD. Cached tokens count in full: no price is known for them, and a budget had better be early."""
    price = usage.input_tokens * endpoint.input_price + usage.output_tokens * endpoint.output_price
    return price / MILLION


def estimate_tokens(text: str) -> int:
    """Near enough to reserve a budget by; a service's own count replaces it."""
    return -(-bytes_of(text) // BYTES_PER_TOKEN)


def parse_arguments(call: ToolCall) -> dict[str, Any]:
    """The call's arguments, or InvalidInput with one sentence that the model can act on."""
    text = call.arguments
    value = _decode(call, text)
    if isinstance(value, str):  # some models encode their arguments twice
        text, value = value, _decode(call, value)
    if not isinstance(value, dict):
        raise InvalidInput(f"The arguments of {call.name} must be one JSON object.")
    if text.count("{") + text.count("[") >= MAX_NESTING and _too_deep(value):
        raise InvalidInput(f"The arguments of {call.name} contain too much nesting; send plain JSON.")
    return value


def _too_deep(value: Any) -> bool:
    layer = [value]
    for _ in range(MAX_NESTING):
        layer = [
            inner
            for one in layer
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return bool(layer)


def _decode(call: ToolCall, text: str) -> Any:
    if not text.strip():
        return {}
    try:
        value = _PLAIN_JSON.decode(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        place = f"{error.msg} at character {error.pos}"
        raise InvalidInput(
            f"The arguments of {call.name} are not valid JSON ({place}); send one JSON object."
        ) from None
    except UnicodeEncodeError:
        raise InvalidInput(
            f"The arguments of {call.name} contain half of a surrogate pair; send whole characters."
        ) from None
    except (ValueError, RecursionError):
        raise InvalidInput(
            f"The arguments of {call.name} contain NaN, Infinity, an endless number or too much nesting; "
            f"send plain JSON."
        ) from None
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_PLAIN_JSON = json.JSONDecoder(strict=False, parse_constant=_refuse_constant)


def find_json_object(text: str) -> dict[str, Any] | None:
    """The largest JSON object that stands in prose, fenced or bare; None where there is none."""
    found = _largest(text)
    return found if found is not None else _largest(_TRAILING_COMMA.sub(r"\1", text))


def _largest(text: str) -> dict[str, Any] | None:
    best, size = None, 0
    for value, length in _objects(text):
        if length > size:
            best, size = value, length
    return best


def _objects(text: str) -> Iterator[tuple[dict[str, Any], int]]:
    # A hostile text could be read to its end from each of its braces: the work is bounded.
    work = 64 * len(text) + 10_000
    at = _OBJECT_START.search(text)
    while at and work > 0:
        end = at.start() + 1
        try:
            value, end = _LENIENT.raw_decode(text, at.start())
        except json.JSONDecodeError as error:
            work -= error.pos
        except (ValueError, RecursionError):
            work -= len(text)
        else:
            if not _too_deep(value):
                yield value, end - at.start()
        at = _OBJECT_START.search(text, end)
