"""The wire format of OpenAI's Chat Completions, and of everything that calls itself compatible."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from typing_extensions import override

from orchestration.adapters.llm.draft import Draft
from orchestration.adapters.llm.exchange import HttpProvider, arguments_of, dump
from orchestration.adapters.llm.failures import address
from orchestration.adapters.llm.keys import Key
from orchestration.domain.conversation import PLAIN, Endpoint, Message, Sampling, ToolCall, ToolSpec

_CHOICES = {"auto", "none", "required"}
_SILENCE = "(no answer)"  # some services refuse a whole history for one answer of theirs without a word


class OpenAI(HttpProvider):
    path = "/chat/completions"

    @override
    def draft(self) -> Draft:
        return Draft()

    @override
    def headers(self, key: Key) -> dict[str, str]:
        return key.headers()

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
        body: dict[str, Any] = {
            "model": endpoint.model,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if tools:
            body["tools"] = [_tool(tool) for tool in tools]
        if tools and tool_choice:
            body["tool_choice"] = _choice(tool_choice)
        if max_output_tokens is not None:
            body[_limit_name(endpoint)] = max_output_tokens
        body |= _sampled(sampling)
        body["messages"] = [_message(message) for message in messages]  # last: what grows follows what stays the same
        return dump(body)


def _sampled(sampling: Sampling) -> dict[str, Any]:
    fields = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop": list(sampling.stop) or None,
        "response_format": sampling.form,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _limit_name(endpoint: Endpoint) -> str:
    # OpenAI's newer models refuse the old name, most other services know only the old one.
    host = address(endpoint.base_url).hostname or ""
    modern = host.endswith((".openai.com", ".openai.azure.com"))
    return "max_completion_tokens" if modern else "max_tokens"


def _choice(tool_choice: str) -> object:
    return tool_choice if tool_choice in _CHOICES else {"type": "function", "function": {"name": tool_choice}}


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.text}
    if not message.tool_calls:
        if message.images:
            return {"role": message.role, "content": [*_parts(message)]}
        silent = message.role == "assistant" and not message.text.strip()
        return {"role": message.role, "content": _SILENCE if silent else message.text}
    calls = [_call(call) for call in message.tool_calls]
    return {"role": message.role, "content": message.text or None, "tool_calls": calls}


def _parts(message: Message) -> Iterator[dict[str, Any]]:
    if message.text:
        yield {"type": "text", "text": message.text}
    for image in message.images:
        yield {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{image.data}"}}


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _arguments(call)}}


def _arguments(call: ToolCall) -> str:
    """As the model wrote them where they are an object."""
    arguments = arguments_of(call)
    return json.dumps(arguments) if "not_json" in arguments else call.arguments or "{}"
