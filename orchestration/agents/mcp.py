"""Our tools for agents that are not ours, over the Model Context Protocol, whoever carries its messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from orchestration.adapters.secrets import clean
from orchestration.agents.arguments import AskHuman
from orchestration.agents.assignment import Report, Suspended
from orchestration.agents.conversation import Clock
from orchestration.agents.toolbox import Toolbox
from orchestration.domain.conversation import ToolSpec
from orchestration.domain.errors import InvalidInput
from orchestration.domain.handoffs import SubmittedHandoff, parse_handoff
from orchestration.domain.steering import WAITS
from orchestration.domain.tools import OUTSIDE_TOOLS
from orchestration.domain.validation import sentences

NAME = "swarmsite"
VERSIONS = ("2025-06-18", "2025-03-26", "2024-11-05")
INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32600, -32601, -32602
TAKEN = "Taken down. End your turn now: the work is checked then, and you are told if something is missing."
INSTRUCTIONS = (
    "Tools of the swarm that this agent works for: read and share results, keep artifacts, ask people, and hand off as "
    "the last thing."
)


class _Wrong(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class ToolServer:
    """`handoff` is the last one that was given; `suspended` is set where the attempt has to wait for an answer. Without
    `told_elsewhere` its calls are written down here, because nobody else tells of them."""

    def __init__(self, toolbox: Toolbox, report: Report, clock: Clock, *, told_elsewhere: bool) -> None:
        self._toolbox = toolbox
        self._report = report
        self._clock = clock
        self._told_elsewhere = told_elsewhere
        self._one_at_a_time = threading.Lock()
        self.handoff: SubmittedHandoff | None = None
        self.suspended: Suspended | None = None

    def begin(self) -> None:
        """A turn of the agent: what it handed off before is no word about this one."""
        self.handoff = None

    def answer(self, message: Mapping[str, Any]) -> dict[str, Any] | None:
        """To one message; None where it wants no answer. Raises AdapterError for what ends the attempt."""
        id_ = message.get("id")
        if not isinstance(id_, int | str):
            return None
        try:
            return {"jsonrpc": "2.0", "id": id_, "result": self._result(message)}
        except _Wrong as error:
            return {"jsonrpc": "2.0", "id": id_, "error": {"code": error.code, "message": str(error)}}

    def _result(self, message: Mapping[str, Any]) -> dict[str, Any]:
        method, given = message.get("method"), message.get("params")
        params = given if isinstance(given, dict) else {}
        match method:
            case "initialize":
                return _hello(params.get("protocolVersion"))
            case "ping":
                return {}
            case "tools/list":
                return {"tools": [_described(tool) for tool in OUTSIDE_TOOLS]}
            case "tools/call":
                with self._one_at_a_time:
                    return self._call(params)
        if not isinstance(method, str):
            raise _Wrong(INVALID_REQUEST, "A request needs a method.")
        raise _Wrong(METHOD_NOT_FOUND, f"{method[:100]} is not offered here; there are tools only.")

    def _call(self, params: Mapping[str, Any]) -> dict[str, Any]:
        name, arguments = params.get("name"), params.get("arguments") or {}
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise _Wrong(INVALID_PARAMS, "A call needs the name of a tool, and its arguments as an object.")
        started = time.monotonic()
        said, ok = self._run(name, arguments)
        if not self._told_elsewhere or self.suspended:
            duration_ms = round((time.monotonic() - started) * 1000)
            self._report.ran(name, arguments, said, ok=ok, duration_ms=duration_ms)
        return {"content": [{"type": "text", "text": str(clean(said))}], "isError": not ok}

    def _run(self, name: str, arguments: dict[str, Any]) -> tuple[str, bool]:
        try:
            if name == "handoff":
                self.handoff = parse_handoff(arguments)
                return TAKEN, True
            if name == "ask_human":
                return self._ask(AskHuman.model_validate(arguments)), True
        except ValidationError as error:
            return "Error: " + " ".join(sentences(error)), False
        except InvalidInput as error:
            return f"Error: {error}", False
        return self._toolbox.run(name, arguments)

    def _ask(self, asked: AskHuman) -> str:
        """The answer where one is known; otherwise the agent's run ends here, and another begins with the answer."""
        known = self._report.ask_human(asked.question, asked.options)
        if known is None:
            self.suspended = Suspended("", asked.question, asked.options, (), self._clock.used(), {})
        return known or WAITS


def _hello(wanted: object) -> dict[str, Any]:
    return {
        "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[0],
        "capabilities": {"tools": {}},
        "serverInfo": {"name": NAME, "title": "Swarmsite", "version": "0.1.0"},
        "instructions": INSTRUCTIONS,
    }


def _described(tool: ToolSpec) -> dict[str, Any]:
    hints = {"readOnlyHint": tool.parallel, "destructiveHint": False, "openWorldHint": False}
    return {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": dict(tool.parameters),
        "annotations": hints,
    }
