"""What an agent is given and what it gives back, as values: a thread, a pod and another machine carry the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.files import WorkspaceFiles
from orchestration.adapters.gateway import RetryPolicy
from orchestration.adapters.sandbox import Box
from orchestration.domain.conversation import Endpoint, Message, Reply, ToolSpec
from orchestration.domain.handoffs import SubmittedHandoff


@dataclass(frozen=True, slots=True)
class Assignment:
    """One subtask for one attempt. `system` and `task` are whole texts for the model."""

    system: str
    task: str
    endpoint: Endpoint
    max_steps: int
    timeout_s: float
    retries: RetryPolicy


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where the attempt works: its files on our side, and a box for its commands."""

    files: WorkspaceFiles
    box: Box


class Report(Protocol):
    """What an agent tells while it works. Each of them may raise AdapterError to end the attempt."""

    def around(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], left: Callable[[], float]
    ) -> AbstractContextManager[None]:
        """Stands around each model call; raises where it may not be made, or `left` where there is no time to wait."""
        ...

    def turn(self, reply: Reply) -> None: ...

    def ran(self, tool: str, arguments: dict[str, Any], result: str, *, ok: bool, duration_ms: int) -> None: ...

    def alive(self) -> None: ...

    def save_artifact(self, *, type_: str, name: str, mime: str, content: bytes) -> str: ...

    def share_result(self, key: str, value: Any, tags: Sequence[str]) -> str: ...

    def get_results(self, *, key: str, tags: Sequence[str], prefix: str, producer: str) -> str: ...

    def objections(self, handoff: SubmittedHandoff) -> Sequence[str]:
        """Why a claim of complete is not believed, found in the workspace; empty: it is."""
        ...


class Agent(Protocol):
    def run(
        self, assignment: Assignment, workplace: Workplace, report: Report, cancellation: Cancellation
    ) -> SubmittedHandoff:
        """Works until the handoff. Raises AdapterError, OutOfTime among them."""
        ...
