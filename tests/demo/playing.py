"""Plays the demo's story without the engine: asks the script, runs its tool calls in a directory, commits, merges."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestration.adapters import prompts
from orchestration.demo.foundations import RESOLUTIONS
from orchestration.demo.plan import TASKS
from orchestration.demo.repository import make_repository
from orchestration.demo.story import TURNS, story
from orchestration.demo.wire import Answer, Request, read_request
from orchestration.domain import tools
from orchestration.domain.demonstration import REQUEST
from orchestration.domain.planning import PlannedTask

WORKER_TOOLS = tuple(tool.name for tool in tools.WORKER_TOOLS)
PLANNER_TOOLS = tuple(tool.name for tool in tools.PLANNER_TOOLS)
MERGED_BY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Player"), ("EMAIL", "player@example.org"), ("DATE", "2025-05-01T12:00:00+00:00"))
}

Message = dict[str, Any]


def ask(messages: Iterable[Message], offered: Iterable[str]) -> Answer:
    """What the script says to exactly these messages; a new script every time, since it must remember nothing."""
    return story()(request(messages, offered))


def request(messages: Iterable[Message], offered: Iterable[str]) -> Request:
    return read_request(1, body(messages, offered), "")


def body(messages: Iterable[Message], offered: Iterable[str]) -> dict[str, Any]:
    specs = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in offered]
    return {"messages": list(messages), "tools": specs, "model": "m", "stream": True}


def opening(text: str) -> list[Message]:
    return [{"role": "system", "content": "You work."}, {"role": "user", "content": text}]


def worker_opening(task: PlannedTask) -> list[Message]:
    values = {
        "swarm_id": "s1",
        "subtask_name": task.name,
        "instruction": task.instruction,
        "acceptance": task.acceptance,
        "checks": "; ".join(task.acceptance_checks),
        "scope": ", ".join(task.scope),
        "request": REQUEST,
        "dependencies": "\n".join(f"{name} (complete): done" for name in task.dependencies),
        "results": "(none)",
    }
    return opening(prompts.render("worker-task", **values))


def settler_opening(task: PlannedTask, files: Iterable[str]) -> list[Message]:
    values = {
        "swarm_id": "s1",
        "subtask_name": task.name,
        "who": "You go on.",
        "instruction": task.instruction,
        "acceptance": task.acceptance,
        "checks": "; ".join(task.acceptance_checks),
        "handoff": "(it handed off nothing)",
        "said": "",
        "files": "\n".join(files),
        "others": "(nobody of this swarm)",
        "tried": "",
        "request": REQUEST,
    }
    return opening(prompts.render("resolve-task", **values))


def said(answer: Answer) -> Message:
    calls = [
        {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for number, (name, arguments) in enumerate(answer.calls)
    ]
    return {"role": "assistant", "content": answer.text, "tool_calls": calls}


def heard(answer: Answer, results: Iterable[str]) -> list[Message]:
    return [
        {"role": "tool", "tool_call_id": f"c{number}", "content": result}
        for number, (_, result) in enumerate(zip(answer.calls, results, strict=True))
    ]


def git(folder: Path, *args: str, ok: tuple[int, ...] = (0,)) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", **MERGED_BY}
    done = subprocess.run(
        ["git", "-C", str(folder), *args], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.returncode in ok, f"git {args}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def shell(folder: Path, command: str) -> tuple[int, str]:
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


@dataclass
class Hands:
    """The tools of one worker, in a directory. Without a shell, commands are not run."""

    folder: Path
    shell: bool = True
    artifacts: dict[str, str] = field(default_factory=dict)
    codes: list[int] = field(default_factory=list)

    def run(self, name: str, arguments: Mapping[str, Any]) -> str:
        result: str = getattr(self, f"_{name}")(**arguments)
        return result

    def _list_files(self, path: str, depth: int) -> str:
        assert (self.folder / path).is_dir()
        assert depth > 0
        return "\n".join(sorted(each.name for each in (self.folder / path).iterdir()))

    def _read_file(self, path: str) -> str:
        return (self.folder / path).read_text(encoding="utf-8")

    def _grep(self, pattern: str, path: str) -> str:
        assert (self.folder / path).exists()
        return pattern

    def _write_file(self, path: str, content: str) -> str:
        target = self.folder / path
        is_settled = target.exists() and "<<<<<<<" in target.read_text(encoding="utf-8")
        assert is_settled or not target.exists(), f"{path} is another's"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
        return "written"

    def _edit_file(self, path: str, old: str, new: str) -> str:
        text = (self.folder / path).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{path} has {text.count(old)} times {old!r}"
        (self.folder / path).write_text(text.replace(old, new), encoding="utf-8")
        return "edited"

    def _bash(self, command: str, timeout_s: int) -> str:
        assert timeout_s > 0
        if not self.shell:
            return ""
        code, output = shell(self.folder, command)
        self.codes.append(code)
        return f"{output}\n[exit code {code}]"

    def _save_artifact(self, type: str, name: str, content: str, mime: str) -> str:  # noqa: A002  # the tool's own word
        assert type
        assert mime
        self.artifacts[name] = content
        return "saved"


@dataclass
class Played:
    """One worker's conversation: its messages at each turn, its handoff, and its last hands."""

    turns: list[list[Message]]
    answers: list[Answer]
    handoff: Mapping[str, Any]
    hands: Hands
    refused: int = 0


