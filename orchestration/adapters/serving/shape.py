"""What a client asks and is told, whichever service it believes to talk to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from orchestration.adapters.llm.failures import Busy, ContextTooLong, RequestRefused
from orchestration.domain.conversation import PLAIN, Message, Reply, Sampling, ToolSpec, estimate_tokens
from orchestration.domain.errors import AdapterError, Failure, InvalidInput

NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}
IMAGE_TOKENS = 1600  # what services count for one of their largest
_TEXTS = {"text", "input_text", "output_text"}
_BY_KIND = {
    Failure.TRANSIENT: (503, "overloaded"),
    Failure.BUDGET: (429, "insufficient_quota"),
    Failure.CANCELLED: (503, "cancelled"),
    Failure.PERMANENT: (502, "endpoint_failed"),
}


@dataclass(frozen=True, slots=True)
class Question:
    """What of a request is carried on. Its model is not: the attempt's endpoint has one."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str | None = None
    max_output_tokens: int | None = None
    sampling: Sampling = PLAIN
    stream: bool = False
    wants_usage: bool = False
    freeform: frozenset[str] = frozenset()  # tools that take one text instead of an object
    spaces: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # tools whose client names them in two parts


@dataclass(frozen=True, slots=True)
class Trouble:
    """A no. `again`: whether the same request may work later."""

    status: int
    message: str
    code: str = ""
    again: bool = False


class Refusal(AdapterError):
    """The gateway's own no, as the client is told it."""

    def __init__(self, trouble: Trouble, kind: Failure = Failure.PERMANENT) -> None:
        super().__init__(kind, trouble.message)
        self.trouble = trouble


class Shape(Protocol):
    """One wire format, seen from the serving side."""

    overloaded: int  # the status of a service that cannot answer now

    def question(self, body: Mapping[str, Any]) -> Question:
        """Raises InvalidInput with a sentence for whoever wrote the client."""
        ...

    def answer(self, question: Question, reply: Reply) -> Mapping[str, Any]: ...

    def events(self, question: Question, reply: Reply) -> Iterator[bytes]: ...

    def trouble(self, trouble: Trouble) -> Mapping[str, Any]: ...

    def trouble_event(self, trouble: Trouble) -> bytes: ...

    def models(self, names: Sequence[str]) -> Mapping[str, Any]: ...


def trouble_of(error: AdapterError | InvalidInput) -> Trouble:
    """The status by which a client's own retries do the right thing."""
    if isinstance(error, Refusal):
        return error.trouble
    status, code = _status(error)
    return Trouble(status, str(error), code, again=isinstance(error, AdapterError) and error.transient)


def _status(error: AdapterError | InvalidInput) -> tuple[int, str]:
    match error:
        case ContextTooLong():
            return 400, "context_length_exceeded"
        case InvalidInput() | RequestRefused():
            return 400, "invalid_request"
        case Busy(rate_limited=True):
            return 429, "rate_limit_exceeded"
    return _BY_KIND[error.kind]


def text_of(content: object, where: str) -> str:
    """A content that is a string, nothing, or parts that are all text."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(text_part(part, where) for part in objects(content, f"the content of {where}"))


def text_part(part: Mapping[str, Any], where: str) -> str:
    kind = part.get("type", "text")
    if kind in _TEXTS and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind == "refusal":
        return str(part.get("refusal") or "")
    raise cannot_carry(kind, where)


def cannot_carry(kind: object, where: str) -> InvalidInput:
    return InvalidInput(
        f"The gateway carries text and images, and {where} has a part of the type {kind!r}; leave it out."
    )


def objects(value: object, what: str) -> list[Mapping[str, Any]]:
    """A list of JSON objects; nothing is an empty one."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise InvalidInput(f"{what[0].upper()}{what[1:]} must be a list of objects.")
    return value


def named(value: Mapping[str, Any], key: str, what: str) -> str:
    found = value.get(key)
    if not isinstance(found, str) or not found:
        raise InvalidInput(f"{what[0].upper()}{what[1:]} has no {key}.")
    return found


def tool_spec(value: Mapping[str, Any], parameters: object) -> ToolSpec:
    given = parameters if isinstance(parameters, dict) and parameters else NO_PARAMETERS
    return ToolSpec(named(value, "name", "a tool"), str(value.get("description") or ""), given)


def limit_of(*values: object) -> int | None:
    """The first that was given."""
    given = next((value for value in values if value is not None), None)
    if given is None:
        return None
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise InvalidInput("The limit of the answer's tokens must be a whole number above 0.")
    return given


def tokens_of(question: Question) -> int:
    """An estimate; nobody but the endpoint can count."""
    said = sum(estimate_tokens(one.text) for one in question.messages)
    called = sum(estimate_tokens(call.name + call.arguments) for one in question.messages for call in one.tool_calls)
    offered = sum(estimate_tokens(f"{tool.name}{tool.description}{tool.parameters}") for tool in question.tools)
    shown = sum(IMAGE_TOKENS * len(one.images) for one in question.messages)
    return said + called + offered + shown


def event(value: Mapping[str, Any], name: str = "") -> bytes:
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + orjson.dumps(value) + b"\n\n"
