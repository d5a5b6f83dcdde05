"""What dispatch reads: as few questions for hundreds of subtasks as for one, and nothing that changed meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orchestration.domain import scheduling
from orchestration.domain.config import SwarmConfig
from orchestration.domain.states import SubtaskStatus
from orchestration.models import Attempt, Lease, Subtask, Swarm
from orchestration.stages import dispatch as dispatching
from orchestration.stages import leases
from orchestration.stages.dispatch import dispatch
from orchestration.stages.pending import Ready, needs_of, pending, with_terms
from orchestration.stages.standing import Standing
from tests import factories
from tests.stages.world import at_once


def swarm_of(**config: Any) -> Swarm:
    stored = SwarmConfig(**config).model_dump(mode="json")
    return factories.make_swarm(status="running", planning_done=True, config=stored)


def questions(work: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        work()
    return len(captured)


def test_hundreds_of_pending_subtasks_cost_no_more_questions_than_one():
    swarm = swarm_of()
    busy = factories.make_subtask(swarm, status="running")
    factories.make_subtask(swarm, needs=[busy])
    dispatch(swarm.pk)  # says why it waits
    few = questions(lambda: dispatch(swarm.pk))
    for _ in range(50):
        factories.make_subtask(swarm, needs=[busy])
    dispatch(swarm.pk)
    assert questions(lambda: dispatch(swarm.pk)) == few
    assert set(Subtask.objects.filter(status="pending").values_list("wait_reason", flat=True)) == {
        f"Waits for {busy.name}."
    }


def test_what_is_read_is_what_stands_in_the_rows():
    swarm = swarm_of()
    parent = factories.make_subtask(swarm, status="waiting")
    row = factories.make_subtask(
        swarm, parent=parent, scope=["a/**"], priority=3, wait_reason="Waits.", not_before=timezone.now(), depth=1
    )
    factories.make_subtask(swarm, status="running")
    factories.make_subtask(swarm_of())
    (found,) = with_terms(pending(swarm), {})
    assert isinstance(found, Ready)
    assert found.swarm is swarm
    for name in ("pk", "swarm_id", "parent_id", "name", "kind", "priority", "scope", "depth", "decompose"):
        assert getattr(found, name) == getattr(row, name)
    assert (found.created_at, found.not_before, found.wait_reason) == (row.created_at, row.not_before, "Waits.")


def test_of_what_waits_for_others_only_that_is_read_which_says_for_whom():
    swarm = swarm_of()
    busy, done = (factories.make_subtask(swarm, status=status) for status in ("running", "complete"))
    rows = [factories.make_subtask(swarm, needs=needs) for needs in ([busy], [done], [done, busy], [])]
    found = with_terms(pending(swarm), needs_of([swarm.pk]))
    assert [(row.pk, isinstance(row, Ready)) for row in found] == [
        (row.pk, ready) for row, ready in zip(rows, (False, True, False, True), strict=True)
    ]


def test_what_is_not_pending_any_more_when_its_terms_are_read_is_left_out():
    swarm = swarm_of()
    row, other = factories.make_subtask(swarm), factories.make_subtask(swarm)
    found = pending(swarm)
    Subtask.objects.filter(pk=row.pk).update(status="cancelled")
    assert [one.pk for one in with_terms(found, needs_of([swarm.pk]))] == [other.pk]


def test_needs_are_those_of_the_swarms_that_are_asked_for():
    swarm, other = swarm_of(), swarm_of()
    done = factories.make_subtask(swarm, status="complete", finished_at=timezone.now() - timedelta(hours=1))
    failed = factories.make_subtask(swarm, status="failed", finished_at=timezone.now())
    row = factories.make_subtask(swarm, needs=[done, failed])
    factories.make_subtask(swarm, needs=[done], status="running")
    factories.make_subtask(other, needs=[factories.make_subtask(other)])
    assert needs_of([swarm.pk]) == {
        row.pk: [
            (done.name, SubtaskStatus.COMPLETE, done.finished_at),
            (failed.name, SubtaskStatus.FAILED, failed.finished_at),
        ]
    }


def test_what_is_cancelled_between_the_decision_and_its_lock_is_not_started(monkeypatch: pytest.MonkeyPatch):
    swarm = swarm_of()
    one, two = factories.make_subtask(swarm), factories.make_subtask(swarm)
    real = scheduling.decide

    def decide(*args: Any) -> Any:
        Subtask.objects.filter(pk=one.pk).update(status="cancelled")
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(dispatching, "decide", decide)
        dispatch(swarm.pk)
    assert not Attempt.objects.exists()
    dispatch(swarm.pk)
    assert [attempt.subtask_id for attempt in Attempt.objects.all()] == [two.pk]
    assert Swarm.objects.get(pk=swarm.pk).status == "running"


def test_the_lock_of_all_decisions_is_made_by_the_first():
    swarms = [swarm_of() for _ in range(4)]
    for swarm in swarms:
        factories.make_subtask(swarm)
    Lease.objects.all().delete()
    at_once(*(lambda swarm=swarm: dispatch(swarm.pk) for swarm in swarms))
    assert Lease.objects.filter(name=dispatching.LOCK).count() == 1
    assert Attempt.objects.count() == 4


def test_of_many_that_ask_for_a_new_name_one_gets_the_lease():
    held = at_once(*(lambda: leases.take("new") for _ in range(8)))
    (won,) = [one for one in held if one]
    assert (won.fence, Lease.objects.get(name="new").token) == (1, won.token)


def test_a_lease_that_is_there_is_taken_with_two_statements():
    with leases.hold("known"):
        pass
    assert questions(lambda: leases.take("known")) == 2
    assert leases.take("known") is None


@pytest.mark.parametrize(("status", "active"), [("running", True), ("handed_off", True), ("failed", False)])
def test_a_part_of_a_split_is_no_work_of_the_planner_itself(status: str, active: bool):
    swarm = swarm_of()
    own = factories.make_subtask(swarm, status=status)
    assert Standing(swarm).is_active is active is bool(Standing(swarm).active)
    factories.make_subtask(swarm, parent=own, status="running")
    assert Standing(swarm).is_active is active
