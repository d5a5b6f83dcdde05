"""Subplans in subplans on one place: pure rules and the real decisions, so that a parent never starves its parts.

Rows live as stages/dispatch.py, subplan.py and steer.py move them; everything that decides is the domain's own.
"""

from __future__ import annotations

import os
from collections import Counter
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestration.domain.config import Strategy
from orchestration.domain.scheduling import (
    HIGHEST,
    Block,
    Decision,
    Installation,
    Split,
    Start,
    Wait,
    urgency,
)
from orchestration.domain.scopes import Held, holder
from orchestration.domain.states import SUBTASK_LOST, SUBTASK_SETTLED
from orchestration.domain.subplans import MAX_DEPTH, may_split
from tests.domain.nesting import HOLDS_SCOPE, Company, Ground, Row, S

MOST_ROWS = 60
CONFIRMING = 4  # passes of dispatch in a row that change nothing: it is quiet
PRIORITIES = st.integers(1, 10)
LEAVES = st.lists(st.sampled_from([[], ["x/**"], ["x/y"], ["z"]]), max_size=4)


class Nesting(Ground, RuleBasedStateMachine):
    def __init__(self) -> None:
        Ground.__init__(self)
        RuleBasedStateMachine.__init__(self)

    # What there is.

    @initialize(
        slots=st.sampled_from([1, 1, 2, 3]),
        of_repository=st.dictionaries(st.just(1), st.integers(1, 2)),
        leaves=st.tuples(LEAVES, LEAVES),
    )
    def limits(self, slots: int, of_repository: dict[int, int], leaves: tuple[list[list[str]], ...]) -> None:
        self.slots, self.of_repository = slots, of_repository
        for number, scopes in enumerate(leaves, start=1):
            self.submit(owner=number, repository=1, slots=2, parts=1, leaves=scopes)

    @precondition(lambda self: len(self.swarms) < 4)
    @rule(
        owner=st.integers(1, 2),
        repository=st.integers(1, 2),
        slots=st.integers(1, 3),
        parts=st.integers(1, 3),
        leaves=LEAVES,
    )
    def submit(self, owner: int, repository: int, slots: int, parts: int, leaves: list[list[str]]) -> None:
        """A request and its first plan: something large, what builds on it, and what stands for itself."""
        swarm = Company(len(self.swarms), owner, repository, slots)
        self.swarms.append(swarm)
        tasks = [self.task(scope=self.large(f"area{n}")) for n in range(parts)]
        tasks.append(self.task(needs=[tasks[0].name]))
        tasks += [self.task(scope=scope) for scope in leaves]
        self.plan_in(swarm, tasks)

    @precondition(lambda self: self.of(S.PENDING) and len(self.rows) < MOST_ROWS)
    @rule(data=st.data(), priority=PRIORITIES, marked=st.booleans())
    def plan(self, data: st.DataObject, priority: int, marked: bool) -> None:
        """The planner is asked again, beside everything else: one more that builds on something."""
        before = data.draw(st.sampled_from(self.of(S.PENDING)))
        if before.parent is None and before.swarm.status == "running":
            self.plan_in(before.swarm, [self.task(needs=[before.name], priority=priority, decompose=marked)])

    # Dispatch.

    @rule()
    def run(self) -> None:
        self.dispatch()

    def dispatch(self) -> bool:
        """Whether anything moved."""
        moved = False
        before = self.installation()
        for decision in self.decisions():
            row = self.rows[decision.id]
            moved = self.carry_out(row, decision, before) or moved
        return moved

    def carry_out(self, row: Row, decision: Decision, before: Installation) -> bool:
        match decision:
            case Start():
                assert all(need.status is S.COMPLETE for need in row.needs), "never before what it needs has landed"
                assert not row.splits, "what is to be split is not run"
                assert not holder(row.task.scope, before.swarms[row.swarm.id].held)
                self.move(row, S.ASSIGNED)
                self.move(row, S.RUNNING)
            case Split():
                assert all(need.status is S.COMPLETE for need in row.needs)
                assert row.depth < MAX_DEPTH
                self.move(row, S.WAITING)
            case Block(reason=reason):
                assert any(need.status in SUBTASK_LOST for need in row.needs)
                self.move(row, S.BLOCKED)
                row.reason = reason
            case Wait(reason=reason):
                assert reason, "every waiting thing shows its reason"
                row.reason = reason
                return False
        return True

    # Subplanners, agents, the queue.

    @precondition(lambda self: self.asked() and len(self.rows) < MOST_ROWS)
    @rule(data=st.data(), parts=st.integers(0, 3), chained=st.booleans(), deeper=st.booleans())
    def split(self, data: st.DataObject, parts: int, chained: bool, deeper: bool) -> None:
        self.subplan(data.draw(st.sampled_from(self.asked())), parts, chained=chained, deeper=deeper)

    @precondition(lambda self: self.of(S.RUNNING))
    @rule(data=st.data())
    def hand_off(self, data: st.DataObject) -> None:
        self.move(data.draw(st.sampled_from(self.of(S.RUNNING))), S.HANDED_OFF)

    @precondition(lambda self: self.of(S.RUNNING) and len(self.rows) < MOST_ROWS)
    @rule(data=st.data(), parts=st.integers(1, 2))
    def propose(self, data: st.DataObject, parts: int) -> None:
        """An agent finds that its subtask is too much for one."""
        row = data.draw(st.sampled_from(self.of(S.RUNNING)))
        if may_split(row.depth, Strategy.AUTOMATIC):
            self.move(row, S.WAITING)
            self.subplan(row, parts, chained=True, deeper=False)

    @precondition(lambda self: self.of(S.HANDED_OFF))
    @rule(data=st.data(), well=st.booleans())
    def land(self, data: st.DataObject, well: bool) -> None:
        self.move(data.draw(st.sampled_from(self.of(S.HANDED_OFF))), S.COMPLETE if well else S.CONFLICT)
        self.sum_up()

    @precondition(lambda self: self.of(S.RUNNING))
    @rule(data=st.data(), end=st.sampled_from([S.FAILED, S.TIMED_OUT, S.BLOCKED, S.PENDING]))
    def fail(self, data: st.DataObject, end: S) -> None:
        """For good, or to be tried again."""
        self.move(data.draw(st.sampled_from(self.of(S.RUNNING))), end)
        self.sum_up()

    # People, and the clock.

    @precondition(lambda self: self.swarms)
    @rule(data=st.data(), to=st.sampled_from(["paused", "running"]))
    def pause_or_resume(self, data: st.DataObject, to: str) -> None:
        swarm = data.draw(st.sampled_from(self.swarms))
        if swarm.status != "cancelled":
            swarm.status = to

    @precondition(lambda self: self.swarms)
    @rule(data=st.data())
    def cancel_one(self, data: st.DataObject) -> None:
        """A subtask with all its parts."""
        open_ones = [row for row in self.rows if row.status not in SUBTASK_SETTLED | {S.HANDED_OFF}]
        if open_ones:
            self.cancel(data.draw(st.sampled_from(open_ones)))
            self.sum_up()

    @precondition(lambda self: len(self.swarms) > 1)
    @rule(data=st.data())
    def cancel_all(self, data: st.DataObject) -> None:
        swarm = data.draw(st.sampled_from(self.swarms))
        swarm.status = "cancelled"
        for row in swarm.rows:
            if row.status not in SUBTASK_SETTLED:
                self.move(row, S.CANCELLED)

    @rule(minutes=st.integers(1, 40))
    def clock(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    # What always holds.

    @invariant()
    def no_limit_is_passed(self) -> None:
        running = self.of(S.RUNNING)
        assert len(running) <= self.slots
        for swarm in self.swarms:
            assert sum(row.swarm is swarm for row in running) <= swarm.slots
        for repository, limit in self.of_repository.items():
            assert sum(row.swarm.repository == repository for row in running) <= limit

    @invariant()
    def no_two_work_in_one_place(self) -> None:
        for swarm in self.swarms:
            held = [row for row in swarm.rows if row.status in HOLDS_SCOPE]
            for row in held:
                others = [Held(one.name, tuple(one.task.scope)) for one in held if one is not row]
                assert not holder(row.task.scope, others)

    @invariant()
    def no_parent_holds_a_place_while_its_parts_are_open(self) -> None:
        for row in self.rows:
            if any(part.status not in SUBTASK_SETTLED for part in row.parts):
                assert row.status in {S.WAITING, S.CANCELLED}

    @invariant()
    def nothing_lies_deeper_than_allowed(self) -> None:
        assert all(row.depth <= MAX_DEPTH for row in self.rows)
        assert all(row.parent is None or row.depth == row.parent.depth + 1 for row in self.rows)

    @invariant()
    def the_urgent_go_first_and_owners_share(self) -> None:
        """Of two that compete for the same place. Who is kept out by a scope competes for none."""
        decided = self.decisions()
        started = [self.rows[one.id] for one in decided if isinstance(one, Start)]
        full = [self.rows[one.id] for one in decided if isinstance(one, Wait) and "limit are busy" in one.reason]
        for left in full:
            for taken in started:
                if taken.swarm is left.swarm:
                    assert self.class_of(taken) <= self.class_of(left)
                    if self.class_of(taken) == self.class_of(left):
                        assert taken.id < left.id, "of one class and owner the oldest"
        if started:
            self.owners_share(started, full)

    def owners_share(self, started: list[Row], full: list[Row]) -> None:
        """Nobody is given a second place while another owner, who has none and asks as urgently, is told that the
        installation is full."""
        with_them = Counter(row.swarm.owner for row in (*self.of(S.RUNNING), *started))
        for left in full:
            terms = self.terms(left.swarm)
            crowd = self.of_repository.get(left.swarm.repository)
            only_installation = terms.running < terms.slots and crowd is None
            if not only_installation or with_them[left.swarm.owner]:
                continue
            for taken in started:
                if self.class_of(taken) >= self.class_of(left):
                    assert with_them[taken.swarm.owner] <= 1

    def class_of(self, row: Row) -> int:
        urgent = urgency(self.waiting(row), self.terms(row.swarm), self.now)
        assert HIGHEST <= urgent <= row.task.priority
        return urgent

    # And in the end.

    def teardown(self) -> None:
        """No deadlock and no starvation: where swarms go on and every agent ends well, everything comes to its end,
        on however few places and however deep."""
        for swarm in self.swarms:
            swarm.status = "running" if swarm.status == "paused" else swarm.status
        quiet = 0
        while quiet < CONFIRMING:
            moved = self.dispatch()
            self.no_limit_is_passed()
            self.no_parent_holds_a_place_while_its_parts_are_open()
            for row in self.asked():
                room = len(self.rows) < MOST_ROWS
                self.subplan(row, 2 if room else 0, chained=row.id % 2 == 0, deeper=room)
                moved = True
            for row in self.of(S.HANDED_OFF):
                self.move(row, S.COMPLETE)
                moved = True
            for row in self.of(S.RUNNING):
                self.move(row, S.HANDED_OFF)
                moved = True
            for row in self.of(S.CONFLICT):
                self.move(row, S.PENDING)  # somebody settles it, in a place like any other
                moved = True
            self.sum_up()
            quiet = 0 if moved else quiet + 1
        left = [(row.name, row.depth, row.status, row.reason) for row in self.rows if row.status not in SUBTASK_SETTLED]
        assert not left


TestNesting = Nesting.TestCase
TestNesting.settings = settings(
    max_examples=int(os.environ.get("SWARM_MACHINE_EXAMPLES", "60")), stateful_step_count=50, deadline=None
)


def test_three_levels_come_to_their_end_on_one_place_and_the_deepest_is_a_leaf():
    """The same machine by hand, so that its depth is reached for certain."""
    machine = Nesting()
    machine.submit(1, 1, 1, 1, [])
    machine.teardown()
    depths = Counter(row.depth for row in machine.rows)
    assert set(depths) == {0, 1, 2, 3}
    assert {row.status for row in machine.rows} == {S.COMPLETE}
    assert all(not row.parts for row in machine.rows if row.depth == MAX_DEPTH)
    assert len([row for row in machine.rows if row.parts]) == 1 + 2 + 4


def test_a_parent_that_kept_its_place_would_be_the_end_of_all():
    """The control: with the one place held by whoever is split, nothing moves any more."""
    machine = Nesting()
    machine.submit(1, 1, 1, 1, [])
    machine.dispatch()
    (parent,) = machine.of(S.WAITING)
    machine.subplan(parent, 2, chained=False, deeper=False)
    parent.status = S.RUNNING
    assert not machine.dispatch()
    assert all(row.reason for row in parent.parts)
    parent.status = S.WAITING
    assert machine.dispatch()
