"""What an agent is given and what it gives back, as values: a thread, a pod and another machine carry the same."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.files import WorkspaceFiles
from orchestration.adapters.gateway import RetryPolicy
from orchestration.adapters.llm.waiting import Listener
from orchestration.adapters.sandbox import Box
from orchestration.domain.conversation import Endpoint, Message, Reply, ToolSpec
from orchestration.domain.handoffs import SubmittedHandoff
from orchestration.domain.steering import Resumption


@dataclass(frozen=True, slots=True)
class Assignment:
    """One subtask for one attempt. `system` and `task` are whole texts for the model."""

    system: str
    task: str
    endpoint: Endpoint
    max_steps: int
    timeout_s: float
    retries: RetryPolicy
    resumption: Resumption | None = None
    kind: str = "change"  # what it is offered depends on it


@dataclass(eq=False)
class Suspended(Exception):
    """With everything that it needs to go on."""

    call_id: str
    question: str
    options: Sequence[str]
    messages: Sequence[Message]
    used_s: float
    memory: dict[str, Any]


class Inbox(Protocol):
    """What people say to the agent while it works."""

    def news(self) -> Sequence[str]:
        """To be told before the next turn."""
        ...

    @property
    def going(self) -> Collection[object]:
        """What is part of a request that has not gone out yet; where there is none, nobody has to hear that it did."""
        ...

    def sent(self) -> None:
        """The request with them has gone out."""
        ...

    def answered(self, text: str) -> None:
        """What the agent said to that request."""
        ...


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where the attempt works: its files on our side, and a box for its commands. Both may only be made when they are
    first asked for."""

    files: Callable[[], WorkspaceFiles]
    box: Box


class Report(Protocol):
    """What an agent tells while it works. Each of them may raise AdapterError to end the attempt."""

    inbox: Inbox
    listener: Listener | None
    """Hears what the model says while it says it."""

    def around(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], left: Callable[[], float]
    ) -> AbstractContextManager[None]:
        """Stands around each model call; raises where it may not be made, or `left` where there is no time to wait."""
        ...

    def turn(self, reply: Reply) -> None: ...

    def may_run(self, wanted: int) -> int:
        """How many of the next calls of this turn may run, at least one: the swarm's limit may be near."""
        ...

    def leave(self) -> None:
        """A thread that asked something of this report ends."""
        ...

    def ran(self, tool: str, arguments: dict[str, Any], result: str, *, ok: bool, duration_ms: int) -> None: ...

    def alive(self) -> None: ...

    def save_artifact(self, *, type_: str, name: str, mime: str, content: bytes) -> str: ...

    def keep_output(self, tool: str, text: str) -> str:
        """Keeps whole what the model is told only in part: under which name; empty where it is not kept."""
        ...

    def share_result(self, key: str, value: Any, tags: Sequence[str]) -> str: ...

    def get_results(self, *, key: str, tags: Sequence[str], prefix: str, producer: str) -> str: ...

    def ask_human(self, question: str, options: Sequence[str]) -> str | None:
        """The answer where one is known; None: the work is kept as it is now, and the agent has to wait. Raises
        InvalidInput where it may not ask."""
        ...

    def objections(self, handoff: SubmittedHandoff) -> Sequence[str]:
        """Why a claim of complete is not believed, found in the workspace; empty: it is."""
        ...


class Agent(Protocol):
    def run(
        self, assignment: Assignment, workplace: Workplace, report: Report, cancellation: Cancellation
    ) -> SubmittedHandoff:
        """Works until the handoff. Raises AdapterError, OutOfTime among them."""
        ...
