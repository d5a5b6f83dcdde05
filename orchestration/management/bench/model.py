"""The scripted model in a process of its own. It prints its address; when its input closes, what it was asked when."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestration.demo.service import Answer, Request, ScriptedService
from orchestration.management.bench.workload import TURNS, Workload

Call = tuple[str, Mapping[str, Any]]


@dataclass
class Script:
    """Plans the workload once, then plays each worker's turns; `asked` is when each request came."""

    workload: Workload
    asked: dict[str, list[float]] = field(default_factory=dict)

    def __call__(self, request: Request) -> Answer:
        self.asked.setdefault(request.subtask, []).append(time.monotonic())
        if request.closing == "submit_plan":
            return Answer(calls=(self._plan(),), delay_s=self.workload.latency_s("", 0))
        turn = min(request.turns, TURNS - 1)
        calls = (worker_calls(request.subtask)[turn],)
        return Answer(calls=calls, delay_s=self.workload.latency_s(request.subtask, turn))

    def _plan(self) -> Call:
        tasks = [
            {"name": name, "instruction": f"Write {path_of(name)}.", "dependencies": needed, "scope": [path_of(name)]}
            for name, needed in self.workload.needs.items()
        ]
        return "submit_plan", {"scratchpad": "Everything at once.", "done": True, "tasks": tasks}


def path_of(subtask: str) -> str:
    return f"made/{subtask}.py"


def worker_calls(subtask: str) -> tuple[Call, ...]:
    path = path_of(subtask)
    handoff = {"status": "complete", "summary": f"Wrote {path}.", "concerns": [], "suggestions": []}
    return (
        ("read_file", {"path": "package_00/module_000.py"}),
        ("bash", {"command": "ls package_00 | wc -l"}),
        ("write_file", {"path": path, "content": f"NAME = '{subtask}'\n\n\ndef name() -> str:\n    return NAME\n"}),
        ("bash", {"command": f"grep -c name {path}"}),
        ("edit_file", {"path": path, "old": "return NAME", "new": "return NAME.upper()"}),
        ("list_files", {"path": "made"}),
        ("bash", {"command": f"test -s {path} && echo well"}),
        ("handoff", handoff),
    )


class ModelProcess:
    """The other end: where the service is, and at the end what it saw (on the machine's one monotonic clock)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.base_url = self._line()["base_url"]

    def asked(self) -> dict[str, list[float]]:
        """Ends the service."""
        if self._process.stdin:
            self._process.stdin.close()
        seen: dict[str, list[float]] = self._line()["asked"]
        return seen

    def _line(self) -> dict[str, Any]:
        line: dict[str, Any] = json.loads(self._process.stdout.readline() if self._process.stdout else "{}")
        return line


@contextmanager
def serving(workload: Workload) -> Iterator[ModelProcess]:
    command = [sys.executable, "-m", __name__, json.dumps(asdict(workload))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield ModelProcess(process)
        finally:
            process.kill()


def main() -> None:
    script = Script(Workload(**json.loads(sys.argv[1])))
    with ScriptedService(script, keep=1) as service:
        print(json.dumps({"base_url": service.base_url}), flush=True)
        sys.stdin.read()
    print(json.dumps({"asked": script.asked}), flush=True)


if __name__ == "__main__":
    main()
