"""The answer of a Chat Completions service while it grows, whatever liberties the service takes with the format."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from orchestration.adapters.llm.parts import mapping, mend, words
from orchestration.domain.conversation import BYTES_PER_TOKEN, ToolCall, Usage


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Draft:
    """`size` counts all characters of the answer so far, the reasoning that is not kept included."""

    size: int = 0
    model: str = ""
    finish_reason: str = ""
    done: bool = False
    answered: bool = False
    _text: list[str] = field(default_factory=list)
    _calls: list[_Call] = field(default_factory=list)
    _by_index: dict[object, _Call] = field(default_factory=dict)
    _usage: Mapping[str, Any] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return self.done or bool(self.finish_reason)

    def take(self, value: Mapping[str, Any]) -> None:
        """One event of a stream, or a whole plain body."""
        self.model = str(value.get("model") or self.model)
        self._usage = mapping(value.get("usage")) or self._usage
        choices = value.get("choices")
        choice = mapping(choices[0]) if isinstance(choices, list) and choices else {}
        self.answered = self.answered or bool(choice)
        self._take_delta(mapping(choice.get("delta") or choice.get("message")))
        self.finish_reason = str(choice.get("finish_reason") or self.finish_reason)

    def text(self) -> str:
        return mend("".join(self._text))

    def calls(self) -> tuple[ToolCall, ...]:
        return tuple(
            ToolCall(call.id or f"call_{secrets.token_hex(8)}", call.name, mend("".join(call.arguments)))
            for call in self._calls
        )

    def finish(self) -> str:
        """Services that know no better say "stop" after a tool call, or nothing at all before [DONE]."""
        if self._calls and self.finish_reason in {"", "stop", "function_call"}:
            return "tool_calls"
        return self.finish_reason or "stop"

    def usage(self, sent: int) -> Usage:
        """What the service counted, else an estimate from the bytes sent and the characters that came."""
        counted = self._usage.get("prompt_tokens"), self._usage.get("completion_tokens")
        if isinstance(counted[0], int) and isinstance(counted[1], int):
            details = mapping(self._usage.get("prompt_tokens_details"))
            cached = details.get("cached_tokens") or self._usage.get("prompt_cache_hit_tokens")
            return Usage(counted[0], counted[1], cached if isinstance(cached, int) else 0)
        return Usage(-(-sent // BYTES_PER_TOKEN), -(-self.size // BYTES_PER_TOKEN), estimated=True)

    def _take_delta(self, delta: Mapping[str, Any]) -> None:
        for word in (words(delta.get("content")), words(delta.get("refusal"))):
            self.size += len(word)
            self._text.append(word)
        self.size += len(words(delta.get("reasoning_content") or delta.get("reasoning")))
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            self._take_call(mapping(call))

    def _take_call(self, delta: Mapping[str, Any]) -> None:
        function = mapping(delta.get("function"))
        name, arguments = function.get("name") or "", function.get("arguments") or ""
        call = self._call(delta.get("index"), str(delta.get("id") or ""), str(name))
        piece = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        call.arguments.append(piece)
        self.size += len(piece)

    def _call(self, index: object, id_: str, name: str) -> _Call:
        """The call that a delta goes on with. Some services give every call index 0, or no index at all."""
        call = self._by_index.get(index)
        if call is None or (name and (id_ != call.id if id_ else index is None)):
            call = self._by_index[index] = _Call()
            self._calls.append(call)
        call.id, call.name = call.id or id_, call.name or name
        return call
