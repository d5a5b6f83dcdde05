"""What an agent tells of its work over the protocol, bounded and written down as our steps."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from acp import schema
from pydantic import ValidationError

MOST_STEPS = 2000
MOST_OPEN = 500
MOST_TEXT = 20_000
MOST_THOUGHT = 4000
MOST_ARGUMENTS = 4000
_NAMES_OF_PATHS = ("path", "file_path", "filePath", "abs_path", "absolute_path", "notebook_path")
OVER = frozenset({"completed", "failed"})


@dataclass(slots=True)
class _Call:
    """A tool call as far as it was told."""

    title: str = ""
    kind: str = "other"
    paths: tuple[str, ...] = ()
    given: str = ""
    text: str = ""
    started: float = field(default_factory=time.monotonic)


class Recorder(Protocol):
    def ran(self, tool: str, arguments: dict[str, Any], result: str, *, ok: bool, duration_ms: int) -> None: ...


class Updates:
    """Writes down plans, thoughts and tool calls; `message` is what the agent said last. What a model said is written
    down by the gateway already."""

    def __init__(self, report: Recorder) -> None:
        self._report = report
        self._calls: dict[str, _Call] = {}
        self._said: list[str] = []
        self._said_length = 0
        self._thought = ""
        self._plan = ""
        self._recorded = 0

    @property
    def message(self) -> str:
        return "".join(self._said).strip()

    def new_turn(self) -> None:
        self._flush()
        self._forget_message()

    def heard(self, params: Mapping[str, Any]) -> None:
        """An update that makes no sense is passed over: it is only told for people to see."""
        try:
            update = schema.SessionNotification.model_validate(params).update
        except (ValidationError, RecursionError):
            return
        match update:
            case schema.AgentMessageChunk():
                self._say(_text(update.content))
            case schema.AgentThoughtChunk():
                self._thought = (self._thought + _text(update.content))[:MOST_THOUGHT]
            case schema.ToolCallStart() | schema.ToolCallProgress():
                self._tool_call(update)
            case schema.AgentPlanUpdate():
                self._planned(update)

    def close(self) -> None:
        """Calls that never came to an end are written down as that."""
        self._flush()
        for call in self._calls.values():
            self._write(call, ok=False, text=call.text or "It was not finished.")
        self._calls.clear()

    def record(self, tool: str, arguments: dict[str, Any], text: str, *, ok: bool, duration_ms: int = 0) -> None:
        """One step, as long as there is room for it."""
        self._recorded += 1
        if self._recorded == MOST_STEPS:
            tool, arguments, text = "session", {}, "The agent told of more steps than are kept; the rest is left out."
        if self._recorded <= MOST_STEPS:
            self._report.ran(tool, arguments, text[:MOST_TEXT], ok=ok, duration_ms=duration_ms)

    def asked(self, call: schema.ToolCallUpdate) -> None:
        """A call may first be told of where it needs a permission."""
        if len(self._calls) < MOST_OPEN:
            _merge(self._calls.setdefault(call.tool_call_id[:200], _Call()), call)

    def _say(self, text: str) -> None:
        """Its beginning says enough where it never ends."""
        kept = text[: max(0, MOST_TEXT - self._said_length)]
        self._said.append(kept)
        self._said_length += len(kept)

    def _forget_message(self) -> None:
        self._said, self._said_length = [], 0

    def _tool_call(self, update: schema.ToolCallStart | schema.ToolCallProgress) -> None:
        self._flush()
        self._forget_message()
        key = update.tool_call_id[:200]
        if key not in self._calls and len(self._calls) >= MOST_OPEN:
            self._calls.pop(next(iter(self._calls)))
        call = self._calls.setdefault(key, _Call())
        _merge(call, update)
        if update.status in OVER:
            del self._calls[key]
            self._write(call, ok=update.status == "completed", text=call.text)

    def _write(self, call: _Call, *, ok: bool, text: str) -> None:
        arguments: dict[str, Any] = {"title": call.title}
        if call.paths:
            arguments["path"] = ", ".join(call.paths)
        if call.given:
            arguments["input"] = call.given
        self.record(call.kind, arguments, text, ok=ok, duration_ms=round((time.monotonic() - call.started) * 1000))

    def _planned(self, update: schema.AgentPlanUpdate) -> None:
        plan = "\n".join(f"[{entry.status}] {entry.content[:300]}" for entry in update.entries[:100])
        if plan != self._plan:
            self._plan = plan
            self.record("plan", {}, plan, ok=True)

    def _flush(self) -> None:
        if self._thought.strip():
            self.record("thought", {}, self._thought.strip(), ok=True)
        self._thought = ""


def _merge(call: _Call, update: schema.ToolCallStart | schema.ToolCallUpdate) -> None:
    """The last word counts, and "other" is no word."""
    call.title = (update.title or call.title)[:300]
    call.kind = update.kind if update.kind and update.kind != "other" else call.kind
    call.paths = paths_of(update.locations) or call.paths
    if update.raw_input is not None:
        call.given = shortened(update.raw_input)
    if update.content:
        call.text = "\n".join(filter(None, map(_content, update.content[:50])))[:MOST_TEXT]
    elif update.raw_output is not None and not call.text:
        call.text = shortened(update.raw_output)


def paths_of(locations: Sequence[schema.ToolCallLocation] | None) -> tuple[str, ...]:
    return tuple(location.path[:1000] for location in (locations or ())[:50])


def paths_in(given: Any) -> tuple[str, ...]:
    """Where an agent tells no places: what its own arguments name."""
    found = [given.get(name) for name in _NAMES_OF_PATHS] if isinstance(given, dict) else []
    return tuple(path[:1000] for path in found if isinstance(path, str))


def shortened(value: Any) -> str:
    """As text: what is nested deeper than a database likes stays readable."""
    if isinstance(value, str):
        return value[:MOST_ARGUMENTS]
    try:
        return orjson.dumps(value).decode()[:MOST_ARGUMENTS]
    except orjson.JSONEncodeError:
        return "(too deep to show)"


def _text(content: Any) -> str:
    return content.text if isinstance(content, schema.TextContentBlock) else ""


def _content(item: Any) -> str:
    if isinstance(item, schema.FileEditToolCallContent):
        return f"{item.path[:1000]} was {'changed' if item.old_text else 'written'}."
    return _text(getattr(item, "content", None))
