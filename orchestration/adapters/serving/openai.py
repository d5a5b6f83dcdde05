"""Chat Completions, served."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from typing_extensions import override

from orchestration.adapters.llm.parts import mapping
from orchestration.adapters.serving.pictures import behind_results, said_of
from orchestration.adapters.serving.sampling import sampling_of
from orchestration.adapters.serving.shape import (
    Question,
    Shape,
    Trouble,
    event,
    limit_of,
    named,
    objects,
    text_of,
    tool_spec,
)
from orchestration.domain.conversation import Message, Reply, ToolCall, ToolSpec, Usage
from orchestration.domain.errors import InvalidInput

PIECE = 2000  # characters of an answer in one event
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_FINISH = {"stop", "length", "tool_calls", "content_filter"}
_TYPES = {401: "authentication_error", 429: "rate_limit_error", 404: "not_found_error"}


class ChatCompletions(Shape):
    overloaded = 503

    @override
    def question(self, body: Mapping[str, Any]) -> Question:
        if body.get("n") not in {None, 1}:
            raise InvalidInput("The gateway gives one answer a request; leave n out.")
        messages = tuple(behind_results(_message(one) for one in objects(body.get("messages"), "messages")))
        if not messages:
            raise InvalidInput("The request has no messages.")
        return Question(
            messages,
            tuple(_tools(body)),
            _choice(body.get("tool_choice")),
            limit_of(body.get("max_completion_tokens"), body.get("max_tokens")),
            sampling=sampling_of(body, body.get("stop"), body.get("response_format")),
            stream=body.get("stream") is True,
            wants_usage=mapping(body.get("stream_options")).get("include_usage") is True,
        )

    @override
    def answer(self, question: Question, reply: Reply) -> Mapping[str, Any]:
        calls = [_call(call) for call in reply.tool_calls]
        message = {"role": "assistant", "content": reply.text or None} | ({"tool_calls": calls} if calls else {})
        choice = {"index": 0, "message": message, "finish_reason": _finish(reply), "logprobs": None}
        return _frame(reply, "chat.completion") | {"choices": [choice], "usage": usage_of(reply.usage)}

    @override
    def events(self, question: Question, reply: Reply) -> Iterator[bytes]:
        frame = _frame(reply, "chat.completion.chunk")
        for delta in _deltas(reply):
            yield event(frame | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        yield event(frame | {"choices": [{"index": 0, "delta": {}, "finish_reason": _finish(reply)}]})
        if question.wants_usage:
            yield event(frame | {"choices": [], "usage": usage_of(reply.usage)})
        yield b"data: [DONE]\n\n"

    @override
    def trouble(self, trouble: Trouble) -> Mapping[str, Any]:
        kind = "server_error" if trouble.status >= 500 else _TYPES.get(trouble.status, "invalid_request_error")
        kind = "insufficient_quota" if trouble.code == "insufficient_quota" else kind
        return {"error": {"message": trouble.message, "type": kind, "param": None, "code": trouble.code or None}}

    @override
    def trouble_event(self, trouble: Trouble) -> bytes:
        return event(self.trouble(trouble))

    @override
    def models(self, names: Sequence[str]) -> Mapping[str, Any]:
        return {"object": "list", "data": [model(name) for name in names]}


def model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "swarmsite"}


def usage_of(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), PIECE):
        yield text[start : start + PIECE]


def _message(value: Mapping[str, Any]) -> Message:
    role = value.get("role")
    if role in {"tool", "function"}:
        answers = str(value.get("tool_call_id") or value.get("name") or "")
        text, images = said_of(value.get("content"), "a tool message")
        return Message("tool", text, tool_call_id=answers, images=images)
    if role not in _ROLES:
        raise InvalidInput(f"A message has the role {role!r}; use system, developer, user, assistant or tool.")
    where = f"a message of the role {role}"
    if role == "user":
        text, images = said_of(value.get("content"), where)
        return Message("user", text, images=images)
    text = text_of(value.get("content"), where)
    calls = tuple(_tool_call(one) for one in objects(value.get("tool_calls"), "tool_calls"))
    return Message(_ROLES[str(role)], text, calls if role == "assistant" else ())  # type: ignore[arg-type]  # a Role


def _tool_call(value: Mapping[str, Any]) -> ToolCall:
    function = mapping(value.get("function"))
    arguments = function.get("arguments")
    return ToolCall(
        named(value, "id", "a tool call"),
        named(function, "name", "the function of a tool call"),
        arguments if isinstance(arguments, str) else "",
    )


def _tools(body: Mapping[str, Any]) -> Iterator[ToolSpec]:
    """A tool that the service itself would run is none that we could offer."""
    for tool in objects(body.get("tools"), "tools"):
        if tool.get("type", "function") == "function":
            function = mapping(tool.get("function"))
            yield tool_spec(function, function.get("parameters"))


def _choice(value: object) -> str | None:
    if isinstance(value, str):
        return value if value in {"auto", "none", "required"} else None
    name = mapping(mapping(value).get("function")).get("name")
    return name if isinstance(name, str) else None


def _finish(reply: Reply) -> str:
    return reply.finish_reason if reply.finish_reason in _FINISH else "stop"


def _frame(reply: Reply, kind: str) -> dict[str, Any]:
    id_ = f"chatcmpl-{secrets.token_hex(12)}"
    return {"id": id_, "object": kind, "created": int(time.time()), "model": reply.model}


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}


def _deltas(reply: Reply) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": ""}
    for piece in pieces(reply.text):
        yield {"content": piece}
    for index, call in enumerate(reply.tool_calls):
        start = _call(call)
        start["function"] = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": index, **start}]}
        for piece in pieces(call.arguments or "{}"):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
