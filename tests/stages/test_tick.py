"""The tick repairs everything: what was lost comes back, and without any nudge at all a swarm comes to its end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from orchestration import tasks
from orchestration.domain.errors import SwarmsiteError
from orchestration.domain.events import Stage
from orchestration.management.engine import Engine, EngineRuns, live_holder
from orchestration.models import Attempt, Event, Lease, MergeEntry, PlanIteration, Subtask, Swarm
from orchestration.stages import tick as stage
from orchestration.stages.leases import hold, take
from orchestration.stages.maintain import EVERY
from orchestration.stages.tick import ENGINE, WORKERS, take_over, tick, tick_of_many
from tests import factories
from tests.stages.world import Model, Nudges, World, at_once, claimed, hand_off, planned, statuses, task, write

PAST = timedelta(seconds=-10)


def expired(**fields: Any) -> Attempt:
    """An attempt whose process went away."""
    subtask = factories.make_subtask(status="running", **fields)
    return factories.make_attempt(subtask, lease_expires_at=timezone.now() + PAST)


def test_an_attempt_whose_lease_ran_out_is_given_back(nudges: Nudges):
    attempt = expired()
    tick()
    attempt.refresh_from_db()
    assert (attempt.status, attempt.status_reason) == ("lost", "The process that ran it is gone.")
    assert Subtask.objects.get().status == "pending"
    assert (Stage.DISPATCH, attempt.subtask.swarm.pk) in nudges.all


def test_one_that_lives_is_left_alone():
    attempt = factories.make_attempt(factories.make_subtask(status="running"), lease_expires_at=timezone.now() - PAST)
    tick()
    attempt.refresh_from_db()
    assert attempt.status == "running"


def test_a_repository_that_nobody_looked_after_for_a_while_is_nudged(nudges: Nudges):
    neglected, fresh = factories.make_repository(), factories.make_repository()
    type(fresh).objects.filter(pk=neglected.pk).update(looked_after_at=timezone.now() - EVERY)
    tick()
    assert nudges.all == [(Stage.MAINTAIN, neglected.pk)]


def test_a_plan_whose_lease_ran_out_is_given_back(nudges: Nudges):
    swarm = factories.make_swarm(status="planning")
    lost = factories.make_iteration(swarm, status="running", lease_token="x", lease_expires_at=timezone.now() + PAST)
    alive = factories.make_iteration(
        factories.make_swarm(), status="running", lease_token="x", lease_expires_at=timezone.now() - PAST
    )
    tick()
    lost.refresh_from_db()
    alive.refresh_from_db()
    assert (lost.status, alive.status) == ("lost", "running")
    assert (Stage.PLAN, swarm.pk) in nudges.all


def test_a_row_that_cannot_be_moved_does_not_keep_the_others(monkeypatch: pytest.MonkeyPatch):
    poison, other = expired(name="poison"), expired(name="other")
    real = stage.lose  # type: ignore[attr-defined]

    def lose(attempt: Attempt, reason: str) -> None:
        if attempt.pk == poison.pk:
            raise SwarmsiteError("It cannot be.")
        real(attempt, reason)

    monkeypatch.setattr(stage, "lose", lose)
    tick()
    other.refresh_from_db()
    assert other.status == "lost"


def test_rows_that_contradict_one_another_do_not_keep_the_others():
    """A running attempt of a subtask that is over: nothing of ours writes that, and yet the tick goes on."""
    poison, other = expired(name="poison"), expired(name="other")
    Subtask.objects.filter(name="poison").update(status="complete")
    tick()
    other.refresh_from_db()
    poison.refresh_from_db()
    assert (poison.status, other.status) == ("running", "lost")


def test_ticks_at_once_give_back_once():
    attempt = expired()
    assert at_once(*[tick] * 4) == [None] * 4
    assert Event.objects.filter(kind="attempt.lost").count() == 1
    assert attempt.subtask.attempts.count() == 1


WANTED = [
    ("planning", {Stage.PLAN}),
    ("running", {Stage.PLAN, Stage.DISPATCH}),
    ("finalizing", {Stage.FINISH}),
    ("awaiting_approval", set()),
    ("paused", set()),
    ("succeeded", set()),
    ("cancelled", set()),
]


@pytest.mark.parametrize(("status", "stages"), WANTED, ids=[status for status, _ in WANTED])
def test_every_swarm_that_should_move_is_nudged(status: str, stages: set[Stage], nudges: Nudges):
    swarm = factories.make_swarm(status=status)
    tick()
    assert set(nudges.all) == {(one, swarm.pk) for one in stages}


@pytest.mark.parametrize("status", ["queued", "merging", "gating"])
def test_every_queue_that_is_not_empty_is_nudged_once(status: str, nudges: Nudges):
    """Also of a swarm that was cancelled while it landed something."""
    swarm = factories.make_swarm(status="cancelled")
    for _ in range(2 if status == "queued" else 1):
        factories.make_entry(factories.make_attempt(factories.make_subtask(swarm), status="complete"), status=status)
    tick()
    assert nudges.all == [(Stage.MERGE, swarm.pk)]


def test_an_attempt_that_nobody_claimed_is_nudged_after_a_while(nudges: Nudges):
    swarm = factories.make_swarm()
    old, fresh = (factories.make_attempt(factories.make_subtask(swarm), status="assigned") for _ in range(2))
    Attempt.objects.filter(pk=old.pk).update(created_at=timezone.now() + PAST)
    tick()
    assert [row for one, row in nudges.all if one is Stage.EXECUTE] == [old.pk]
    assert fresh.pk != old.pk


def test_an_attempt_of_a_paused_swarm_waits(nudges: Nudges):
    attempt = factories.make_attempt(factories.make_subtask(factories.make_swarm(status="paused")), status="assigned")
    Attempt.objects.update(created_at=timezone.now() + PAST)
    tick()
    assert nudges.all == []
    assert attempt.pk


# A new engine.


def test_a_new_engine_gives_back_everything_that_ran_in_the_last_one(nudges: Nudges):
    """Its leases have not run out: it was killed a moment ago."""
    attempt = factories.make_attempt(factories.make_subtask(status="running"), lease_expires_at=timezone.now() - PAST)
    swarm = attempt.subtask.swarm
    iteration = factories.make_iteration(
        swarm, status="running", lease_token="x", lease_expires_at=timezone.now() - PAST
    )
    assert take(f"merge:{swarm.pk}")
    take_over()
    attempt.refresh_from_db()
    iteration.refresh_from_db()
    assert (attempt.status, iteration.status) == ("lost", "lost")
    assert {(Stage.DISPATCH, swarm.pk), (Stage.PLAN, swarm.pk)} <= set(nudges.all)
    assert take(f"merge:{swarm.pk}"), "the queue need not wait for the dead writer's lease"


def test_it_keeps_its_own_lease():
    with hold("engine") as lease:
        assert lease
        take_over()
        assert Lease.objects.get(name="engine").token == lease.token


# Where worker processes do the work.


def test_worker_processes_are_the_engine_for_everybody_else():
    assert live_holder() is None
    tick_of_many()
    assert live_holder() == WORKERS
    with pytest.raises(EngineRuns, match="worker processes"):
        Engine().claim()


def test_any_of_them_keeps_it_and_without_ticks_it_ends():
    tick_of_many()
    soon = timezone.now() + timedelta(seconds=1)
    Lease.objects.update(expires_at=soon)
    tick_of_many()
    assert Lease.objects.get(name=ENGINE).expires_at > soon
    Lease.objects.update(expires_at=timezone.now() + PAST)
    assert live_holder() is None
    Engine().claim()


def test_they_take_nothing_from_an_engine_that_lives():
    with hold(ENGINE) as lease:
        assert lease
        tick_of_many()
        assert Lease.objects.get(name=ENGINE).token == lease.token


def test_beats_task_is_that_tick():
    tasks.tick()
    assert live_holder() == WORKERS


# Without any nudge.


def test_the_tick_alone_brings_a_swarm_to_its_end(world: World, model: Model, nudges: Nudges):
    model.plans = [planned(task("one"), task("two", "one"), done=False), planned(task("three", "two"))]
    swarm = world.submit()
    for _ in range(60):
        nudges.take()  # the broker loses everything
        Attempt.objects.filter(status="assigned").update(created_at=timezone.now() + PAST)
        tick()
        nudges.run_only_what_is_there()
        swarm.refresh_from_db()
        if swarm.finished_at:
            break
    assert (swarm.status, swarm.status_reason) == (
        "succeeded",
        "Succeeded, unverified: this repository has no checks.",
    )
    assert statuses(swarm) == {"one": "complete", "two": "complete", "three": "complete"}
    assert world.clone.git("rev-parse", swarm.branch) == swarm.head_sha


def test_every_nudge_twice_and_in_any_order_makes_no_difference(world: World, model: Model, nudges: Nudges):
    model.plans = [planned(task("one"), task("two", "one"), task("three"))]
    swarm = world.submit()
    while waiting := nudges.take():
        for nudge in [*reversed(waiting), *waiting]:
            nudges.run_one(nudge)
    swarm.refresh_from_db()
    assert swarm.status == "succeeded"
    assert Attempt.objects.count() == MergeEntry.objects.filter(status="landed").count() == 3
    assert PlanIteration.objects.count() == 1


def test_after_a_kill_in_the_middle_the_next_engine_finishes(world: World, model: Model, nudges: Nudges):
    """Every row stands as a kill leaves it: claimed, leased, half done."""
    model.plans = [planned(task("one"), task("two", "one"))]
    model.workers["one"] = [write("one.txt", "x\n"), hand_off()]
    swarm = world.submit()
    nudges.run_one((Stage.PLAN, swarm.pk))
    nudges.run_one((Stage.DISPATCH, swarm.pk))
    claimed(Attempt.objects.select_related("subtask__swarm").get())
    nudges.take()
    take_over()
    nudges.run()
    swarm.refresh_from_db()
    assert swarm.status == "succeeded"
    assert list(Attempt.objects.values_list("subtask__name", "number", "status")) == [
        ("one", 1, "lost"),
        ("one", 2, "complete"),
        ("two", 1, "complete"),
    ]
    stats = Swarm.objects.get().stats
    assert (stats["subagents_failed"], stats["subagents_stopped"]) == (0, 1)
