"""An agent at work: a scripted model over HTTP, a workspace directory with a box, and a report that remembers."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Self

import pytest

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.files import WorkspaceFiles
from orchestration.adapters.gateway import RetryPolicy
from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.llm.waiting import Listener
from orchestration.adapters.sandbox import Box
from orchestration.agents.assignment import Assignment, Inbox, Report, Workplace
from orchestration.agents.builtin import BuiltinAgent
from orchestration.agents.conversation import Clock, Conversation
from orchestration.demo.service import Answer, Request, ScriptedService
from orchestration.domain.conversation import Endpoint, Message, Reply, ToolSpec
from orchestration.domain.errors import AdapterError, InvalidInput
from orchestration.domain.handoffs import SubmittedHandoff
from orchestration.domain.steering import Resumption

NEVER = RetryPolicy(max_retries=0)
SYSTEM = "You work on one task."
TASK = "swarm: s1\nsubtask: one\nMend the parser."
DONE = ("handoff", {"status": "complete", "summary": "The parser is mended."})
_numbers = count()

Call = tuple[str, Mapping[str, Any] | str]
Turn = Answer | Call | Sequence[Call] | str


def answer(turn: Turn) -> Answer:
    """A call, several calls in one turn, prose, or an answer as it is."""
    if isinstance(turn, Answer):
        return turn
    if isinstance(turn, str):
        return Answer(turn)
    return Answer(calls=(turn,) if isinstance(turn[0], str) else tuple(turn))  # type: ignore[arg-type]


class Model:
    """A scripted model that says one turn after the other, the last one for ever."""

    def __init__(self) -> None:
        self.turns: Sequence[Answer] = (Answer("hello"),)
        self.service = ScriptedService(self._script)
        # The process has one gateway, and its memory of an endpoint must not pass from test to test.
        self.endpoint = Endpoint(f"rig-{next(_numbers)}", "openai", self.service.base_url, "m-1", loopback=True)

    def says(self, *turns: Turn) -> Self:
        self.turns = [answer(turn) for turn in turns]
        return self

    def _script(self, request: Request) -> Answer:
        return self.turns[min(request.number, len(self.turns)) - 1]

    @property
    def messages(self) -> tuple[Mapping[str, Any], ...]:
        """Those of the last request."""
        return self.service.requests[-1].messages

    @property
    def told(self) -> list[str]:
        """What the model was told after its first request, in order."""
        return [each["content"] for each in self.messages if each["role"] in {"tool", "user"}][1:]

    def conversation(self, tools: tuple[ToolSpec, ...], **options: Any) -> Conversation:
        plain: dict[str, Any] = {
            "endpoint": self.endpoint,
            "tools": tools,
            "purpose": "test",
            "clock": Clock(30),
            "retries": NEVER,
            "cancellation": Cancellation(),
            "on_reply": lambda _: None,
            "messages": [Message("system", SYSTEM), Message("user", TASK)],
        }
        return Conversation(**plain | options)

    def close(self) -> None:
        self.service.close()


def require_answered(messages: Sequence[Mapping[str, Any]]) -> None:
    """Each call of a turn has exactly one answer, and all of them stand before anything else is said."""
    due: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] in due, f"nobody asked for {message}"
            due.remove(message["tool_call_id"])
            continue
        assert not due, f"the calls {due} were not answered before {message}"
        due = [call["id"] for call in message.get("tool_calls", ())]
    assert not due, f"the calls {due} were never answered"


@dataclass
class Letters(Inbox):
    """`waiting` are told before the next turn; what happened to them is remembered in order."""

    waiting: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def news(self) -> Sequence[str]:
        taken, self.waiting = self.waiting, []
        self.log += [f"took {text}" for text in taken]
        return taken

    @property
    def going(self) -> Sequence[object]:
        """As if every request carried some."""
        return (self,)

    def sent(self) -> None:
        self.log.append("sent")

    def answered(self, text: str) -> None:
        self.log.append("answered")


@dataclass
class Remembered(Report):
    """`refuses` are the objections to the claims, one list a claim; afterwards there are none."""

    turns: list[Reply] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any], str, bool]] = field(default_factory=list)
    artifacts: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    shared: dict[str, tuple[Any, list[str]]] = field(default_factory=dict)
    claims: list[SubmittedHandoff] = field(default_factory=list)
    refuses: list[list[str]] = field(default_factory=list)
    signs: int = 0
    inbox: Letters = field(default_factory=Letters)
    listener: Listener | None = None
    asked: list[tuple[str, Sequence[str]]] = field(default_factory=list)
    answers: list[str | InvalidInput | None] = field(default_factory=list)  # to the questions, in turn
    on_turn: Callable[[Reply], None] = lambda _: None
    room: int = 1000  # for calls in one turn
    left: list[str] = field(default_factory=list)  # the threads that ended

    def around(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], left: Callable[[], float]
    ) -> AbstractContextManager[None]:
        return nullcontext()

    def turn(self, reply: Reply) -> None:
        self.turns.append(reply)
        self.on_turn(reply)

    def may_run(self, wanted: int) -> int:
        return min(wanted, self.room)

    def leave(self) -> None:
        self.left.append(threading.current_thread().name)

    def ran(self, tool: str, arguments: dict[str, Any], result: str, *, ok: bool, duration_ms: int) -> None:
        self.calls.append((tool, arguments, result, ok))

    def alive(self) -> None:
        self.signs += 1

    def save_artifact(self, *, type_: str, name: str, mime: str, content: bytes) -> str:
        self.artifacts.append((type_, name, mime, content))
        return f"Saved {name}."

    def keep_output(self, tool: str, text: str) -> str:
        self.outputs.append(text)
        return f"{tool}-{len(self.outputs)}.txt"

    def share_result(self, key: str, value: Any, tags: Sequence[str]) -> str:
        self.shared[key] = (value, list(tags))
        return f"Shared {key}."

    def get_results(self, *, key: str, tags: Sequence[str], prefix: str, producer: str) -> str:
        return f"{sorted(self.shared)} by {key!r}, {list(tags)}, {prefix!r}, {producer!r}"

    def ask_human(self, question: str, options: Sequence[str]) -> str | None:
        self.asked.append((question, options))
        answer = self.answers.pop(0)
        if isinstance(answer, InvalidInput):
            raise answer
        return answer

    def objections(self, handoff: SubmittedHandoff) -> Sequence[str]:
        self.claims.append(handoff)
        return self.refuses.pop(0) if self.refuses else ()


class Desk:
    """The built-in agent with everything that it needs."""

    def __init__(self, root: Path, box: Box) -> None:
        self.root = root
        self.box = box
        self.model = Model()
        self.report = Remembered()
        self.cancellation = Cancellation()
        self._thread = ThreadPoolExecutor(1)

    def run(
        self,
        *turns: Turn,
        max_steps: int = 30,
        timeout_s: float = 60,
        resumption: Resumption | None = None,
    ) -> SubmittedHandoff:
        """The agent's handoff; whatever the end was, every call was answered in every request."""
        self.model.says(*turns)
        assignment = Assignment(SYSTEM, TASK, self.model.endpoint, max_steps, timeout_s, NEVER, resumption)
        workplace = Workplace(lambda: WorkspaceFiles(self.root), self.box)
        try:
            return BuiltinAgent().run(assignment, workplace, self.report, self.cancellation)
        finally:
            for request in self.model.service.requests:
                require_answered(request.messages)

    def start(self, *turns: Turn, **options: Any) -> Future[SubmittedHandoff]:
        return self._thread.submit(self.run, *turns, **options)

    def fails(self, *turns: Turn, **options: Any) -> AdapterError:
        with pytest.raises(AdapterError) as caught:
            self.run(*turns, **options)
        assert str(caught.value).endswith(".")
        return caught.value

    def tool(self, name: str, arguments: Mapping[str, Any] | str) -> str:
        """What the model is told about one call."""
        self.run((name, arguments), DONE)
        return self.model.told[0]

    def close(self) -> None:
        self.cancellation.cancel("The test is over.")
        self.model.close()
        self._thread.shutdown()
        self.box.close()


def make_store(root: Path, *commits: Mapping[str, bytes | str]) -> tuple[BareRepository, str]:
    """One of our bare repositories with these commits, and the last one's id."""
    clone = root / "clone"
    clone.mkdir(parents=True)
    _git(clone, "init", "-q", "-b", "main")
    for number, files in enumerate(commits, 1):
        for name, content in files.items():
            path = clone / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        _git(clone, "add", "-A", "--force")
        _git(clone, "commit", "-q", "--allow-empty", "-m", f"commit {number}")
    store = BareRepository(root / "store.git")
    store.create()
    return store, store.fetch(str(clone), "main").sha


def _git(clone: Path, *words: str) -> None:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    environment = {"PATH": os.environ["PATH"], "HOME": str(clone), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", *who, *words], cwd=clone, env=environment, check=True, capture_output=True)


def until(condition: Callable[[], bool]) -> None:
    """For what only shows in files."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came true"
        threading.Event().wait(0.005)
