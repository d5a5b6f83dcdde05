"""Every waiting subtask gets one decision with its reason, within the room there is, in a fair order."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.scheduling import (
    AGE_PER_CLASS,
    NEAR_DEADLINE,
    UNKNOWN_SCOPE,
    Block,
    Decision,
    Installation,
    Start,
    Terms,
    Wait,
    Waiting,
    decide,
    urgency,
)
from orchestration.domain.scopes import Held
from orchestration.domain.states import SUBTASK_LOST, SubtaskStatus

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def room(swarm: int = 100, everywhere: int = 100, **terms: Any) -> Installation:
    """One swarm, numbered 0, with so many free places."""
    return Installation(slots=everywhere, swarms={0: Terms(slots=swarm, **terms)})


PLENTY = room()


def waiting(number: int, priority: int = 5, **dependencies: SubtaskStatus) -> Waiting:
    return Waiting(number, f"t{number}", priority, dependencies, changes=False)


def change(number: int, *scope: str, **fields: Any) -> Waiting:
    return dataclasses.replace(waiting(number), changes=True, scope=scope, **fields)


def only(subtask: Waiting, installation: Installation = PLENTY) -> Decision:
    (decision,) = decide([subtask], installation, NOW)
    return decision


def started(decisions: list[Decision]) -> list[int]:
    return [one.id for one in decisions if isinstance(one, Start)]


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
        (SubtaskStatus.BLOCKED, "It needs base, which is blocked."),
        (SubtaskStatus.CANCELLED, "It needs base, which is cancelled."),
    ],
)
def test_a_lost_dependency_blocks_with_its_fate(status: SubtaskStatus, reason: str):
    assert only(waiting(1, other=SubtaskStatus.RUNNING, base=status)) == Block(1, reason)


def test_a_block_needs_no_room():
    assert isinstance(only(waiting(1, base=SubtaskStatus.FAILED), room(0, 0)), Block)


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
    assert started(decide([early, waiting(2)], room(1, 1), NOW)) == [2]


def test_the_most_urgent_start_first_then_the_oldest():
    subtasks = [waiting(1, 9), waiting(4, 2), waiting(3, 2), waiting(2, 5)]
    assert decide(subtasks, room(3, 10), NOW) == [
        Start(3),
        Start(4),
        Start(2),
        Wait(1, "All agents of this swarm's limit are busy."),
    ]


@pytest.mark.parametrize(
    ("swarm", "repository", "everywhere", "limit"),
    [
        (2, 9, 9, "this swarm's limit"),
        (9, 2, 9, "this repository's limit"),
        (9, 9, 2, "this installation's limit"),
        (2, 2, 2, "this swarm's limit"),
        (2, None, 1, "this installation's limit"),
    ],
)
def test_the_narrowest_limit_is_the_one_that_is_named(swarm: int, repository: int | None, everywhere: int, limit: str):
    """Each has as many agents as the narrowest allows."""
    busy = min(each for each in (swarm, repository, everywhere) if each is not None)
    full = Installation(
        slots=everywhere,
        swarms={0: Terms(slots=swarm, running=busy, repository=7)},
        running=busy,
        by_repository={7: busy},
        repository_slots={7: repository} if repository else {},
    )
    assert only(waiting(1), full) == Wait(1, f"All agents of {limit} are busy.")
    roomy = dataclasses.replace(full, swarms={0: Terms(slots=swarm, repository=7)}, running=0, by_repository={})
    assert only(waiting(1), roomy) == Start(1)


def test_a_repositorys_limit_is_shared_by_its_swarms_and_by_no_other():
    swarms = {key: Terms(slots=9, repository=repository) for key, repository in ((1, 7), (2, 7), (3, 8))}
    installation = Installation(slots=99, swarms=swarms, repository_slots={7: 1})
    ready = [dataclasses.replace(waiting(number), swarm=number) for number in (1, 2, 3)]
    assert started(decide(ready, installation, NOW)) == [1, 3]


def test_nothing_waits_nothing_is_decided():
    assert decide([], PLENTY, NOW) == []


# --- urgency ----------------------------------------------------------------------------------------------------

LATER = NOW + timedelta(days=9)


def aged(number: int, priority: int, classes: float) -> Waiting:
    return dataclasses.replace(waiting(number, priority), since=NOW - AGE_PER_CLASS * classes)


@pytest.mark.parametrize(
    ("classes", "expected"), [(-1.0, 5), (0.0, 5), (0.99, 5), (1.0, 4), (2.5, 3), (4.0, 1), (400.0, 1)]
)
def test_waiting_makes_urgent_but_never_more_so_than_the_highest_class(classes: float, expected: int):
    assert urgency(aged(1, 5, classes), Terms(slots=1), NOW) == expected


@pytest.mark.parametrize(("near", "classes"), [*NEAR_DEADLINE, (timedelta(days=1), 0)])
def test_a_near_deadline_makes_urgent(near: timedelta, classes: int):
    due = Terms(slots=1, deadline=NOW + near - timedelta(seconds=1))
    assert urgency(waiting(1, 9), due, NOW) == 9 - classes


def test_the_aged_pass_the_young_of_a_higher_class():
    assert started(decide([waiting(1, 4), aged(2, 6, 3)], room(1), NOW)) == [2]
    assert started(decide([waiting(1, 4), aged(2, 6, 1)], room(1), NOW)) == [1]


def test_the_swarm_with_the_near_deadline_comes_first():
    swarms = {1: Terms(slots=9, owner=1), 2: Terms(slots=9, owner=2, deadline=NOW + timedelta(minutes=5))}
    ready = [dataclasses.replace(waiting(number), swarm=number) for number in (1, 2)]
    assert started(decide(ready, Installation(slots=1, swarms=swarms), NOW)) == [2]


# --- the end of a swarm's time ------------------------------------------------------------------------------------


def test_nothing_starts_at_the_deadline_or_later():
    passed = room(deadline=NOW)
    said = "The swarm's deadline, 2026-03-04 05:06 UTC, has passed. It was not begun."
    assert only(waiting(1), passed) == Block(1, said)
    assert only(waiting(1, base=SubtaskStatus.RUNNING), passed) == Block(1, said)
    assert only(waiting(1), room(deadline=NOW + timedelta(microseconds=1))) == Start(1)


def test_nothing_starts_in_a_swarm_that_is_closed():
    assert only(waiting(1), room(closed="Its tool calls are used up.")) == Block(1, "Its tool calls are used up.")


# --- owners -------------------------------------------------------------------------------------------------------


def of_owners(**work: int) -> tuple[list[Waiting], dict[int, Terms]]:
    """So many ready subtasks of each owner, in a swarm of his own; the first owner's are the oldest."""
    swarms = {index: Terms(slots=99, owner=index) for index, _ in enumerate(work)}
    owners = [index for index, count in enumerate(work.values()) for _ in range(count)]
    return [dataclasses.replace(waiting(number), swarm=owner) for number, owner in enumerate(owners)], swarms


