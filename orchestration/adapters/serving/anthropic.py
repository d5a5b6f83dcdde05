"""Messages, served."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from typing_extensions import override

from orchestration.adapters.llm.exchange import arguments_of
from orchestration.adapters.llm.parts import mapping
from orchestration.adapters.serving.openai import pieces
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
from orchestration.domain.conversation import Image, Message, Reply, ToolCall, ToolSpec
from orchestration.domain.errors import InvalidInput

_NOT_CARRIED = {"thinking", "redacted_thinking"}  # a model's own notes, which no other one can read
_STOP = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 413: "request_too_large"}


class Messages(Shape):
    overloaded = 529

    @override
    def question(self, body: Mapping[str, Any]) -> Question:
        system = text_of(body.get("system"), "the system prompt")
        given = objects(body.get("messages"), "messages")
        said = list(behind_results(one for value in given for one in _messages(value)))
        if not said:
            raise InvalidInput("The request has no messages.")
        return Question(
            (*([Message("system", system)] if system else []), *said),
            tuple(_tools(body)),
            _choice(mapping(body.get("tool_choice"))),
            limit_of(body.get("max_tokens")),
            sampling=sampling_of(body, body.get("stop_sequences"), _form(body)),
            stream=body.get("stream") is True,
        )

    @override
    def answer(self, question: Question, reply: Reply) -> Mapping[str, Any]:
        content = [{"type": "text", "text": reply.text}] if reply.text else []
        content += [_tool_use(call, arguments_of(call)) for call in reply.tool_calls]
        return _frame(reply) | {"content": content, "stop_reason": _stop(reply), "usage": _usage(reply)}

    @override
    def events(self, question: Question, reply: Reply) -> Iterator[bytes]:
        begun = _usage(reply) | {"output_tokens": 0}
        message = _frame(reply) | {"content": [], "stop_reason": None, "usage": begun}
        yield _event({"type": "message_start", "message": message})
        for index, (start, deltas) in enumerate(_blocks(reply)):
            yield _event({"type": "content_block_start", "index": index, "content_block": start})
            for delta in deltas:
                yield _event({"type": "content_block_delta", "index": index, "delta": delta})
            yield _event({"type": "content_block_stop", "index": index})
        end = {"stop_reason": _stop(reply), "stop_sequence": None}
        yield _event({"type": "message_delta", "delta": end, "usage": _usage(reply)})
        yield _event({"type": "message_stop"})

    @override
    def trouble(self, trouble: Trouble) -> Mapping[str, Any]:
        kind = "api_error" if trouble.status >= 500 else _TYPES.get(trouble.status, "invalid_request_error")
        kind = "overloaded_error" if trouble.code == "overloaded" else kind
        kind = "rate_limit_error" if trouble.status == 429 else kind
        return {"type": "error", "error": {"type": kind, "message": trouble.message}}

    @override
    def trouble_event(self, trouble: Trouble) -> bytes:
        return event(self.trouble(trouble), "error")

    @override
    def models(self, names: Sequence[str]) -> Mapping[str, Any]:
        data = [model(name) for name in names]
        return {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}


def model(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}


def _messages(value: Mapping[str, Any]) -> Iterator[Message]:
    """One of theirs is several of ours: every tool result is a message, and the words come after the results."""
    role, content = value.get("role"), value.get("content")
    if role not in {"user", "assistant", "system"}:
        raise InvalidInput(f"A message has the role {role!r}; use user or assistant.")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else objects(content, "content")
    texts: list[str] = []
    images: list[Image] = []
    calls: list[ToolCall] = []
    for block in blocks:
        match block.get("type"):
            case "tool_use":
                calls.append(_call(block))
            case "tool_result":
                yield _result(block)
            case "image" if role == "user":
                images += said_of([block], "a message of the role user")[1]
            case kind if kind not in _NOT_CARRIED:
                texts.append(text_of([block], f"a message of the role {role}"))
    text = "\n".join(texts)
    if text or calls or images:
        yield Message(role, text, tuple(calls), images=tuple(images))


def _call(block: Mapping[str, Any]) -> ToolCall:
    arguments = orjson.dumps(block.get("input") or {}).decode()
    return ToolCall(named(block, "id", "a tool_use block"), named(block, "name", "a tool_use block"), arguments)


def _result(block: Mapping[str, Any]) -> Message:
    text, images = said_of(block.get("content"), "a tool_result block")
    if block.get("is_error") and "error" not in text.lower():
        text = f"Error: {text}"
    return Message("tool", text, tool_call_id=named(block, "tool_use_id", "a tool_result block"), images=images)


def _tools(body: Mapping[str, Any]) -> Iterator[ToolSpec]:
    """A tool without a schema is one that the service itself would know or run; we have none to offer."""
    for tool in objects(body.get("tools"), "tools"):
        if isinstance(tool.get("input_schema"), dict):
            yield tool_spec(tool, tool["input_schema"])


def _form(body: Mapping[str, Any]) -> object:
    """Where it is now, or where it was at first."""
    return mapping(body.get("output_config")).get("format") or body.get("output_format")


def _choice(value: Mapping[str, Any]) -> str | None:
    if value.get("type") == "tool":
        return named(value, "name", "the tool_choice")
    return _CHOICES.get(str(value.get("type")))


def _stop(reply: Reply) -> str:
    return _STOP.get(reply.finish_reason, "end_turn")


def _frame(reply: Reply) -> dict[str, Any]:
    id_ = f"msg_{secrets.token_hex(12)}"
    return {"id": id_, "type": "message", "role": "assistant", "model": reply.model, "stop_sequence": None}


def _usage(reply: Reply) -> dict[str, Any]:
    cached = reply.usage.cached_tokens
    return {
        "input_tokens": max(0, reply.usage.input_tokens - cached),
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": 0,
        "output_tokens": reply.usage.output_tokens,
    }


def _tool_use(call: ToolCall, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def _blocks(reply: Reply) -> Iterator[tuple[Mapping[str, Any], Iterator[Mapping[str, Any]]]]:
    if reply.text:
        yield {"type": "text", "text": ""}, ({"type": "text_delta", "text": piece} for piece in pieces(reply.text))
    for call in reply.tool_calls:
        arguments = orjson.dumps(arguments_of(call)).decode()
        yield (
            _tool_use(call, {}),
            ({"type": "input_json_delta", "partial_json": piece} for piece in pieces(arguments)),
        )


def _event(value: Mapping[str, Any]) -> bytes:
    return event(value, str(value["type"]))
