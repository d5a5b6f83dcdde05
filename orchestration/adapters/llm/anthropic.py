"""The wire format of Anthropic's Messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from typing_extensions import override

from orchestration.adapters.llm.exchange import HttpProvider, arguments_of, dump
from orchestration.adapters.llm.failures import RequestRefused, place
from orchestration.adapters.llm.keys import Key
from orchestration.adapters.llm.messages_draft import MessagesDraft
from orchestration.domain.conversation import PLAIN, Endpoint, Message, Sampling, ToolCall, ToolSpec
from orchestration.domain.windows import answer_room, known_window

VERSION = "2023-06-01"
_CACHED = {"cache_control": {"type": "ephemeral"}}
_CHOICES = {"auto": {"type": "auto"}, "none": {"type": "none"}, "required": {"type": "any"}}
_VALID_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Anthropic(HttpProvider):
    path = "/v1/messages"

    @override
    def draft(self) -> MessagesDraft:
        return MessagesDraft()

    @override
    def headers(self, key: Key) -> dict[str, str]:
        return {"anthropic-version": VERSION, **key.api_headers()}

    @override
    def encode(
        self,
        endpoint: Endpoint,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        *,
        tool_choice: str | None,
        max_output_tokens: int | None,
        sampling: Sampling = PLAIN,
    ) -> bytes:
        room = answer_room(endpoint.context_window or known_window(endpoint.model))
        body: dict[str, Any] = {
            "model": endpoint.model,
            "max_tokens": min(max_output_tokens or room, room),  # the service wants a number
            "stream": True,
        }
        system = [message.text for message in messages if message.role == "system" and message.text.strip()]
        if system:
            body["system"] = [{"type": "text", "text": "\n\n".join(system)} | _CACHED]
        if tools:
            body["tools"] = [_tool(tool) for tool in tools]
            body["tools"][-1] |= _CACHED
        if tools and tool_choice:
            body["tool_choice"] = _CHOICES.get(tool_choice, {"type": "tool", "name": tool_choice})
        body |= _sampled(endpoint, sampling)
        body["messages"] = _History().of(messages)  # last: what grows follows what stays the same
        return dump(body)


def _sampled(endpoint: Endpoint, sampling: Sampling) -> dict[str, Any]:
    heat, form = sampling.temperature, sampling.form
    if heat is not None and heat > 1:
        raise RequestRefused(f"{place(endpoint)} takes a temperature from 0 to 1, not {heat:g}.")
    if form and "json_schema" not in form:
        raise RequestRefused(f"{place(endpoint)} cannot be held to JSON without a schema; give one, or offer a tool.")
    stops = [text for text in sampling.stop if text.strip()]  # the service refuses one of spaces alone
    fields = {
        "temperature": heat,
        "top_p": None if sampling.top_p == 1 else sampling.top_p,  # all: not every model takes it beside a temperature
        "stop_sequences": stops or None,
        "output_config": {"format": {"type": "json_schema", "schema": form["json_schema"]["schema"]}} if form else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


class _History:
    """Messages as the service wants them: user and assistant in turn, no empty text, ids that it accepts.

    Ids come from any service that answered before; one that is unfit or was used in an earlier turn is renamed.
    """

    def __init__(self) -> None:
        self._turns: list[dict[str, Any]] = []
        self._used: set[str] = set()
        self._names: dict[str, str] = {}
        self._numbers = count(1)

    def of(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        for message in messages:
            if message.role != "system":
                self._add("assistant" if message.role == "assistant" else "user", list(self._blocks(message)))
        last = next((turn for turn in reversed(self._turns) if turn["role"] == "user"), None)
        if last:
            last["content"][-1] |= _CACHED
        return self._turns

    def _add(self, role: str, blocks: list[dict[str, Any]]) -> None:
        if not blocks:
            return
        if self._turns and self._turns[-1]["role"] == role:
            self._turns[-1]["content"] += blocks
        else:
            self._turns.append({"role": role, "content": blocks})

    def _blocks(self, message: Message) -> Iterator[dict[str, Any]]:
        if message.role == "tool":
            id_ = self._names.get(message.tool_call_id, message.tool_call_id)
            yield {"type": "tool_result", "tool_use_id": id_, "content": message.text}
            return
        if message.text.strip():
            yield {"type": "text", "text": message.text}
        for image in message.images:
            source = {"type": "base64", "media_type": image.media_type, "data": image.data}
            yield {"type": "image", "source": source}
        for call in message.tool_calls:
            yield self._call(call)

    def _call(self, call: ToolCall) -> dict[str, Any]:
        id_ = call.id
        while id_ in self._used or not _VALID_ID.fullmatch(id_):
            id_ = f"call_{next(self._numbers)}"
        self._used.add(id_)
        self._names[call.id] = id_
        return {"type": "tool_use", "id": id_, "name": call.name, "input": arguments_of(call)}


def _tool(tool: ToolSpec) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
