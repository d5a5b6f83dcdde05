"""Judges requests as the strictest services do: a call without its result, or a result without its call, is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from orchestration.adapters.llm import Provider
from orchestration.adapters.llm.anthropic import Anthropic
from orchestration.adapters.llm.openai import OpenAI
from orchestration.domain.conversation import Endpoint, Message, ToolSpec

PROVIDERS: Mapping[str, Provider] = {"openai": OpenAI(), "anthropic": Anthropic()}
OPENAI_ROLES = {"system", "user", "assistant", "tool"}


def encoded(kind: str, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> Mapping[str, Any]:
    endpoint = Endpoint("e", kind, "http://127.0.0.1/v1", "m")  # type: ignore[arg-type]
    body = PROVIDERS[kind].encode(endpoint, messages, tools, tool_choice=None, max_output_tokens=None)
    found: Mapping[str, Any] = orjson.loads(body)
    return found


def complaint(kind: str, body: Mapping[str, Any]) -> str:
    """What is wrong with the request; empty: nothing."""
    if kind == "openai":
        return _openai(body["messages"]) or _openai_fields(body)
    return _anthropic(body["messages"]) or _anthropic_fields(body)


def _openai_fields(body: Mapping[str, Any]) -> str:
    """Those beside the messages that a service judges by their values."""
    if not 0 <= body.get("temperature", 1) <= 2 or not 0 <= body.get("top_p", 1) <= 1:
        return "temperature or top_p is out of its range"
    if len(body.get("stop", ())) > 4 or not all(body.get("stop", ())):
        return "stop: at most 4 texts, none of them empty"
    form = body.get("response_format", {"type": "text"})
    if form["type"] == "json_schema" and not {"name", "schema"} <= set(form["json_schema"]):
        return "response_format.json_schema needs a name and a schema"
    unknown = {"stop_sequences", "output_config", "top_k"} & set(body)
    return f"unknown fields: {unknown}" if unknown else ""


def _anthropic_fields(body: Mapping[str, Any]) -> str:
    if not 0 <= body.get("temperature", 1) <= 1:
        return "temperature: range: 0..1"
    if "temperature" in body and "top_p" in body:
        return "`temperature` and `top_p` cannot both be specified for this model."
    if not all(text.strip() for text in body.get("stop_sequences", ())):
        return "stop_sequences: each stop sequence must contain non-whitespace"
    form = body.get("output_config", {}).get("format", {"type": "json_schema", "schema": {}})
    if form["type"] != "json_schema" or not isinstance(form["schema"], dict):
        return "output_config.format: a JSON schema is needed"
    unknown = {"stop", "response_format", "n"} & set(body)
    return f"extra inputs are not permitted: {unknown}" if unknown else ""


IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")


def _openai_parts(parts: Sequence[Mapping[str, Any]]) -> str:
    for part in parts:
        if part["type"] == "image_url":
            head, _, data = part["image_url"]["url"].partition(";base64,")
            if head.removeprefix("data:") not in IMAGES or not base64.b64decode(data, validate=True):
                return "has no image that can be read"
        elif part["type"] != "text" or not part["text"]:
            return "has a part that is no text and no image"
    return "" if parts else "says nothing"


def _openai(messages: Sequence[Mapping[str, Any]]) -> str:
    due: list[str] = []
    for number, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in due:
                return f"messages[{number}] answers no call of the assistant's message before it"
            due.remove(message["tool_call_id"])
        elif due:
            return f"messages[{number}] comes before the results of {due}"
        else:
            due = [call["id"] for call in message.get("tool_calls", ())]
            if wrong := _said(message, due):
                return f"messages[{number}] {wrong}"
    if due:
        return f"the results of {due} are missing"
    return "" if messages and messages[-1]["role"] in {"user", "tool"} else "the last message is not for the model"


def _said(message: Mapping[str, Any], calls: Sequence[str]) -> str:
    arguments = [json.loads(call["function"]["arguments"]) for call in message.get("tool_calls", ())]
    if message["role"] not in OPENAI_ROLES or (calls and message["role"] != "assistant"):
        return "has a role that cannot say this"
    if len(set(calls)) != len(calls) or not all(isinstance(one, dict) for one in arguments):
        return "has two calls of one id, or arguments that are no object"
    if isinstance(message["content"], list):
        return _openai_parts(message["content"]) if message["role"] == "user" else "has parts that only a user may have"
    return "" if calls or isinstance(message["content"], str) else "says nothing"


def _is_read(source: Mapping[str, Any]) -> bool:
    known = source["type"] == "base64" and source["media_type"] in IMAGES
    return known and bool(base64.b64decode(source["data"], validate=True))


def _anthropic(messages: Sequence[Mapping[str, Any]]) -> str:
    due: list[str] = []
    used: set[str] = set()
    for number, message in enumerate(messages):
        blocks = message["content"]
        if message["role"] != ("user", "assistant")[number % 2]:
            return f"messages.{number}: roles must alternate between user and assistant, and begin with user"
        if not blocks or any(block["type"] == "text" and not block["text"].strip() for block in blocks):
            return f"messages.{number}: text must not be empty"
        if not all(_is_read(block["source"]) for block in blocks if block["type"] == "image"):
            return f"messages.{number}: the image cannot be read"
        answered = [block["tool_use_id"] for block in blocks[: len(due)] if block["type"] == "tool_result"]
        if sorted(answered) != sorted(due) or any(block["type"] == "tool_result" for block in blocks[len(due) :]):
            return f"messages.{number}: tool_use without tool_result first in the next message, or the other way round"
        due = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if len(set(due)) != len(due) or used & set(due):
            return f"messages.{number}: tool_use ids must be unique"
        used |= set(due)
    return f"messages: {due} have no tool_result" if due or len(messages) % 2 == 0 else ""
