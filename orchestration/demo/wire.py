"""What a scripted model is asked and answers, and how that looks on the wire of a Chat Completions service.

demo/messages.py has the other wire, that of a Messages service.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from orchestration.domain.conversation import Usage, estimate_tokens

CLOSING_CALLS = ("submit_plan", "handoff", "submit_review", "submit_fixes")

Fault = Literal[
    "drop",  # the connection closes before any answer
    "half_stream",  # the connection closes in the middle of the answer
    "stall",  # the answer begins and never goes on
    "garbage",  # 100 MB of noise
    "html",  # a web page
    "no_stream",  # one plain JSON body although a stream was asked for
    "no_done",  # a finish reason but no [DONE]
    "no_usage",  # no count of tokens
    "bad_event",  # an event in the middle that is not JSON
    "error_event",  # an error told in the middle of the stream
    "bad_json_arguments",  # the arguments of every call lack their last character
]

Kind = Literal["openai", "anthropic"]

_HEAD_LINE = re.compile(r"(swarm|subtask): *(\S+) *")


@dataclass(frozen=True, slots=True)
class Request:
    """One request as a script sees it. `turns` counts the assistant's messages so far."""

    number: int
    swarm: str
    subtask: str
    closing: str
    tools: tuple[str, ...]
    turns: int
    model: str
    stream: bool
    messages: tuple[Mapping[str, Any], ...] = field(repr=False)
    body: Mapping[str, Any] = field(repr=False)
    authorization: str = field(repr=False)
    kind: Kind = "openai"

    @property
    def first_text(self) -> str:
        """The first user message, which carries the request or instruction."""
        return next((text_of(each) for each in self.messages if each.get("role") == "user"), "")

    @property
    def last_text(self) -> str:
        return text_of(self.messages[-1]) if self.messages else ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to say, and how badly. Without `usage` the tokens are estimated.

    The answer waits for release(held) if `held` is set, then `delay_s`; text and arguments come in `chunks`
    pieces, `pace_s` apart. A status other than 200 sends `error` (message, type, code) as the service's error.
    """

    text: str = ""
    calls: tuple[tuple[str, Mapping[str, Any] | str], ...] = ()
    delay_s: float = 0.0
    pace_s: float = 0.0
    chunks: int = 4
    usage: Usage | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    error: Mapping[str, Any] = field(default_factory=dict)
    finish_reason: str = ""
    fault: Fault | None = None
    held: str = ""

    @property
    def finish(self) -> str:
        return self.finish_reason or ("tool_calls" if self.calls else "stop")


def text_of(message: Mapping[str, Any]) -> str:
    """Its words, and those of the tool results in it."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or text_of(part)) for part in content)


def read_request(number: int, body: Mapping[str, Any], authorization: str, kind: Kind = "openai") -> Request:
    messages = tuple(body["messages"])
    tools = tuple(str(tool.get("function", tool)["name"]) for tool in body.get("tools") or ())
    first = next((text_of(each) for each in messages if each.get("role") == "user"), "")
    head = _head(first)
    return Request(
        number=number,
        swarm=head.get("swarm", ""),
        subtask=head.get("subtask", ""),
        closing=next((name for name in CLOSING_CALLS if name in tools), ""),
        tools=tools,
        turns=sum(each.get("role") == "assistant" for each in messages),
        model=str(body.get("model", "")),
        stream=bool(body.get("stream")),
        messages=messages,
        body=body,
        authorization=authorization,
        kind=kind,
    )


def _head(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines()[:2]:
        match = _HEAD_LINE.fullmatch(line)
        if match is None:
            break
        found[match[1]] = match[2]
    return found


def error_body(answer: Answer) -> bytes:
    error = {"message": f"scripted status {answer.status}", "type": "scripted", "code": None, **answer.error}
    return orjson.dumps({"error": error})


def models_body(model: str) -> bytes:
    return orjson.dumps({"object": "list", "data": [{"id": model, "object": "model", "owned_by": "script"}]})


def completion(request: Request, answer: Answer) -> bytes:
    """The whole answer as one JSON body."""
    calls = [_call(request, index, *call) for index, call in enumerate(calls_of(answer))]
    message = {"role": "assistant", "content": answer.text or None, **({"tool_calls": calls} if calls else {})}
    choice = {"index": 0, "message": message, "finish_reason": answer.finish}
    body = {**_frame(request, "chat.completion"), "choices": [choice]}
    return orjson.dumps(body if answer.fault == "no_usage" else body | {"usage": _usage(request, answer)})


def events(request: Request, answer: Answer) -> Iterator[bytes]:
    """The answer as the events of a stream, one HTTP chunk each."""
    frame = _frame(request, "chat.completion.chunk")
    for delta in _deltas(request, answer):
        yield _event(frame | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    yield _event(frame | {"choices": [{"index": 0, "delta": {}, "finish_reason": answer.finish}]})
    if answer.fault != "no_usage" and (request.body.get("stream_options") or {}).get("include_usage"):
        yield _event(frame | {"choices": [], "usage": _usage(request, answer)})
    if answer.fault != "no_done":
        yield b"data: [DONE]\n\n"


def is_end(piece: bytes) -> bool:
    """Whether an event tells that the answer is whole."""
    return b'"delta":{}' in piece


def _deltas(request: Request, answer: Answer) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": ""}
    for piece in pieces_of(answer.text, answer.chunks):
        yield {"content": piece}
    for index, (name, arguments) in enumerate(calls_of(answer)):
        yield {"tool_calls": [{"index": index, **_call(request, index, name, "")}]}
        for piece in pieces_of(arguments, answer.chunks):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def calls_of(answer: Answer) -> Iterator[tuple[str, str]]:
    for name, arguments in answer.calls:
        raw = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        yield name, raw[:-1] if answer.fault == "bad_json_arguments" else raw


def _call(request: Request, index: int, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{request.number}_{index}", "type": "function", "function": function}


def _frame(request: Request, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{request.number}", "object": kind, "created": 0, "model": request.model}


def _usage(request: Request, answer: Answer) -> dict[str, Any]:
    usage = usage_of(request, answer)
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def usage_of(request: Request, answer: Answer) -> Usage:
    if answer.usage:
        return answer.usage
    said = answer.text + "".join(arguments for _, arguments in calls_of(answer))
    return Usage(sum(estimate_tokens(text_of(each)) for each in request.messages), estimate_tokens(said))


def _event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def pieces_of(text: str, count: int) -> Iterator[str]:
    size = max(1, -(-len(text) // max(1, count)))
    for start in range(0, len(text), size):
        yield text[start : start + size]
