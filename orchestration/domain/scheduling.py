"""Which subtasks start now. A pure decision over a snapshot; every answer carries its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestration.domain.states import SUBTASK_LOST, SubtaskStatus


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pending subtask. `dependencies` are the names it needs, with their status now."""

    id: int
    name: str
    priority: int
    dependencies: Mapping[str, SubtaskStatus]
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """Free places for attempts, the narrowest one wins; each with the words for its limit."""

    swarm: int
    everywhere: int

    @property
    def free(self) -> int:
        return max(0, min(self.swarm, self.everywhere))

    @property
    def limit(self) -> str:
        return "this swarm's limit" if self.swarm <= self.everywhere else "this installation's limit"


@dataclass(frozen=True, slots=True)
class Start:
    id: int


@dataclass(frozen=True, slots=True)
class Wait:
    id: int
    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Block:
    id: int
    reason: str


Decision = Start | Wait | Block


def decide(waiting: Iterable[Waiting], room: Room, now: datetime) -> list[Decision]:
    """One decision for every waiting subtask, in the order in which they would start."""
    decisions: list[Decision] = []
    free = room.free
    for subtask in sorted(waiting, key=lambda one: (one.priority, one.id)):
        decision = _unready(subtask, now) or (Start(subtask.id) if free else None)
        if decision is None:
            decision = Wait(subtask.id, f"All agents of {room.limit} are busy.")
        elif isinstance(decision, Start):
            free -= 1
        decisions.append(decision)
    return decisions


def _unready(subtask: Waiting, now: datetime) -> Wait | Block | None:
    lost = [(name, status) for name, status in subtask.dependencies.items() if status in SUBTASK_LOST]
    if lost:
        name, status = lost[0]
        return Block(subtask.id, f"It needs {name}, which is {_word(status)}.")
    due = [name for name, status in subtask.dependencies.items() if status is not SubtaskStatus.COMPLETE]
    if due:
        return Wait(subtask.id, f"Waits for {_list(due)}.")
    if subtask.not_before and subtask.not_before > now:
        return Wait(subtask.id, "Waits before it is tried again.", until=subtask.not_before)
    return None


def _word(status: SubtaskStatus) -> str:
    return "in conflict" if status is SubtaskStatus.CONFLICT else status.replace("_", " ")


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
