"""OpenAI's Responses, served without keeping any: each request brings the whole conversation."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from typing_extensions import override

from orchestration.adapters.llm.exchange import arguments_of
from orchestration.adapters.llm.parts import mapping
from orchestration.adapters.serving import openai
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
from orchestration.domain.conversation import Message, Reply, ToolCall, ToolSpec
from orchestration.domain.errors import InvalidInput

FREEFORM = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
_RESULTS = {"function_call_output", "custom_tool_call_output"}
_NOT_CARRIED = {"reasoning"}  # a model's own notes, which no other one can read
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class Responses(Shape):
    overloaded = 503

    @override
    def question(self, body: Mapping[str, Any]) -> Question:
        if body.get("previous_response_id") or body.get("conversation"):
            raise InvalidInput("The gateway keeps no responses; send the whole conversation as input.")
        instructions = text_of(body.get("instructions"), "the instructions")
        said = list(behind_results(_conversation(body.get("input"))))
        if not said:
            raise InvalidInput("The request has no input.")
        given = objects(body.get("tools"), "tools")
        tools, spaced = list(_tools(given)), list(_spaced(given))
        return Question(
            (*([Message("system", instructions)] if instructions else []), *said),
            (*(tool for tool, _ in tools), *(tool for tool, _ in spaced)),
            _choice(body.get("tool_choice")),
            limit_of(body.get("max_output_tokens")),
            sampling=sampling_of(body, None, mapping(body.get("text")).get("format")),
            stream=body.get("stream") is True,
            freeform=frozenset(tool.name for tool, freeform in tools if freeform),
            spaces={tool.name: parts for tool, parts in spaced},
        )

    @override
    def answer(self, question: Question, reply: Reply) -> Mapping[str, Any]:
        return _whole(_frame(reply), reply, [*_items(question, reply)])

    @override
    def events(self, question: Question, reply: Reply) -> Iterator[bytes]:
        numbers, frame = count(), _frame(reply)
        for value in _story(frame, reply, [*_items(question, reply)]):
            yield event({**value, "sequence_number": next(numbers)}, value["type"])

    @override
    def trouble(self, trouble: Trouble) -> Mapping[str, Any]:
        return openai.ChatCompletions().trouble(trouble)

    @override
    def trouble_event(self, trouble: Trouble) -> bytes:
        error = {"code": trouble.code or "server_error", "message": trouble.message}
        response = {"id": _id("resp"), "object": "response", "status": "failed", "error": error, "output": []}
        return event({"type": "response.failed", "response": response, "sequence_number": 0}, "response.failed")

    @override
    def models(self, names: Sequence[str]) -> Mapping[str, Any]:
        return openai.ChatCompletions().models(names)


def _conversation(given: object) -> Iterator[Message]:
    """What the assistant said and called without a result between is one message: services want it so."""
    items = [{"role": "user", "content": given}] if isinstance(given, str) else objects(given, "input")
    last: Message | None = None
    for item in items:
        if item.get("type") in _NOT_CARRIED:
            continue
        message = _message(item)
        if last and last.role == message.role == "assistant":
            text = "\n".join(filter(None, (last.text, message.text)))
            last = replace(last, text=text, tool_calls=(*last.tool_calls, *message.tool_calls))
            continue
        if last:
            yield last
        last = message
    if last:
        yield last


def _message(item: Mapping[str, Any]) -> Message:
    kind = item.get("type", "message")
    if kind in _CALLS:
        return Message("assistant", "", (_call(item, _CALLS[kind]),))
    if kind in _RESULTS:
        call_id = named(item, "call_id", f"an item of the type {kind}")
        text, images = said_of(item.get("output"), f"an item of the type {kind}")
        return Message("tool", text, tool_call_id=call_id, images=images)
    role = item.get("role")
    if kind != "message" or role not in _ROLES:
        raise InvalidInput(f"The gateway cannot carry an input item of the type {kind!r} and the role {role!r}.")
    if role == "user":
        text, images = said_of(item.get("content"), "a message of the role user")
        return Message("user", text, images=images)
    return Message(_ROLES[str(role)], text_of(item.get("content"), f"a message of the role {role}"))  # type: ignore[arg-type]  # a Role


def _call(item: Mapping[str, Any], key: str) -> ToolCall:
    given = item.get(key)
    text = given if isinstance(given, str) else ""
    arguments = json.dumps({"input": text}) if key == "input" else text
    name, space = named(item, "name", "a call"), item.get("namespace")
    whole = _joined(space, name) if isinstance(space, str) and space else name
    return ToolCall(named(item, "call_id", "a call"), whole, arguments)


def _joined(space: str, name: str) -> str:
    return f"{space}__{name}"


def _spaced(given: Sequence[Mapping[str, Any]]) -> Iterator[tuple[ToolSpec, tuple[str, str]]]:
    """Tools of a server of theirs, which no other service knows as such: their names are joined, and parted again."""
    for group in given:
        if group.get("type") != "namespace":
            continue
        space = named(group, "name", "a namespace of tools")
        for tool in objects(group.get("tools"), "the tools of a namespace"):
            if tool.get("type") == "function":
                name = named(tool, "name", "a tool")
                yield tool_spec({**tool, "name": _joined(space, name)}, tool.get("parameters")), (space, name)


def _tools(given: Sequence[Mapping[str, Any]]) -> Iterator[tuple[ToolSpec, bool]]:
    """A tool that the service itself would run is none that we could offer."""
    for tool in given:
        if tool.get("type") == "function":
            yield tool_spec(tool, tool.get("parameters")), False
        elif tool.get("type") == "custom":
            told = "\n".join(filter(None, (tool.get("description"), mapping(tool.get("format")).get("definition"))))
            yield tool_spec({**tool, "description": told}, FREEFORM), True


def _choice(value: object) -> str | None:
    if isinstance(value, str):
        return value if value in {"auto", "none", "required"} else None
    name = mapping(value).get("name")
    return name if isinstance(name, str) else None


def _id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(12)}"


def _frame(reply: Reply) -> dict[str, Any]:
    return {
        "id": _id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "model": reply.model,
        "output": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": None,
        "top_p": None,
        "usage": None,
    }


def _whole(frame: Mapping[str, Any], reply: Reply, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    reason, usage = _INCOMPLETE.get(reply.finish_reason), reply.usage
    return {
        **frame,
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "output": items,
        "usage": {
            "input_tokens": usage.input_tokens,
            "input_tokens_details": {"cached_tokens": usage.cached_tokens},
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.input_tokens + usage.output_tokens,
        },
    }


def _items(question: Question, reply: Reply) -> Iterator[dict[str, Any]]:
    if reply.text or not reply.tool_calls:
        content = [{"type": "output_text", "text": reply.text, "annotations": []}]
        message = {"type": "message", "id": _id("msg"), "role": "assistant", "content": content}
        yield message | {"status": "completed"}
    for call in reply.tool_calls:
        common = {"call_id": call.id, "name": call.name, "status": "completed"}
        if call.name in question.spaces:
            common["namespace"], common["name"] = question.spaces[call.name]
        if call.name in question.freeform:
            given = str(arguments_of(call).get("input", call.arguments))
            yield {"type": "custom_tool_call", "id": _id("ctc"), "input": given} | common
        else:
            yield {"type": "function_call", "id": _id("fc"), "arguments": call.arguments or "{}"} | common


def _story(frame: dict[str, Any], reply: Reply, items: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """What happens in a stream, in order."""
    yield {"type": "response.created", "response": frame}
    yield {"type": "response.in_progress", "response": frame}
    for index, item in enumerate(items):
        at = {"output_index": index}
        yield {"type": "response.output_item.added", "item": _begun(item), **at}
        yield from _growth(item, {"item_id": item["id"], **at})
        yield {"type": "response.output_item.done", "item": item, **at}
    whole = _whole(frame, reply, items)
    yield {"type": f"response.{whole['status']}", "response": whole}


def _begun(item: Mapping[str, Any]) -> dict[str, Any]:
    empty = {"content": [], "arguments": "", "input": ""}
    return {**item, "status": "in_progress", **{key: value for key, value in empty.items() if key in item}}


def _growth(item: Mapping[str, Any], at: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if item["type"] == "message":
        [part] = item["content"]
        at = {**at, "content_index": 0}
        yield {"type": "response.content_part.added", "part": {**part, "text": ""}, **at}
        for piece in pieces(part["text"]):
            yield {"type": "response.output_text.delta", "delta": piece, "logprobs": [], **at}
        yield {"type": "response.output_text.done", "text": part["text"], "logprobs": [], **at}
        yield {"type": "response.content_part.done", "part": part, **at}
        return
    key = _CALLS[item["type"]]
    name = "function_call_arguments" if key == "arguments" else "custom_tool_call_input"
    for piece in pieces(item[key]):
        yield {"type": f"response.{name}.delta", "delta": piece, **at}
    yield {"type": f"response.{name}.done", key: item[key], "name": item["name"], **at}
