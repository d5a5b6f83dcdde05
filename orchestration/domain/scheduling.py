"""Which subtasks start now. A pure decision over a snapshot; every answer carries its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orchestration.domain import scopes
from orchestration.domain.scopes import Held
from orchestration.domain.states import SUBTASK_LOST, SubtaskStatus

HIGHEST = 1
AGE_PER_CLASS = timedelta(minutes=10)  # ready for so long: one class more urgent
UNKNOWN_SCOPE = "Its scope is not known: what it changes may conflict with what others change beside it."
# Less than so long before the deadline: so many classes more urgent.
NEAR_DEADLINE = ((timedelta(minutes=15), 4), (timedelta(hours=1), 2), (timedelta(hours=4), 1))


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pending subtask. `dependencies` are the names it needs, with their status now; `since`: it could start."""

    id: int
    name: str
    priority: int
    dependencies: Mapping[str, SubtaskStatus]
    not_before: datetime | None = None
    since: datetime | None = None
    changes: bool = True
    scope: tuple[str, ...] = ()  # where it may change something; empty: unknown
    swarm: int = 0
    splits: bool = False  # it is split into parts instead of run, and takes no place
    resumes: bool = False  # an attempt of it has waited for a person, and goes on


@dataclass(frozen=True, slots=True)
class Terms:
    """What binds one swarm's subtasks. `closed`: the sentence why nothing of it will start any more."""

    slots: int
    running: int = 0
    owner: int = 0
    repository: int = 0
    deadline: datetime | None = None
    closed: str = ""
    held: tuple[Held, ...] = ()


@dataclass(frozen=True, slots=True)
class Installation:
    """Everything that shares the places for attempts, and who holds them now."""

    slots: int
    swarms: Mapping[int, Terms]
    running: int = 0
    by_owner: Mapping[int, int] = field(default_factory=dict)
    by_repository: Mapping[int, int] = field(default_factory=dict)
    repository_slots: Mapping[int, int] = field(default_factory=dict)  # only those with a limit of their own


@dataclass(frozen=True, slots=True)
class Start:
    """`remark` is what a person should know about it."""

    id: int
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    id: int
    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Block:
    id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Split:
    """It waits for its parts from here on, and holds no place."""

    id: int


Decision = Start | Wait | Block | Split


def decide(waiting: Iterable[Waiting], installation: Installation, now: datetime) -> list[Decision]:
    """One decision for every waiting subtask, those that start in their order."""
    decisions: list[Decision] = []
    ready: list[Waiting] = []
    for one in sorted(waiting, key=lambda one: one.id):
        decision = _unready(one, installation.swarms[one.swarm], now) or (Split(one.id) if one.splits else None)
        if decision:
            decisions.append(decision)
        else:
            ready.append(one)
    return _Places(installation).share(ready, now) + decisions


def urgency(subtask: Waiting, terms: Terms, now: datetime) -> int:
    """Its class today, 1 first: as planned, lifted by age and by a near deadline."""
    lift = _lift(subtask, now)
    if terms.deadline:
        lift += next((classes for near, classes in NEAR_DEADLINE if terms.deadline - now < near), 0)
    return max(HIGHEST, subtask.priority - lift)


def _lift(subtask: Waiting, now: datetime) -> int:
    return max(0, (now - subtask.since) // AGE_PER_CLASS) if subtask.since else 0


class _Places:
    """The places of one decision as they are given away."""

    def __init__(self, installation: Installation) -> None:
        self._all = installation
        self._running = installation.running
        self._by_swarm = Counter({key: terms.running for key, terms in installation.swarms.items()})
        self._by_repository = Counter(installation.by_repository)
        self._by_owner = Counter(installation.by_owner)
        self._held = {key: list(terms.held) for key, terms in installation.swarms.items()}

    def share(self, ready: Sequence[Waiting], now: datetime) -> list[Decision]:
        """Class by class; in a class the owner with the fewest agents goes first, and of his the oldest."""
        decisions: list[Decision] = []
        classes: dict[int, dict[int, list[Waiting]]] = {}
        for one in ready:
            terms = self._all.swarms[one.swarm]
            classes.setdefault(urgency(one, terms, now), {}).setdefault(terms.owner, []).append(one)
        for _, owners in sorted(classes.items()):
            queues = {owner: list(reversed(theirs)) for owner, theirs in owners.items()}
            while queues:
                owner = min(queues, key=lambda owner: (self._by_owner[owner], queues[owner][-1].id))
                decisions.append(self._place(queues[owner].pop(), now))
                if not queues[owner]:
                    del queues[owner]
        return decisions

    def _place(self, one: Waiting, now: datetime) -> Decision:
        reason = self._full(one) or self._kept_out(one, now)
        if reason:
            return Wait(one.id, reason)
        terms = self._all.swarms[one.swarm]
        self._running += 1
        self._by_swarm[one.swarm] += 1
        self._by_repository[terms.repository] += 1
        self._by_owner[terms.owner] += 1
        return Start(one.id, self._take(one) if one.changes else "")

    def _take(self, one: Waiting) -> str:
        """Its scope is its own from here on; the remark where nobody knows what that is."""
        held = self._held[one.swarm]
        remark = UNKNOWN_SCOPE if held and not one.scope and not one.resumes else ""
        held.append(Held(one.name, one.scope))
        return remark

    def _full(self, one: Waiting) -> str:
        """The narrowest limit that has no place left."""
        terms = self._all.swarms[one.swarm]
        theirs = self._all.repository_slots.get(terms.repository)
        full = []
        if self._by_swarm[one.swarm] >= terms.slots:
            full.append((terms.slots, "swarm"))
        if theirs is not None and self._by_repository[terms.repository] >= theirs:
            full.append((theirs, "repository"))
        if self._running >= self._all.slots:
            full.append((self._all.slots, "installation"))
        return f"All agents of this {min(full, key=lambda limit: limit[0])[1]}'s limit are busy." if full else ""

    def _kept_out(self, one: Waiting, now: datetime) -> str:
        """One that has waited long keeps its scope free of those behind it, or small ones could pass it for ever."""
        held = self._held[one.swarm]
        others = [holder for holder in held if holder.name != one.name] if one.resumes else held
        found = scopes.holder(one.scope, others) if one.changes else None
        if found is None:
            return ""
        if _lift(one, now):
            held.append(Held(one.name, one.scope))
        return f"Its scope {found[0]} is held by {found[1]}."


def _unready(subtask: Waiting, terms: Terms, now: datetime) -> Wait | Block | None:
    lost = [(name, status) for name, status in subtask.dependencies.items() if status in SUBTASK_LOST]
    if lost:
        name, status = lost[0]
        return Block(subtask.id, f"It needs {name}, which is {status.replace('_', ' ')}.")
    if terms.closed:
        return Block(subtask.id, terms.closed)
    if terms.deadline and terms.deadline <= now and not subtask.resumes:
        return Block(subtask.id, f"{passed(terms.deadline)} It was not begun.")
    due = [name for name, status in subtask.dependencies.items() if status is not SubtaskStatus.COMPLETE]
    if due:
        return Wait(subtask.id, f"Waits for {_list(due)}.")
    if subtask.not_before and subtask.not_before > now:
        return Wait(subtask.id, "Waits before it is tried again.", until=subtask.not_before)
    return None


def passed(deadline: datetime) -> str:
    return f"The swarm's deadline, {deadline:%Y-%m-%d %H:%M} {deadline.tzname()}, has passed."


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
