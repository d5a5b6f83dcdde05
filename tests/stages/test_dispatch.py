"""Dispatch: no limit is ever overshot, dependents wait for landings, every wait has its reason, the end is seen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from orchestration.domain.config import SwarmConfig
from orchestration.domain.events import Stage
from orchestration.domain.scheduling import AGE_PER_CLASS, UNKNOWN_SCOPE
from orchestration.models import Attempt, Event, Lease, Repository, Subtask, Swarm
from orchestration.stages.dispatch import dispatch
from orchestration.stages.steer import pause
from tests import factories
from tests.stages.world import Nudges, at_once, statuses


def swarm_with(*names: str, planning_done: bool = True, **config: Any) -> Swarm:
    swarm = factories.make_swarm(
        planning_done=planning_done, config=SwarmConfig(**config).model_dump(mode="json"), status="running"
    )
    for name in names:
        factories.make_subtask(swarm, name=name)
    return swarm


def started(swarm: Swarm) -> list[str]:
    rows = Attempt.objects.filter(subtask__swarm=swarm, status="assigned").order_by("pk")
    return list(rows.values_list("subtask__name", flat=True))


def waits(swarm: Swarm) -> dict[str, str]:
    return dict(swarm.subtasks.filter(status="pending").values_list("name", "wait_reason"))


def test_what_is_ready_gets_an_attempt_and_its_worker_a_nudge(nudges: Nudges):
    swarm = swarm_with("one", "two")
    dispatch(swarm.pk)
    assert started(swarm) == ["one", "two"]
    assert statuses(swarm) == {"one": "assigned", "two": "assigned"}
    assert nudges.take() == [(Stage.EXECUTE, attempt.pk) for attempt in Attempt.objects.order_by("pk")]
    dispatch(swarm.pk)
    assert Attempt.objects.count() == 2


@pytest.mark.parametrize("status", ["planning", "awaiting_approval", "paused", "finalizing"])
def test_nothing_starts_in_a_swarm_that_does_not_run(status: str):
    swarm = swarm_with("one")
    Swarm.objects.update(status=status)
    dispatch(swarm.pk)
    assert started(swarm) == []


# Limits.


def test_the_swarms_limit_holds_and_the_rest_says_why_it_waits():
    swarm = swarm_with("a", "b", "c", max_subagents=2)
    dispatch(swarm.pk)
    assert started(swarm) == ["a", "b"]
    assert waits(swarm) == {"c": "All agents of this swarm's limit are busy."}


def test_one_at_a_time_where_nothing_may_be_parallel():
    swarm = swarm_with("a", "b", parallel_enabled=False)
    dispatch(swarm.pk)
    assert started(swarm) == ["a"]


def test_the_installations_limit_counts_every_swarm(settings: Settings):
    settings.SWARM = settings.SWARM | {"MAX_AGENTS": 3}
    one, other = swarm_with("a", "b"), swarm_with("c", "d")
    dispatch(one.pk)
    dispatch(other.pk)
    assert (started(one), started(other)) == (["a", "b"], ["c"])
    assert waits(other) == {"d": "All agents of this installation's limit are busy."}


def test_a_place_is_free_again_when_an_attempt_ends():
    swarm = swarm_with("a", "b", max_subagents=1)
    dispatch(swarm.pk)
    Attempt.objects.update(status="complete", finished_at=timezone.now())
    Subtask.objects.filter(name="a").update(status="complete")
    dispatch(swarm.pk)
    assert started(swarm) == ["b"]


@pytest.mark.parametrize("config", [{"max_subagents": 3}, {"parallel_enabled": False}], ids=["three", "not parallel"])
def test_dispatches_at_once_never_overshoot_the_swarms_limit(config: dict[str, Any]):
    swarm = swarm_with(*(f"t{n}" for n in range(12)), **config)
    assert at_once(*[lambda: dispatch(swarm.pk)] * 8) == [None] * 8
    assert len(started(swarm)) == SwarmConfig(**config).slots


def test_dispatches_of_many_swarms_at_once_never_overshoot_the_installations_limit(settings: Settings):
    settings.SWARM = settings.SWARM | {"MAX_AGENTS": 5}
    swarms = [swarm_with("a", "b", "c") for _ in range(4)]
    assert at_once(*(lambda pk=swarm.pk: dispatch(pk) for swarm in swarms * 2)) == [None] * 8
    assert Attempt.objects.filter(status="assigned").count() == 5


def test_dispatches_at_once_start_nothing_twice():
    swarm = swarm_with(*(f"t{n}" for n in range(10)))
    assert at_once(*[lambda: dispatch(swarm.pk)] * 8) == [None] * 8
    assert sorted(started(swarm)) == sorted(f"t{n}" for n in range(10))


def test_a_repositorys_limit_counts_its_swarms():
    one, other = swarm_with("a", "b"), swarm_with("c")
    Repository.objects.filter(pk=one.repository_id).update(max_agents=1)
    same = factories.make_swarm(one.repository, planning_done=True)
    factories.make_subtask(same, name="d")
    dispatch(one.pk)
    dispatch(same.pk)
    dispatch(other.pk)
    assert (started(one), started(same), started(other)) == (["a"], [], ["c"])
    assert waits(one) | waits(same) == dict.fromkeys("bd", "All agents of this repository's limit are busy.")


def test_a_place_that_one_swarm_frees_goes_to_another_that_waits_for_it(settings: Settings):
    settings.SWARM = settings.SWARM | {"MAX_AGENTS": 1}
    one, other = swarm_with("a"), swarm_with("b")
    dispatch(one.pk)
    dispatch(other.pk)
    assert (started(one), started(other)) == (["a"], [])
    Attempt.objects.update(status="complete", finished_at=timezone.now())
    Subtask.objects.filter(name="a").update(status="complete")
    dispatch(one.pk)
    assert started(other) == ["b"]


def test_scarce_places_are_shared_between_owners(settings: Settings):
    settings.SWARM = settings.SWARM | {"MAX_AGENTS": 4}
    flood, small = swarm_with("a", "b", "c", "d", "e"), swarm_with("x", "y")
    dispatch(flood.pk)
    assert (started(flood), started(small)) == (["a", "b"], ["x", "y"])


def test_a_rival_that_waits_or_is_paused_is_given_nothing():
    one, other, paused = swarm_with("a"), swarm_with("b", max_subagents=1), swarm_with("c")
    factories.make_attempt(factories.make_subtask(other, name="busy", status="running"))
    Swarm.objects.filter(pk=paused.pk).update(status="paused")
    base = factories.make_subtask(other, name="base", status="running")
    factories.make_subtask(other, name="top", needs=[base])
    dispatch(one.pk)
    assert (started(one), started(other), started(paused)) == (["a"], [], [])


# Scopes.


def test_what_overlaps_a_running_change_waits_for_it_to_land():
    swarm = swarm_with()
    running = factories.make_subtask(swarm, name="store", status="running", scope=["src/**"])
    factories.make_attempt(running)
    factories.make_subtask(swarm, name="one", scope=["docs", "src/a.py"])
    factories.make_subtask(swarm, name="two", scope=["docs"])
    for status in ("running", "handed_off"):
        Subtask.objects.filter(pk=running.pk).update(status=status)
        dispatch(swarm.pk)
        assert started(swarm) == ["two"]
    assert waits(swarm) == {"one": "Its scope src/a.py is held by store."}
    Attempt.objects.update(status="complete", finished_at=timezone.now())
    Subtask.objects.filter(name__in=["store", "two"]).update(status="complete")
    dispatch(swarm.pk)
    assert started(swarm) == ["one"]


@pytest.mark.parametrize("status", ["waiting", "conflict", "complete", "failed", "cancelled"])
def test_what_is_not_being_changed_holds_no_scope(status: str):
    swarm = swarm_with()
    factories.make_subtask(swarm, name="over", status=status, scope=["src/**"])
    factories.make_subtask(swarm, name="one", scope=["src/a.py"])
    dispatch(swarm.pk)
    assert started(swarm) == ["one"]


def test_a_reader_runs_beside_a_change_and_another_swarm_has_its_own_branch():
    swarm, other = swarm_with(), swarm_with()
    factories.make_attempt(factories.make_subtask(swarm, name="store", status="running", scope=["src"]))
    factories.make_subtask(swarm, name="reader", scope=["src"], kind="research")
    factories.make_subtask(other, name="same", scope=["src"])
    dispatch(swarm.pk)
    dispatch(other.pk)
    assert (started(swarm), started(other)) == (["reader"], ["same"])


def test_dispatches_at_once_never_start_two_in_one_place():
    swarm = swarm_with()
    for number in range(12):
        factories.make_subtask(swarm, name=f"t{number}", scope=[f"src/{number % 3}.py"])
    assert at_once(*[lambda: dispatch(swarm.pk)] * 8) == [None] * 8
    assert started(swarm) == ["t0", "t1", "t2"]


def test_a_start_with_an_unknown_scope_says_so_where_others_change_something():
    swarm = swarm_with("one", "two")
    dispatch(swarm.pk)
    facts = Event.objects.filter(kind="subtask.assigned").values_list("facts__name", "facts__reason")
    assert dict(facts) == {"one": "", "two": UNKNOWN_SCOPE}


# Order and readiness.


def test_the_most_urgent_starts_first_then_the_oldest():
    swarm = swarm_with(max_subagents=3)
    for name, priority in (("old", 5), ("young", 5), ("urgent", 1), ("idle", 10)):
        factories.make_subtask(swarm, name=name, priority=priority)
    dispatch(swarm.pk)
    assert started(swarm) == ["urgent", "old", "young"]


def test_whatever_has_waited_long_is_more_urgent():
    swarm = swarm_with(max_subagents=1)
    factories.make_subtask(swarm, name="young", priority=4)
    old = factories.make_subtask(swarm, name="old", priority=6)
    factories.backdate(old, timezone.now() - 3 * AGE_PER_CLASS)
    dispatch(swarm.pk)
    assert started(swarm) == ["old"]


def test_the_wait_for_a_dependency_makes_nobody_urgent():
    swarm = swarm_with(max_subagents=1)
    base = factories.make_subtask(swarm, name="base", status="complete")
    top = factories.make_subtask(swarm, name="top", priority=6, needs=[base])
    factories.backdate(top, timezone.now() - 30 * AGE_PER_CLASS)
    factories.make_subtask(swarm, name="young", priority=5)
    dispatch(swarm.pk)
    assert started(swarm) == ["young"]


@pytest.mark.parametrize("status", ["pending", "running", "handed_off", "waiting"])
def test_a_dependent_waits_until_its_dependency_has_landed(status: str):
    swarm = swarm_with("base", planning_done=False, max_subagents=1)
    factories.make_attempt(factories.make_subtask(swarm, name="busy", status="running"), status="running")
    base = Subtask.objects.get(name="base")
    Subtask.objects.filter(pk=base.pk).update(status=status)
    factories.make_subtask(swarm, name="top", needs=[base])
    dispatch(swarm.pk)
    assert waits(swarm)["top"] == "Waits for base."


def test_it_starts_when_all_have():
    swarm = swarm_with()
    needs = [factories.make_subtask(swarm, name=name, status="complete") for name in ("a", "b")]
    factories.make_subtask(swarm, name="top", needs=needs, wait_reason="Waits for a.")
    dispatch(swarm.pk)
    assert started(swarm) == ["top"]
    assert Subtask.objects.get(name="top").wait_reason == ""


@pytest.mark.parametrize(
    ("status", "word"),
    [("failed", "failed"), ("timed_out", "timed out"), ("cancelled", "cancelled")],
)
def test_what_needs_something_that_will_not_come_is_blocked_with_the_reason_and_so_is_what_needs_that(
    status: str, word: str, nudges: Nudges
):
    swarm = swarm_with()
    base = factories.make_subtask(swarm, name="base", status=status)
    middle = factories.make_subtask(swarm, name="middle", needs=[base])
    factories.make_subtask(swarm, name="top", needs=[middle])
    dispatch(swarm.pk)
    nudges.take()
    dispatch(swarm.pk)
    assert statuses(swarm) == {"base": status, "middle": "blocked", "top": "blocked"}
    assert Subtask.objects.get(name="middle").status_reason == f"It needs base, which is {word}."
    assert Subtask.objects.get(name="top").status_reason == "It needs middle, which is blocked."
    facts = Event.objects.filter(kind="subtask.blocked").values_list("facts__reason", flat=True)
    assert list(facts) == [f"It needs base, which is {word}.", "It needs middle, which is blocked."]


def test_a_retry_waits_for_its_time():
    swarm = swarm_with("again")
    Subtask.objects.update(not_before=timezone.now() + timedelta(hours=1))
    dispatch(swarm.pk)
    assert waits(swarm) == {"again": "Waits before it is tried again."}
    Subtask.objects.update(not_before=timezone.now() - timedelta(seconds=1))
    dispatch(swarm.pk)
    assert started(swarm) == ["again"]
    assert Subtask.objects.get().not_before is None


def test_a_second_attempt_has_the_next_number():
    swarm = swarm_with("again")
    factories.make_attempt(Subtask.objects.get(), status="failed")
    dispatch(swarm.pk)
    assert Attempt.objects.get(status="assigned").number == 2


def test_looking_again_says_nothing_new():
    swarm = swarm_with("a", "b", "c", max_subagents=1)
    dispatch(swarm.pk)
    before = Event.objects.count()
    dispatch(swarm.pk)
    assert Event.objects.count() == before


# The end.


def ended(swarm: Swarm) -> bool:
    dispatch(swarm.pk)
    swarm.refresh_from_db()
    return swarm.status == "finalizing"


def test_the_swarm_goes_to_its_end_when_nothing_is_left(nudges: Nudges):
    swarm = swarm_with()
    for status in ("complete", "failed", "blocked", "timed_out", "cancelled"):
        factories.make_subtask(swarm, status=status)
    assert ended(swarm)
    assert nudges.take() == [(Stage.FINISH, swarm.pk)]


@pytest.mark.parametrize("status", ["pending", "assigned", "running", "waiting", "handed_off", "conflict"])
def test_not_while_a_subtask_is_on_its_way(status: str):
    swarm = swarm_with()
    factories.make_subtask(swarm, status=status)
    assert not ended(swarm)


@pytest.mark.parametrize("status", ["queued", "merging", "gating"])
def test_not_while_something_is_about_to_land(status: str):
    swarm = swarm_with()
    subtask = factories.make_subtask(swarm, status="cancelled")
    factories.make_entry(factories.make_attempt(subtask, status="complete"), status=status)
    assert not ended(swarm)


def test_not_before_the_planner_is_done():
    swarm = swarm_with(planning_done=False)
    factories.make_subtask(swarm, status="complete")
    assert not ended(swarm)


def test_not_while_the_planner_thinks():
    swarm = swarm_with()
    factories.make_subtask(swarm, status="complete")
    factories.make_iteration(swarm, status="running", lease_token="planning")
    assert not ended(swarm)


def test_not_in_the_moment_in_which_something_was_blocked_by_it():
    """What was just blocked is news: it is looked at once more before the end."""
    swarm = swarm_with()
    base = factories.make_subtask(swarm, name="base", status="failed")
    factories.make_subtask(swarm, name="top", needs=[base])
    assert not ended(swarm)
    assert ended(swarm)


def test_who_was_paused_in_this_moment_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    """The pause comes between the look and the lock."""
    swarm = swarm_with("one")
    real = Lease.objects.get_or_create

    def slow(**fields: Any) -> Any:
        pause(Swarm.objects.get(pk=swarm.pk), swarm.requester)
        return real(**fields)

    monkeypatch.setattr(Lease.objects, "get_or_create", slow)
    dispatch(swarm.pk)
    assert started(swarm) == []
    assert Swarm.objects.get().status == "paused"
