"""An installation of its own for a story: a data directory, a model over HTTP, a repository, the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestration.demo.service import Answer, Request, ScriptedService

ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 240  # bounds a broken machine; no story waits for it

Call = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Finished:
    """What a command printed; `last` is its closing JSON object."""

    code: int
    lines: list[Any]
    err: str

    @property
    def last(self) -> Any:
        return self.lines[-1]


@dataclass
class Installation:
    """Everything under `home`; commands run as an operator would run them."""

    home: Path
    service: ScriptedService
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return kept | {
            "SWARM_DATA_DIR": str(self.home / "data"),
            "OPENAI_BASE_URL": self.service.base_url,
            "OPENAI_MODEL": "scripted",
            "PYTHONPATH": str(ROOT),
            **self.more,
        }

    def start(self, *arguments: str, program: Sequence[str] = ("manage.py",)) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *program, *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def swarm(self, *arguments: str) -> Finished:
        return finish(self.start("swarm", *arguments))

    def run(
        self, repository: Path, *arguments: str, task: str = "Do it", config: Mapping[str, Any] | None = None
    ) -> Finished:
        options = ["--config", json.dumps(config)] if config else []
        return self.swarm("run", "--repository", str(repository), "--task", task, "--json", *options, *arguments)


def finish(process: subprocess.Popen[str]) -> Finished:
    out, err = process.communicate(timeout=LONGEST_S)
    lines = [json.loads(line) for line in out.splitlines() if line.startswith(("{", "["))]
    return Finished(process.returncode, lines, err)


def git(repository: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Someone", "-c", "user.email=someone@example.org")
    done = subprocess.run(
        ["git", *identity, "-C", str(repository), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout


def make_repository(path: Path, files: Mapping[str, str]) -> Path:
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(content)
    git(path, "add", "-A")
    git(path, "commit", "-qm", "Begin")
    return path


def handoff(status: str = "complete", summary: str = "It is done.") -> Call:
    return ("handoff", {"status": status, "summary": summary, "concerns": [], "suggestions": []})


def task(name: str, *dependencies: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "instruction": f"Work on {name}.", "dependencies": list(dependencies), **more}


def plan(*tasks: Mapping[str, Any], done: bool = True) -> Call:
    return ("submit_plan", {"scratchpad": "Goals.", "done": done, "tasks": list(tasks)})


def team(
    plans: Sequence[Call], work: Callable[[str], Iterable[Call]], *, delay_s: float = 0.0
) -> Callable[[Request], Answer]:
    """A script: the n-th planner iteration gives the n-th plan, a worker makes its calls in turn. It keeps no state
    of its own, so that it answers a swarm that was killed and continued like any other."""

    def answer(request: Request) -> Answer:
        if request.closing == "submit_plan":
            number = int(any("Tasks so far" in str(message.get("content")) for message in request.messages))
            return Answer(calls=(plans[min(number, len(plans) - 1)],), delay_s=delay_s)
        calls = list(work(request.subtask))
        return Answer(calls=(calls[min(request.turns, len(calls) - 1)],), delay_s=delay_s)

    return answer