def work(task: PlannedTask, folder: Path, *, with_shell: bool = True, messages: list[Message] | None = None) -> Played:
    """A handoff in the middle of its script is one that the checks refuse."""
    hands, refused = Hands(folder, with_shell), 0
    last = len((RESOLUTIONS if messages else TURNS)[task.name])
    messages = messages or worker_opening(task)
    turns, answers = [], []
    for _ in range(30):
        answer = ask(messages, WORKER_TOOLS)
        turns.append(list(messages))
        answers.append(answer)
        for name, arguments in answer.calls:
            if name == "handoff" and len(answers) == last:
                assert isinstance(arguments, Mapping)
                return Played(turns, answers, arguments, hands, refused)
        if any(name == "handoff" for name, _ in answer.calls):
            assert not with_shell or any(shell(folder, check)[0] for check in task.acceptance_checks)
            messages += [said(answer), *heard(answer, ["Not complete yet. The tests did not pass."])]
            refused += 1
            continue
        results = [hands.run(name, arguments) for name, arguments in answer.calls if not isinstance(arguments, str)]
        messages += [said(answer), *heard(answer, results)]
    raise AssertionError(f"{task.name} does not end")


class Integration:
    """A repository whose main branch takes every subtask's commit, each made on the tip of its own beginning."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "larder"
        self._folder = folder
        make_repository(self.repository)
        self._bases: dict[str, str] = {}
        self.conflicts: dict[str, list[str]] = {}  # that were settled: files by subtask

    def begin(self, name: str) -> Path:
        """The subtask's workspace: a plain copy of the tip as it is now."""
        self._bases[name] = self.tip()
        workspace = self._folder / name
        git(self.repository, "worktree", "add", "--quiet", "--detach", str(workspace), self._bases[name])
        return workspace

    def commit(self, name: str) -> str:
        """The subtask's work as a commit, or its base where it changed nothing."""
        workspace = self._folder / name
        git(workspace, "add", "--all")
        if git(workspace, "status", "--porcelain"):
            git(workspace, "commit", "--quiet", "-m", name)
        return git(workspace, "rev-parse", "HEAD")

    def changed(self, name: str) -> list[str]:
        return git(self._folder / name, "diff", "--name-only", self._bases[name], "HEAD").splitlines()

    def land(self, name: str) -> None:
        """Merge it; a conflict is settled by the subtask's own worker, or fails the test."""
        head = self.commit(name)
        git(self.repository, "merge", "--quiet", "--no-ff", "-m", f"Merge {name}", head, ok=(0, 1))
        files = git(self.repository, "diff", "--name-only", "--diff-filter=U").splitlines()
        if files:
            assert name in RESOLUTIONS, f"{name} conflicts in {files}"
            work(TASKS[name], self.repository, with_shell=False, messages=settler_opening(TASKS[name], files))
            git(self.repository, "add", "--all")
            git(self.repository, "commit", "--quiet", "--no-edit")
            self.conflicts[name] = files
        shutil.rmtree(self._folder / name)

    def tip(self) -> str:
        return git(self.repository, "rev-parse", "HEAD")

    def tree(self) -> str:
        return git(self.repository, "rev-parse", "HEAD^{tree}")


def ready(done: Iterable[str], started: Iterable[str]) -> list[str]:
    """The subtasks that may start now."""
    finished, begun = set(done), set(started)
    return [name for name, task in TASKS.items() if name not in begun and finished.issuperset(task.dependencies)]
