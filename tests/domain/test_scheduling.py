"""Every waiting subtask gets one decision with its reason, within the room there is, in a fair order."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from orchestration.domain.scheduling import Block, Decision, Room, Start, Wait, Waiting, decide
from orchestration.domain.states import SUBTASK_LOST, SubtaskStatus

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
PLENTY = Room(swarm=100, everywhere=100)


def waiting(number: int, priority: int = 5, **dependencies: SubtaskStatus) -> Waiting:
    return Waiting(number, f"t{number}", priority, dependencies)


def only(subtask: Waiting, room: Room = PLENTY) -> Decision:
    (decision,) = decide([subtask], room, NOW)
    return decision


# --- by hand ----------------------------------------------------------------------------------------------------


def test_a_subtask_without_dependencies_starts():
    assert only(waiting(1)) == Start(1)


@pytest.mark.parametrize("status", SubtaskStatus)
def test_it_starts_only_after_a_dependency_is_complete(status: SubtaskStatus):
    decision = only(waiting(1, base=status))
    if status is SubtaskStatus.COMPLETE:
        assert decision == Start(1)
    elif status in SUBTASK_LOST:
        assert isinstance(decision, Block)
    else:
        assert decision == Wait(1, "Waits for base.")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (SubtaskStatus.FAILED, "It needs base, which is failed."),
        (SubtaskStatus.TIMED_OUT, "It needs base, which is timed out."),
        (SubtaskStatus.CONFLICT, "It needs base, which is in conflict."),
        (SubtaskStatus.BLOCKED, "It needs base, which is blocked."),
        (SubtaskStatus.CANCELLED, "It needs base, which is cancelled."),
    ],
)
def test_a_lost_dependency_blocks_with_its_fate(status: SubtaskStatus, reason: str):
    assert only(waiting(1, other=SubtaskStatus.RUNNING, base=status)) == Block(1, reason)


def test_a_block_needs_no_room():
    assert isinstance(only(waiting(1, base=SubtaskStatus.FAILED), Room(0, 0)), Block)


def test_many_missing_dependencies_are_counted():
    missing = {f"d{number}": SubtaskStatus.RUNNING for number in range(5)}
    assert only(Waiting(1, "t1", 5, missing)) == Wait(1, "Waits for d0, d1, d2 and 2 more.")


def test_only_what_is_missing_is_named():
    assert only(waiting(1, a=SubtaskStatus.COMPLETE, b=SubtaskStatus.PENDING)) == Wait(1, "Waits for b.")


def test_a_retry_waits_until_its_time_and_not_longer():
    later = NOW + timedelta(seconds=5)
    subtask = dataclasses.replace(waiting(1), not_before=later)
    assert only(subtask) == Wait(1, "Waits before it is tried again.", until=later)
    assert decide([subtask], PLENTY, later) == [Start(1)]


def test_what_waits_for_its_time_takes_no_room():
    early = dataclasses.replace(waiting(1, priority=1), not_before=NOW + timedelta(seconds=5))
    assert decide([early, waiting(2)], Room(1, 1), NOW)[1] == Start(2)


def test_the_most_urgent_start_first_then_the_oldest():
    subtasks = [waiting(1, 9), waiting(4, 2), waiting(3, 2), waiting(2, 5)]
    assert decide(subtasks, Room(3, 10), NOW) == [
        Start(3),
        Start(4),
        Start(2),
        Wait(1, "All agents of this swarm's limit are busy."),
    ]


@pytest.mark.parametrize(
    ("room", "limit"),
    [
        (Room(0, 5), "this swarm's limit"),
        (Room(5, 0), "this installation's limit"),
        (Room(-3, 2), "this swarm's limit"),
        (Room(2, -3), "this installation's limit"),
    ],
)
def test_the_narrowest_limit_is_the_one_that_is_named(room: Room, limit: str):
    assert room.free == 0
    assert only(waiting(1), room) == Wait(1, f"All agents of {limit} are busy.")


def test_nothing_waits_nothing_is_decided():
    assert decide([], PLENTY, NOW) == []


# --- any snapshot -----------------------------------------------------------------------------------------------

STATUSES = st.sampled_from(SubtaskStatus)
MOMENTS = st.none() | st.integers(-5, 5).map(lambda seconds: NOW + timedelta(seconds=seconds))
SUBTASKS = st.lists(
    st.builds(
        Waiting,
        st.integers(1, 100),
        st.just("name"),
        st.integers(1, 10),
        st.dictionaries(st.sampled_from("abc"), STATUSES),
        MOMENTS,
    ),
    max_size=12,
    unique_by=lambda one: one.id,
)
ROOMS = st.builds(Room, st.integers(-2, 8), st.integers(-2, 8))


@given(SUBTASKS, ROOMS)
def test_every_subtask_gets_one_decision_and_every_refusal_a_sentence(subtasks: list[Waiting], room: Room):
    decisions = decide(subtasks, room, NOW)
    assert sorted(one.id for one in decisions) == sorted(one.id for one in subtasks)
    assert all(one.reason.endswith(".") for one in decisions if not isinstance(one, Start))


@given(SUBTASKS, ROOMS)
def test_the_room_is_filled_and_never_overshot(subtasks: list[Waiting], room: Room):
    started = {one.id for one in decide(subtasks, room, NOW) if isinstance(one, Start)}
    ready = [
        one.id
        for one in sorted(subtasks, key=lambda one: (one.priority, one.id))
        if set(one.dependencies.values()) <= {SubtaskStatus.COMPLETE} and not (one.not_before and one.not_before > NOW)
    ]
    assert started == set(ready[: room.free])


# --- a swarm that lives -----------------------------------------------------------------------------------------


class Swarm(RuleBasedStateMachine):
    """Subtasks come, start as decided, end well or badly; the invariants hold at every moment."""

    names = Bundle("names")
    limit = 2

    def __init__(self) -> None:
        super().__init__()
        self.status: dict[str, SubtaskStatus] = {}
        self.needs: dict[str, tuple[str, ...]] = {}
        self.priority: dict[str, int] = {}
        self.order: list[str] = []

    @rule(target=names, priority=st.integers(1, 10), needs=st.lists(names, max_size=2))
    def plan(self, priority: int, needs: list[str]) -> str:
        name = f"t{len(self.order)}"
        self.order.append(name)
        self.needs[name] = tuple(needs)
        self.priority[name] = priority
        self.status[name] = SubtaskStatus.PENDING
        return name

    def running(self) -> list[str]:
        return [name for name, status in self.status.items() if status is SubtaskStatus.RUNNING]

    def decisions(self) -> list[Decision]:
        pending = [
            Waiting(number, name, self.priority[name], {need: self.status[need] for need in self.needs[name]})
            for number, name in enumerate(self.order)
            if self.status[name] is SubtaskStatus.PENDING
        ]
        return decide(pending, Room(self.limit - len(self.running()), 10), NOW)

    @rule()
    def dispatch(self) -> None:
        for decision in self.decisions():
            name = self.order[decision.id]
            if isinstance(decision, Start):
                assert all(self.status[need] is SubtaskStatus.COMPLETE for need in self.needs[name])
                self.status[name] = SubtaskStatus.RUNNING
            elif isinstance(decision, Block):
                self.status[name] = SubtaskStatus.BLOCKED

    @precondition(lambda self: self.running())
    @rule(data=st.data(), end=st.sampled_from([SubtaskStatus.COMPLETE, SubtaskStatus.FAILED]))
    def end(self, data: st.DataObject, end: SubtaskStatus) -> None:
        self.status[data.draw(st.sampled_from(self.running()))] = end

    @rule(name=names)
    def retry(self, name: str) -> None:
        if self.status[name] in {SubtaskStatus.FAILED, SubtaskStatus.BLOCKED}:
            self.status[name] = SubtaskStatus.PENDING

    @invariant()
    def never_over_room(self) -> None:
        assert len(self.running()) <= self.limit

    @invariant()
    def nobody_is_passed_over(self) -> None:
        decided = self.decisions()
        started = [(self.priority[self.order[one.id]], one.id) for one in decided if isinstance(one, Start)]
        busy = [
            (self.priority[self.order[one.id]], one.id)
            for one in decided
            if isinstance(one, Wait) and one.reason.startswith("All agents")
        ]
        assert max(started, default=(0, 0)) <= min(busy, default=(11, 0))

    def teardown(self) -> None:
        """No starvation: where everything that runs ends well, everything has started or is blocked in the end."""
        for _ in range(2 * len(self.order) + 2):
            self.dispatch()
            for name in self.running():
                self.status[name] = SubtaskStatus.COMPLETE
        assert SubtaskStatus.PENDING not in self.status.values()


TestSwarm = Swarm.TestCase
TestSwarm.settings = settings(max_examples=40, stateful_step_count=25)
