"""The answer of a Messages service while it grows."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from orchestration.adapters.llm.parts import mapping, mend, words
from orchestration.domain.conversation import BYTES_PER_TOKEN, ToolCall, Usage

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
_COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


@dataclass(slots=True)
class _Block:
    kind: str
    id: str = ""
    name: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    pieces: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        return mend("".join(self.pieces)) or (orjson.dumps(self.given).decode() if self.given else "")


@dataclass(slots=True)
class MessagesDraft:
    """Blocks by their index, as events or as one whole message."""

    size: int = 0
    model: str = ""
    done: bool = False
    answered: bool = False
    _stop: str = ""
    _blocks: dict[object, _Block] = field(default_factory=dict)
    _usage: dict[str, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return self.done or bool(self._stop)

    def take(self, value: Mapping[str, Any]) -> None:
        """One event, or a whole message. Pings and kinds that are not known say nothing."""
        match value.get("type"):
            case "message":
                self._take_message(value)
            case "message_start":
                self._take_message(mapping(value.get("message")))
            case "content_block_start":
                self._start(value.get("index"), mapping(value.get("content_block")))
            case "content_block_delta":
                self._take_delta(value.get("index"), mapping(value.get("delta")))
            case "message_delta":
                self._take_end(mapping(value.get("delta")), mapping(value.get("usage")))
            case "message_stop":
                self.done = True

    def text(self) -> str:
        return mend("".join("".join(block.pieces) for block in self._blocks.values() if block.kind == "text"))

    def calls(self) -> tuple[ToolCall, ...]:
        return tuple(
            ToolCall(block.id or f"call_{secrets.token_hex(8)}", block.name, block.arguments)
            for block in self._blocks.values()
            if block.kind == "tool_use"
        )

    def finish(self) -> str:
        finish = _FINISH.get(self._stop, self._stop) or "stop"
        return "tool_calls" if finish == "stop" and self.calls() else finish

    def usage(self, sent: int) -> Usage:
        """The service counts what it read from its cache and wrote to it apart; our input is all of it."""
        if not {"input_tokens", "output_tokens"} <= self._usage.keys():
            return Usage(-(-sent // BYTES_PER_TOKEN), -(-self.size // BYTES_PER_TOKEN), estimated=True)
        count = {name: self._usage.get(name, 0) for name in _COUNTS}
        cached = count["cache_read_input_tokens"]
        total = count["input_tokens"] + cached + count["cache_creation_input_tokens"]
        return Usage(total, count["output_tokens"], cached)

    def _take_message(self, message: Mapping[str, Any]) -> None:
        self.answered = True
        self.model = str(message.get("model") or self.model)
        content = message.get("content")
        for index, block in enumerate(content if isinstance(content, list) else ()):
            self._start(index, mapping(block))
        self._take_end(message, mapping(message.get("usage")))

    def _start(self, index: object, block: Mapping[str, Any]) -> None:
        self.answered = True
        given = mapping(block.get("input"))
        kind, name = str(block.get("type") or "text"), str(block.get("name") or "")
        self._blocks[index] = _Block(kind, str(block.get("id") or ""), name, given)
        self._grow(index, words(block.get("text")))
        self.size += len(orjson.dumps(given)) if given else 0

    def _take_delta(self, index: object, delta: Mapping[str, Any]) -> None:
        if delta.get("type") in {"text_delta", "input_json_delta"}:
            self._grow(index, words(delta.get("text")) or words(delta.get("partial_json")))
        else:
            self.size += len(words(delta.get("thinking")))

    def _grow(self, index: object, piece: str) -> None:
        self.answered = True
        self._blocks.setdefault(index, _Block("text")).pieces.append(piece)
        self.size += len(piece)

    def _take_end(self, delta: Mapping[str, Any], usage: Mapping[str, Any]) -> None:
        self._stop = str(delta.get("stop_reason") or self._stop)
        self._usage |= {name: usage[name] for name in _COUNTS if isinstance(usage.get(name), int)}
