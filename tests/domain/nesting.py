"""Swarms whose subtasks are split again and again, as values: what the machine of test_nesting_machine.py drives.

Rows move as stages/dispatch.py, subplan.py and steer.py move them; everything that decides is the domain's own.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from orchestration.domain.aggregation import Piece, aggregate
from orchestration.domain.config import Strategy
from orchestration.domain.handoffs import Claim
from orchestration.domain.planning import PlannedTask, SubmittedPlan, judge
from orchestration.domain.scheduling import Decision, Installation, Terms, Waiting, decide
from orchestration.domain.scopes import Held
from orchestration.domain.states import SUBTASK_SETTLED, SubtaskStatus, may
from orchestration.domain.subplans import SPLIT_FROM, batch_problems, may_split, wants_split

S = SubtaskStatus
START = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HOLDS_SCOPE = {S.RUNNING, S.HANDED_OFF}


@dataclass(eq=False)
class Row:
    id: int
    swarm: Company
    task: PlannedTask
    since: datetime
    needs: list[Row]
    parent: Row | None = None
    depth: int = 0
    status: S = S.PENDING
    planned: bool = False  # its subplanner has answered
    parts: list[Row] = field(default_factory=list)
    reason: str = ""

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def splits(self) -> bool:
        """As stages/splitting.py asks."""
        if self.parts:
            return True
        wanted = wants_split(self.task.scope, self.task.kind, marked=self.task.decompose)
        return wanted and may_split(self.depth, Strategy.AUTOMATIC) and not self.planned


@dataclass(eq=False)
class Company:
    """A swarm."""

    id: int
    owner: int
    repository: int
    slots: int
    status: str = "running"
    rows: list[Row] = field(default_factory=list)

    @property
    def known(self) -> dict[str, S]:
        return {row.name: row.status for row in self.rows}


class Ground:
    """Everything there is, and how it moves."""

    def __init__(self) -> None:
        self.swarms: list[Company] = []
        self.now = START
        self.number = 0
        self.slots = 1
        self.of_repository: dict[int, int] = {}

    def large(self, root: str) -> list[str]:
        return [f"{root}/{side}/**" for side in ("north", "east", "south", "west")]

    def task(
        self, scope: list[str] | None = None, needs: list[str] | None = None, priority: int = 5, **more: bool
    ) -> PlannedTask:
        self.number += 1
        return PlannedTask(
            name=f"t{self.number}",
            instruction="Do it.",
            scope=scope or [],
            dependencies=needs or [],
            priority=priority,
            **more,  # type: ignore[arg-type]
        )

    def plan_in(self, swarm: Company, tasks: list[PlannedTask], parent: Row | None = None) -> list[Row]:
        """Judged like a model's answer: what the rules of the domain refuse is a mistake of this test."""
        plan = SubmittedPlan(tasks=tasks)
        problems = judge(plan, swarm.known, work_in_flight=True, working_dir=None)
        if parent:
            siblings = {row.name for row in parent.parts}
            problems += batch_problems(
                tasks, parent=parent.name, scope=parent.task.scope, siblings=siblings, known=swarm.known
            )
        assert not problems
        made = []
        for task in tasks:
            needs = [row for row in swarm.rows if row.name in task.dependencies]
            row = Row(len(self.rows), swarm, task, self.now, needs, parent, parent.depth + 1 if parent else 0)
            swarm.rows.append(row)
            made.append(row)
        return made

    @property
    def rows(self) -> list[Row]:
        return sorted((row for swarm in self.swarms for row in swarm.rows), key=lambda row: row.id)

    def of(self, *statuses: S) -> list[Row]:
        return [row for row in self.rows if row.status in statuses]

    def move(self, row: Row, to: S) -> None:
        """Nothing that the table of statuses does not know."""
        assert may(row.status, to), (row.name, row.status, to)
        row.status = to

    def terms(self, swarm: Company) -> Terms:
        held = tuple(Held(row.name, tuple(row.task.scope)) for row in swarm.rows if row.status in HOLDS_SCOPE)
        running = sum(row.status is S.RUNNING for row in swarm.rows)
        return Terms(swarm.slots, running, swarm.owner, swarm.repository, held=held)

    def installation(self) -> Installation:
        running = self.of(S.RUNNING)
        return Installation(
            self.slots,
            {swarm.id: self.terms(swarm) for swarm in self.swarms},
            len(running),
            Counter(row.swarm.owner for row in running),
            Counter(row.swarm.repository for row in running),
            self.of_repository,
        )

    def waiting(self, row: Row) -> Waiting:
        return Waiting(
            row.id,
            row.name,
            row.task.priority,
            {need.name: need.status for need in row.needs},
            since=row.since,
            scope=tuple(row.task.scope),
            swarm=row.swarm.id,
            splits=row.splits,
        )

    def decisions(self) -> list[Decision]:
        ready = [row for row in self.of(S.PENDING) if row.swarm.status == "running"]
        return decide([self.waiting(row) for row in ready], self.installation(), self.now)

    def asked(self) -> list[Row]:
        """Waiting for a subplanner that has not answered yet."""
        return [row for row in self.of(S.WAITING) if not row.planned and row.swarm.status == "running"]

    def subplan(self, row: Row, parts: int, *, chained: bool, deeper: bool) -> None:
        row.planned = True
        if not parts:  # it is one agent's work after all
            self.move(row, S.PENDING)
            return
        tasks: list[PlannedTask] = []
        for number in range(parts):
            needs = [tasks[-1].name] if chained and tasks else []
            inside = [entry.replace("/**", f"/part{number}/**") for entry in row.task.scope]
            scope = inside if deeper else inside[:1]
            tasks.append(self.task(scope, needs, row.task.priority, decompose=deeper and len(scope) < SPLIT_FROM))
        row.parts += self.plan_in(row.swarm, tasks, row)

    def cancel(self, row: Row) -> None:
        for part in row.parts:
            if part.status not in SUBTASK_SETTLED:
                self.cancel(part)
        self.move(row, S.CANCELLED)

    def sum_up(self) -> None:
        """The innermost first: a part that is split is settled before what it is a part of."""
        for row in sorted(self.of(S.WAITING), key=lambda row: -row.depth):
            if row.parts and all(part.status in SUBTASK_SETTLED for part in row.parts):
                found = aggregate([Piece(part.name, part.status) for part in row.parts])
                whole = all(part.status is S.COMPLETE for part in row.parts)
                assert (found.claim is Claim.COMPLETE) is whole
                self.move(row, S.COMPLETE if whole else S.FAILED)