def test_owners_take_turns():
    ready, swarms = of_owners(ada=5, ben=2, cleo=3)
    assert started(decide(ready, Installation(slots=7, swarms=swarms), NOW)) == [0, 5, 7, 1, 6, 8, 2]


def test_whoever_has_many_agents_already_comes_last():
    ready, swarms = of_owners(ada=5, ben=5)
    busy = Installation(slots=10, swarms=swarms, running=5, by_owner={0: 4, 1: 1})
    assert started(decide(ready, busy, NOW)) == [5, 6, 7, 0, 8]


def test_the_turns_are_taken_within_a_class():
    ready, swarms = of_owners(ada=3, ben=1)
    ready[3] = dataclasses.replace(ready[3], priority=6)
    assert started(decide(ready, Installation(slots=3, swarms=swarms), NOW)) == [0, 1, 2]


# --- scopes -------------------------------------------------------------------------------------------------------


def test_a_held_scope_makes_wait_with_its_holder():
    held = room(held=(Held("store", ("src/**",)),))
    assert only(change(1, "docs", "src/a.py"), held) == Wait(1, "Its scope src/a.py is held by store.")
    assert only(change(1, "docs"), held) == Start(1)


def test_of_two_that_overlap_the_more_urgent_starts_and_holds_it():
    decisions = decide([change(1, "src", priority=6), change(2, "src/a.py"), change(3, "docs")], PLENTY, NOW)
    assert decisions == [Start(2), Start(3), Wait(1, "Its scope src is held by t2.")]


def test_what_only_reads_holds_and_heeds_nothing():
    reader = dataclasses.replace(waiting(1), scope=("src",))
    assert started(decide([reader, change(2, "src")], PLENTY, NOW)) == [1, 2]
    assert only(reader, room(held=(Held("store", ("src",)),))) == Start(1)


def test_an_unknown_scope_keeps_nobody_out_and_is_remarked_where_others_change_something():
    assert decide([change(1), change(2, "src"), change(3)], PLENTY, NOW) == [
        Start(1),
        Start(2),
        Start(3, UNKNOWN_SCOPE),
    ]
    assert only(change(1), room(held=(Held("unknown", ()),))) == Start(1, UNKNOWN_SCOPE)


def test_another_swarms_scopes_are_another_branchs():
    swarms = {1: Terms(slots=9, held=(Held("store", ("src",)),)), 2: Terms(slots=9)}
    assert only(change(1, "src", swarm=2), Installation(slots=9, swarms=swarms)) == Start(1)


def test_one_that_waited_long_is_not_passed_for_ever_by_small_ones():
    held = room(held=(Held("busy", ("src/a",)),))
    small = change(2, "src/b")
    assert started(decide([change(1, "src"), small], held, NOW)) == [2]
    long = change(1, "src", since=NOW - AGE_PER_CLASS)
    assert decide([long, small], held, NOW) == [
        Wait(1, "Its scope src is held by busy."),
        Wait(2, "Its scope src/b is held by t1."),
    ]


