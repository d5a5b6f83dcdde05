"""An agent that is not ours at work in a real sandbox: its description, a gateway that nobody needs, a report."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.files import WorkspaceFiles
from orchestration.adapters.sandbox import Sandbox, choose_sandbox
from orchestration.adapters.serving.access import GatewayAccess
from orchestration.agents.assignment import Assignment, Workplace
from orchestration.agents.programs import Outside
from orchestration.domain.agents import AgentKind, AgentSpec
from orchestration.domain.conversation import Endpoint
from orchestration.domain.errors import AdapterError
from orchestration.domain.handoffs import SubmittedHandoff
from orchestration.stages.employ import outside_agent
from tests.agents.rig import NEVER, TASK, Remembered

PYTHON = f"{sys.base_prefix}/bin/python3"
SCRIPT = str(Path(__file__).with_name("scripted_acp.py"))


class OutsideDesk:
    """`run` gives one behaviour of the scripted agent its task."""

    def __init__(self, root: Path, sandbox: Sandbox | None = None) -> None:
        self.root = root
        self.sandbox = sandbox or choose_sandbox("bubblewrap")
        self.report = Remembered()
        self.cancellation = Cancellation()
        self.idle = float("inf")

    def spec(self, *argv: str, **fields: Any) -> AgentSpec:
        plain: dict[str, Any] = {"name": "scripted", "kind": AgentKind.ACP, "argv": argv, "start_timeout_s": 100}
        return AgentSpec(**plain | fields)

    def outside(self, spec: AgentSpec) -> Outside:
        access = GatewayAccess("token-1", "m-1", 8787, None, self.cancellation, idle=lambda: self.idle)
        return Outside(spec, access, lambda shown, limits: self.sandbox.open(self.root, limits=limits, shown=shown))

    def employ(self, spec: AgentSpec, timeout_s: float = 120) -> SubmittedHandoff:
        assignment = Assignment("", TASK, Endpoint("e", "openai", "http://127.0.0.1:9", "m-1"), 30, timeout_s, NEVER)
        files = WorkspaceFiles(self.root)
        with self.sandbox.open(self.root) as box:
            agent = outside_agent(self.outside(spec))
            return agent.run(assignment, Workplace(lambda: files, box), self.report, self.cancellation)

    def run(self, behaviour: str = "write", *, timeout_s: float = 120, **fields: Any) -> SubmittedHandoff:
        return self.employ(self.spec(PYTHON, SCRIPT, behaviour, **fields), timeout_s)

    def fails(self, behaviour: str, **options: Any) -> AdapterError:
        with pytest.raises(AdapterError) as caught:
            self.run(behaviour, **options)
        return caught.value

    def made(self, name: str) -> Any:
        return json.loads((self.root / name).read_text())

    def steps(self, tool: str) -> list[tuple[dict[str, Any], str, bool]]:
        return [(given, text, ok) for name, given, text, ok in self.report.calls if name == tool]
