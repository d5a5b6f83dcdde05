"""An installation that lives: swarms of several owners, subplans in subplans, few places. Nothing is ever overshot,
passed over or left behind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from orchestration.domain.scheduling import Block, Decision, Installation, Start, Terms, Waiting, decide, urgency
from orchestration.domain.scopes import Held, holder
from orchestration.domain.states import SUBTASK_LOST, SubtaskStatus

START = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
NEVER = datetime(2999, 1, 1, tzinfo=UTC)
HOLDS_SCOPE = {SubtaskStatus.RUNNING, SubtaskStatus.HANDED_OFF}
OWNERS = {1: 1, 2: 1, 3: 2}  # swarm: owner
REPOSITORY = {1: 1, 2: 2, 3: 1}
SCOPES = st.lists(st.sampled_from(["a", "a/x", "a/y", "b/**", "c.py"]), max_size=2).map(tuple)


@dataclass
class Row:
    id: int
    swarm: int
    priority: int
    scope: tuple[str, ...]
    needs: list[Row]
    since: datetime
    parts: int  # how many children it is split into
    status: SubtaskStatus = SubtaskStatus.PENDING
    children: list[Row] = field(default_factory=list)
    not_before: datetime | None = None

    @property
    def name(self) -> str:
        return f"t{self.id}"


class Life(RuleBasedStateMachine):
    rows = Bundle("rows")

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Row] = []
        self.now = START
        self.slots = 1
        self.of_swarm = dict.fromkeys(OWNERS, 1)
        self.of_repository: dict[int, int] = {}
        self.deadlines: dict[int, datetime] = {}
        self.closed: dict[int, str] = {}

    @initialize(
        slots=st.integers(1, 4),
        of_swarm=st.fixed_dictionaries({swarm: st.integers(1, 3) for swarm in OWNERS}),
        of_repository=st.dictionaries(st.just(1), st.integers(1, 2)),
    )
    def limits(self, slots: int, of_swarm: dict[int, int], of_repository: dict[int, int]) -> None:
        self.slots, self.of_swarm, self.of_repository = slots, of_swarm, of_repository

    @rule(
        target=rows,
        swarm=st.sampled_from(sorted(OWNERS)),
        priority=st.integers(1, 10),
        scope=SCOPES,
        needs=st.lists(rows, max_size=2),
        parts=st.integers(0, 2),
    )
    def plan(self, swarm: int, priority: int, scope: tuple[str, ...], needs: list[Row], parts: int) -> Row:
        return self.made(swarm, priority, scope, needs=[row for row in needs if row.swarm == swarm], parts=parts)

    def made(self, swarm: int, priority: int, scope: tuple[str, ...], *, needs: list[Row], parts: int) -> Row:
        row = Row(len(self.all), swarm, priority, scope, needs, self.now, parts)
        self.all.append(row)
        return row

    def of(self, *statuses: SubtaskStatus) -> list[Row]:
        return [row for row in self.all if row.status in statuses]

    def installation(self) -> Installation:
        running = self.of(SubtaskStatus.RUNNING)
        by_swarm = Counter(row.swarm for row in running)
        return Installation(
            slots=self.slots,
            running=len(running),
            swarms={
                swarm: Terms(
                    slots=self.of_swarm[swarm],
                    running=by_swarm[swarm],
                    owner=owner,
                    repository=REPOSITORY[swarm],
                    deadline=self.deadlines.get(swarm),
                    closed=self.closed.get(swarm, ""),
                    held=tuple(Held(row.name, row.scope) for row in self.of(*HOLDS_SCOPE) if row.swarm == swarm),
                )
                for swarm, owner in OWNERS.items()
            },
            by_owner=Counter(OWNERS[row.swarm] for row in running),
            by_repository=Counter(REPOSITORY[row.swarm] for row in running),
            repository_slots=self.of_repository,
        )

    def waiting(self, row: Row) -> Waiting:
        needs = {need.name: need.status for need in row.needs}
        when = {"since": row.since, "not_before": row.not_before}
        return Waiting(row.id, row.name, row.priority, needs, scope=row.scope, swarm=row.swarm, **when)

    def decisions(self) -> list[Decision]:
        return decide([self.waiting(row) for row in self.of(SubtaskStatus.PENDING)], self.installation(), self.now)

    @rule()
    def dispatch(self) -> None:
        for decision in self.decisions():
            row = self.all[decision.id]
            if isinstance(decision, Start):
                assert all(need.status is SubtaskStatus.COMPLETE for need in row.needs)
                assert not holder(row.scope, self.installation().swarms[row.swarm].held)
                assert row.swarm not in self.closed, "nothing begins where the tool calls are used up"
                assert self.deadlines.get(row.swarm, NEVER) > self.now
                assert row.not_before is None or row.not_before <= self.now
                row.status = SubtaskStatus.RUNNING
            elif isinstance(decision, Block):
                over = self.deadlines.get(row.swarm, NEVER) <= self.now or row.swarm in self.closed
                assert over or any(need.status in SUBTASK_LOST for need in row.needs)
                row.status = SubtaskStatus.BLOCKED

    @precondition(lambda self: self.of(SubtaskStatus.RUNNING))
    @rule(data=st.data(), well=st.booleans())
    def end(self, data: st.DataObject, well: bool) -> None:
        row = data.draw(st.sampled_from(self.of(SubtaskStatus.RUNNING)))
        self.step(row) if well else self.settle(row, SubtaskStatus.FAILED)

    @precondition(lambda self: self.of(SubtaskStatus.RUNNING))
    @rule(data=st.data(), minutes=st.integers(0, 30))
    def try_again_later(self, data: st.DataObject, minutes: int) -> None:
        row = data.draw(st.sampled_from(self.of(SubtaskStatus.RUNNING)))
        row.status, row.not_before = SubtaskStatus.PENDING, self.now + timedelta(minutes=minutes)

    @rule(swarm=st.sampled_from(sorted(OWNERS)), minutes=st.integers(1, 90))
    def set_a_deadline(self, swarm: int, minutes: int) -> None:
        self.deadlines[swarm] = self.now + timedelta(minutes=minutes)

    @rule(swarm=st.sampled_from(sorted(OWNERS)))
    def use_up_all_tool_calls(self, swarm: int) -> None:
        self.closed[swarm] = "The swarm's limit of 5 tool calls is used up."

    @rule(swarm=st.sampled_from(sorted(OWNERS)))
    def raise_the_limits(self, swarm: int) -> None:
        self.closed.pop(swarm, None)
        self.deadlines.pop(swarm, None)

    def step(self, row: Row) -> None:
        """Its agent ends well: it is split, or has something to land."""
        if not row.parts:
            row.status = SubtaskStatus.HANDED_OFF
            return
        row.status = SubtaskStatus.WAITING
        before: list[Row] = []
        for _ in range(row.parts):  # one after the other, each a level deeper with fewer parts
            before = [self.made(row.swarm, row.priority, row.scope, needs=before, parts=row.parts - 1)]
            row.children += before

    @precondition(lambda self: self.of(SubtaskStatus.HANDED_OFF))
    @rule(data=st.data())
    def land(self, data: st.DataObject) -> None:
        self.settle(data.draw(st.sampled_from(self.of(SubtaskStatus.HANDED_OFF))), SubtaskStatus.COMPLETE)

    def settle(self, row: Row, status: SubtaskStatus) -> None:
        row.status = status
        self.collect()

    def collect(self) -> None:
        """A parent is complete with the last of its children; what became of them is in its handoff."""
        open_ones = {SubtaskStatus.PENDING, SubtaskStatus.WAITING, *HOLDS_SCOPE}
        for row in reversed(self.of(SubtaskStatus.WAITING)):
            if not any(child.status in open_ones for child in row.children):
                row.status = SubtaskStatus.COMPLETE

    @rule(minutes=st.integers(1, 30))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(row=consumes(rows), priority=st.integers(1, 10))
    def edit(self, row: Row, priority: int) -> None:
        row.priority = priority

    @invariant()
    def never_over_any_limit(self) -> None:
        running = self.of(SubtaskStatus.RUNNING)
        assert len(running) <= self.slots
        assert all(count <= self.of_swarm[swarm] for swarm, count in Counter(row.swarm for row in running).items())
        repositories = Counter(REPOSITORY[row.swarm] for row in running)
        assert all(repositories[key] <= limit for key, limit in self.of_repository.items())

    @invariant()
    def no_two_in_one_place(self) -> None:
        held = self.of(*HOLDS_SCOPE)
        for row in held:
            others = [Held(one.name, one.scope) for one in held if one.swarm == row.swarm and one is not row]
            assert not holder(row.scope, others)

    @invariant()
    def nobody_is_passed_over(self) -> None:
        """Of two in one swarm the less urgent does not start while the other is told that all are busy."""
        classes: dict[tuple[int, bool], list[int]] = {}
        for decision in self.decisions():
            busy = getattr(decision, "reason", "").startswith("All agents")
            if busy or isinstance(decision, Start):
                row = self.all[decision.id]
                terms = Terms(slots=1, deadline=self.deadlines.get(row.swarm))
                urgent = urgency(self.waiting(row), terms, self.now)
                classes.setdefault((row.swarm, busy), []).append(urgent)
        for (swarm, busy), found in classes.items():
            if not busy:
                assert max(found) <= min(classes.get((swarm, True), [10]))

    def teardown(self) -> None:
        """No deadlock and no starvation: where every agent ends well, everything comes to its end."""
        for _ in range(1000):
            self.now += timedelta(minutes=1)
            self.collect()
            if not self.of(SubtaskStatus.PENDING, SubtaskStatus.WAITING, *HOLDS_SCOPE):
                return
            self.dispatch()
            self.never_over_any_limit()
            for row in self.of(SubtaskStatus.HANDED_OFF):
                self.settle(row, SubtaskStatus.COMPLETE)
            for row in self.of(SubtaskStatus.RUNNING):
                self.step(row)
        raise AssertionError([(row.name, row.status) for row in self.all])


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