def runs_after(subtask: Waiting, others: list[Waiting], installation: Installation) -> int:
    """The minute in which it starts although every minute brings a new one of each of the others."""
    queue = [dataclasses.replace(subtask, since=NOW)]
    for minute in range(1000):
        now = NOW + timedelta(minutes=minute)
        fresh = (dataclasses.replace(one, id=one.id + 10 * minute, since=now) for one in others)
        queue += fresh
        begun = started(decide(queue, installation, now))
        if subtask.id in begun:
            return minute
        queue = [one for one in queue if one.id not in begun]
    raise AssertionError("it starves")


def test_the_least_urgent_runs_in_the_end_whatever_else_comes():
    minutes = runs_after(waiting(1, 9), [waiting(2, 1)], room(1))
    assert timedelta(minutes=minutes) >= 8 * AGE_PER_CLASS


def test_whoever_has_one_subtask_runs_it_beside_an_owner_with_a_flood():
    swarms = {1: Terms(slots=9, owner=1), 2: Terms(slots=9, owner=2, running=1)}
    busy = Installation(slots=2, swarms=swarms, running=1, by_owner={2: 1})
    flood = [dataclasses.replace(waiting(number), swarm=2) for number in (2, 3)]
    assert runs_after(dataclasses.replace(waiting(1), swarm=1), flood, busy) == 0


# --- any snapshot -------------------------------------------------------------------------------------------------

STATUSES = st.sampled_from(SubtaskStatus)
MOMENTS = st.none() | st.integers(-50, 50).map(lambda minutes: NOW + timedelta(minutes=minutes))
SUBTASKS = st.lists(
    st.builds(
        Waiting,
        id=st.integers(1, 100),
        name=st.just("name"),
        priority=st.integers(1, 10),
        dependencies=st.dictionaries(st.sampled_from("abc"), STATUSES, max_size=2),
        not_before=MOMENTS,
        since=MOMENTS,
        changes=st.booleans(),
        scope=st.lists(st.sampled_from(["a", "a/b", "a/*", "c"]), max_size=2).map(tuple),
        swarm=st.integers(0, 3),
    ),
    max_size=12,
    unique_by=lambda one: one.id,
)
COUNTS = st.integers(0, 4)
INSTALLATIONS = st.builds(
    Installation,
    slots=COUNTS,
    running=COUNTS,
    swarms=st.fixed_dictionaries(
        {
            key: st.builds(
                Terms,
                slots=COUNTS,
                running=COUNTS,
                owner=st.integers(0, 1),
                repository=st.just(key % 2),
                deadline=MOMENTS,
            )
            for key in range(4)
        }
    ),
    by_owner=st.dictionaries(st.integers(0, 1), COUNTS),
    by_repository=st.dictionaries(st.integers(0, 1), COUNTS),
    repository_slots=st.dictionaries(st.integers(0, 1), COUNTS),
)


@given(SUBTASKS, INSTALLATIONS)
def test_every_subtask_gets_one_decision_and_every_refusal_a_sentence(
    subtasks: list[Waiting], everything: Installation
):
    decisions = decide(subtasks, everything, NOW)
    assert sorted(one.id for one in decisions) == sorted(one.id for one in subtasks)
    assert all(one.reason.endswith(".") for one in decisions if not isinstance(one, Start))


@given(SUBTASKS, INSTALLATIONS)
def test_no_limit_is_overshot_by_a_start(subtasks: list[Waiting], everything: Installation):
    rows = {one.id: one for one in subtasks}
    started_rows = [rows[id_] for id_ in started(decide(subtasks, everything, NOW))]
    assert not started_rows or everything.running + len(started_rows) <= everything.slots
    for key, terms in everything.swarms.items():
        theirs = sum(one.swarm == key for one in started_rows)
        assert not theirs or terms.running + theirs <= terms.slots
    for repository, limit in everything.repository_slots.items():
        theirs = sum(everything.swarms[one.swarm].repository == repository for one in started_rows)
        assert not theirs or everything.by_repository.get(repository, 0) + theirs <= limit


@given(SUBTASKS, INSTALLATIONS)
def test_whoever_is_told_that_all_are_busy_is_told_the_truth(subtasks: list[Waiting], everything: Installation):
    """A place is never left empty beside somebody who could have it."""
    rows = {one.id: one for one in subtasks}
    decisions = decide(subtasks, everything, NOW)
    begun = [rows[id_] for id_ in started(decisions)]
    for decision in decisions:
        if not isinstance(decision, Wait) or not decision.reason.startswith("All agents"):
            continue
        terms = everything.swarms[(one := rows[decision.id]).swarm]
        of_repository = sum(everything.swarms[row.swarm].repository == terms.repository for row in begun)
        limit = everything.repository_slots.get(terms.repository)
        assert (
            everything.running + len(begun) >= everything.slots
            or terms.running + sum(row.swarm == one.swarm for row in begun) >= terms.slots
            or (limit is not None and everything.by_repository.get(terms.repository, 0) + of_repository >= limit)
        )
