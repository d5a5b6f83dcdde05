"""What people may do to a swarm on its way, who may, and that nothing runs after a cancel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection

from orchestration.domain.errors import InvalidInput
from orchestration.domain.events import Stage
from orchestration.domain.rights import Role
from orchestration.models import Attempt, Event, MergeEntry, PlanIteration, Subtask, Swarm, User
from orchestration.stages import steer
from orchestration.stages.dispatch import dispatch
from orchestration.stages.steer import approve, cancel, cancel_subtask, pause, resume, retry_subtask
from orchestration.stages.tick import tick
from tests import factories
from tests.stages.world import Model, Nudges, World, at_once, hand_off, planned, statuses, task, write

ON_SWARM: list[Callable[[Swarm, User], None]] = [pause, resume, approve, cancel]
ON_SUBTASK: list[Callable[[Subtask, User], None]] = [cancel_subtask, retry_subtask]


def swarm_in(status: str, **fields: Any) -> Swarm:
    return factories.make_swarm(status=status, **fields)


def again(row: Any) -> Any:
    row.refresh_from_db()
    return row


# Rights.


@pytest.mark.parametrize("act", [*ON_SWARM, *ON_SUBTASK], ids=lambda act: act.__name__)
@pytest.mark.parametrize("role", [None, Role.VIEWER], ids=["stranger", "viewer"])
def test_who_may_not_steer_changes_nothing(act: Any, role: Role | None):
    person = factories.make_user("eve")
    swarm = swarm_in("running")
    subtask = factories.make_subtask(swarm, status="failed" if act is retry_subtask else "pending")
    if role:
        factories.join(person, swarm.repository.team, role)
    with pytest.raises(InvalidInput, match="Only members of the repository's team may steer this swarm"):
        act(swarm if act in ON_SWARM else subtask, person)
    assert not Event.objects.exists()


@pytest.mark.parametrize("who", ["member", "operator"])
def test_a_member_or_an_operator_may(who: str):
    swarm = swarm_in("running")
    person = swarm.requester if who == "member" else factories.make_user("op", is_staff=True)
    pause(swarm, person)
    assert again(swarm).status == "paused"


# What is possible when.


POSSIBLE = {
    pause: {"planning", "running"},
    resume: {"paused"},
    approve: {"awaiting_approval"},
    cancel: {"planning", "awaiting_approval", "running", "paused", "finalizing"},
}
EVERY = ["planning", "awaiting_approval", "running", "paused", "finalizing", "succeeded", "failed", "cancelled"]


@pytest.mark.parametrize("act", ON_SWARM, ids=lambda act: act.__name__)
@pytest.mark.parametrize("status", EVERY)
def test_what_cannot_be_done_now_is_said(act: Any, status: str):
    swarm = swarm_in(status)
    if status in POSSIBLE[act]:
        act(swarm, swarm.requester)
        assert again(swarm).status != status
        return
    with pytest.raises(InvalidInput, match=status.replace("_", " ")):
        act(swarm, swarm.requester)
    assert again(swarm).status == status


@pytest.mark.parametrize("act", ON_SWARM, ids=lambda act: act.__name__)
def test_what_changed_in_this_moment_is_said(act: Any):
    swarm = swarm_in(min(POSSIBLE[act]))
    Swarm.objects.update(status="failed", finished_at=swarm.created_at)
    with pytest.raises(InvalidInput, match="It changed in this moment; look again"):
        act(swarm, swarm.requester)
    assert again(swarm).status == "failed"


# Pause and resume.


def test_a_pause_says_who_and_starts_nothing_more(nudges: Nudges):
    swarm = swarm_in("running")
    factories.make_subtask(swarm, name="one")
    pause(swarm, swarm.requester)
    assert again(swarm).status_reason == f"Paused by {swarm.requester.username}."
    nudges.take()
    dispatch(swarm.pk)
    tick()
    assert nudges.all == []
    assert statuses(swarm) == {"one": "pending"}


@pytest.mark.parametrize("status", ["planning", "running"])
def test_a_swarm_goes_on_where_it_was(status: str, nudges: Nudges):
    swarm = swarm_in(status)
    pause(swarm, swarm.requester)
    nudges.take()
    resume(swarm, swarm.requester)
    assert (again(swarm).status, swarm.status_reason, swarm.resume_to) == (status, "", "")
    assert (Stage.PLAN, swarm.pk) in nudges.take()


def test_what_runs_goes_on_and_lands_while_it_is_paused(world: World, model: Model, nudges: Nudges):
    model.plans = [planned(task("one"), task("two", "one"))]
    swarm = world.submit()
    nudges.run_one((Stage.PLAN, swarm.pk))
    nudges.run_one((Stage.DISPATCH, swarm.pk))
    attempt = Attempt.objects.get()
    model.workers["one"] = [write("one.txt", "x\n"), replace(hand_off(), held="go")]

    def then() -> None:
        world.service.wait_for(lambda: world.service.total == 3)
        pause(Swarm.objects.get(), world.ada)
        world.service.release("go")

    assert at_once(lambda: nudges.run_one((Stage.EXECUTE, attempt.pk)), then) == [None, None]
    nudges.run()
    assert again(swarm).status == "paused"
    assert statuses(swarm) == {"one": "complete", "two": "pending"}
    resume(swarm, world.ada)
    nudges.run()
    assert again(swarm).status == "succeeded"


def test_an_approved_plan_is_carried_out(world: World, nudges: Nudges):
    swarm = world.submit(plan_approval=True)
    nudges.run()
    approve(again(swarm), world.ada)
    assert again(swarm).status_reason == "Plan approved by ada."
    nudges.run()
    assert again(swarm).status == "succeeded"


# Cancel.


def test_a_cancel_stops_everything(nudges: Nudges):
    swarm = swarm_in("running")
    for status in ("pending", "assigned", "running", "waiting", "handed_off", "complete", "failed", "conflict"):
        subtask = factories.make_subtask(swarm, name=status.replace("_", "-"), status=status)
        if status in {"assigned", "running"}:
            factories.make_attempt(subtask, status=status)
        if entry := {"handed_off": "queued", "conflict": "conflict"}.get(status):
            factories.make_entry(factories.make_attempt(subtask, status="complete"), status=entry)
    factories.make_iteration(swarm, status="running", lease_token="x")
    cancel(swarm, swarm.requester)
    reason = f"Cancelled by {swarm.requester.username}."
    assert (again(swarm).status, swarm.status_reason) == ("cancelled", reason)
    assert statuses(swarm) == dict.fromkeys(
        ("pending", "assigned", "running", "waiting", "handed-off", "conflict"), "cancelled"
    ) | {"complete": "complete", "failed": "failed"}
    assert set(Attempt.objects.values_list("status", flat=True)) == {"cancelled", "complete"}
    assert set(MergeEntry.objects.values_list("status", flat=True)) == {"cancelled"}
    assert not PlanIteration.objects.filter(status="running").exists()
    assert swarm.finished_at


def test_nothing_runs_after_a_cancel(world: World, model: Model, nudges: Nudges):
    model.plans = [planned(task("one"), task("two", "one"))]
    swarm = world.submit()
    nudges.run_one((Stage.PLAN, swarm.pk))
    nudges.run_one((Stage.DISPATCH, swarm.pk))
    cancel(again(swarm), world.ada)
    asked, events = world.service.total, Event.objects.count()
    nudges.run()
    tick()
    nudges.run()
    for stage in (Stage.PLAN, Stage.DISPATCH, Stage.MERGE, Stage.FINISH):
        nudges.run_one((stage, swarm.pk))
    nudges.run_one((Stage.EXECUTE, Attempt.objects.get().pk))
    assert (world.service.total, Event.objects.count()) == (asked, events)
    assert world.clone.git("branch", "--list", "swarm/*") == ""


def test_an_entry_that_is_being_merged_is_left_to_its_writer():
    swarm = swarm_in("running")
    subtask = factories.make_subtask(swarm, name="landing", status="handed_off")
    factories.make_entry(factories.make_attempt(subtask, status="complete"), status="merging")
    cancel(swarm, swarm.requester)
    assert statuses(swarm) == {"landing": "handed_off"}
    assert MergeEntry.objects.get().status == "merging"


@pytest.mark.parametrize("act", [cancel, cancel_subtask])
def test_what_is_dispatched_in_the_middle_of_a_cancel_does_not_outlive_it(monkeypatch: pytest.MonkeyPatch, act: Any):
    """On PostgreSQL. Where there is one writer, nobody comes in between."""
    swarm = swarm_in("running")
    subtask = factories.make_subtask(swarm, name="one")
    row: Any = swarm if act is cancel else subtask
    real, refused = steer._cancel_rest, []

    def meanwhile(*given: Any) -> None:
        if connection.vendor == "postgresql":
            assert at_once(lambda: dispatch(swarm.pk)) == [None]
        real(*given)

    monkeypatch.setattr(steer, "_cancel_rest", meanwhile)
    while again(subtask).status != "cancelled":
        try:
            act(again(row), swarm.requester)
        except InvalidInput as error:
            refused.append(str(error))
            assert "look again" in str(error)  # noqa: PT017
    assert len(refused) == (connection.vendor == "postgresql")
    assert not Attempt.objects.filter(status__in=("assigned", "running")).exists()


def test_cancels_and_dispatches_at_once_leave_nothing_running():
    """Whoever is first, the other one changes nothing or is told to look again."""
    for _ in range(5):
        swarm = swarm_in("running")
        for number in range(9):  # the last ones are dispatched first, the first ones cancelled first
            factories.make_subtask(swarm, name=f"t{number}", priority=10 - number)

        def stop(pk: int = swarm.pk) -> None:
            while (row := Swarm.objects.get(pk=pk)).status == "running":
                try:
                    cancel(row, row.requester)
                except InvalidInput as error:
                    assert "look again" in str(error)  # noqa: PT017

        at = swarm.pk
        results = at_once(stop, *[lambda pk=at: dispatch(pk)] * 3)
        assert results == [None] * 4
        assert again(swarm).status == "cancelled"
        assert set(statuses(swarm).values()) == {"cancelled"}
        assert not Attempt.objects.filter(subtask__swarm=swarm, status__in=("assigned", "running")).exists()


# One subtask.


@pytest.mark.parametrize("status", ["pending", "assigned", "running", "waiting"])
def test_one_subtask_is_cancelled_with_its_attempt(status: str, nudges: Nudges):
    swarm = swarm_in("running")
    subtask = factories.make_subtask(swarm, name="one", status=status)
    other = factories.make_attempt(factories.make_subtask(swarm, name="other", status="running"))
    attempt = factories.make_attempt(subtask, status=status) if status in {"assigned", "running"} else None
    cancel_subtask(subtask, swarm.requester)
    assert again(subtask).status == "cancelled"
    assert attempt is None or again(attempt).status == "cancelled"
    assert again(other).status == "running"
    assert again(swarm).status == "running"
    assert (Stage.DISPATCH, swarm.pk) in nudges.all


@pytest.mark.parametrize("status", ["handed_off", "complete", "failed", "cancelled", "blocked"])
def test_there_is_nothing_to_cancel_in_a_subtask_that_is(status: str):
    subtask = factories.make_subtask(status=status, name="one")
    with pytest.raises(InvalidInput, match=f"one is {status.replace('_', ' ')}; there is nothing to cancel"):
        cancel_subtask(subtask, subtask.swarm.requester)


@pytest.mark.parametrize("status", ["failed", "timed_out", "blocked", "conflict"])
def test_a_subtask_is_tried_again(status: str, nudges: Nudges):
    subtask = factories.make_subtask(status=status, name="one", status_reason="It broke.")
    factories.make_attempt(subtask, status="failed")
    retry_subtask(subtask, subtask.swarm.requester)
    assert (again(subtask).status, subtask.status_reason, subtask.finished_at) == ("pending", "", None)
    dispatch(subtask.swarm.pk)
    assert subtask.attempts.get(status="assigned").number == 2


@pytest.mark.parametrize("status", ["pending", "running", "handed_off", "complete", "cancelled"])
def test_what_did_not_fail_is_not_tried_again(status: str):
    subtask = factories.make_subtask(status=status)
    with pytest.raises(InvalidInput, match="it cannot be tried again"):
        retry_subtask(subtask, subtask.swarm.requester)


@pytest.mark.parametrize("status", ["planning", "finalizing", "succeeded", "cancelled"])
def test_nothing_is_tried_again_in_a_swarm_that_is(status: str):
    subtask = factories.make_subtask(swarm_in(status), status="failed")
    with pytest.raises(InvalidInput, match="its subtasks cannot be tried again"):
        retry_subtask(subtask, subtask.swarm.requester)


def test_what_was_blocked_by_it_is_looked_at_again_along_the_whole_chain():
    swarm = swarm_in("running")
    base = factories.make_subtask(swarm, name="base", status="failed")
    middle = factories.make_subtask(swarm, name="middle", status="blocked", needs=[base])
    factories.make_subtask(swarm, name="top", status="blocked", needs=[middle])
    said = factories.make_subtask(swarm, name="said-so-itself", status="blocked", needs=[base])
    factories.make_attempt(said, status="blocked")
    retry_subtask(base, swarm.requester)
    assert statuses(swarm) == {"base": "pending", "middle": "pending", "top": "pending", "said-so-itself": "blocked"}


def test_a_conflict_is_tried_again_from_todays_head_and_lands(world: World, model: Model, nudges: Nudges):
    swarm = world.running()
    world.queued(swarm, "first", {"a.txt": "FIRST\n"})
    loser = world.queued(swarm, "second", {"a.txt": "SECOND\n"})
    Subtask.objects.update(acceptance_checks=[])
    nudges.run_one((Stage.MERGE, swarm.pk))
    nudges.take()
    retry_subtask(Subtask.objects.get(name="second"), world.ada)
    assert again(loser).status == "superseded"
    nudges.run()
    assert again(swarm).status == "succeeded"
    assert list(MergeEntry.objects.filter(subtask__name="second").values_list("status", flat=True)) == [
        "superseded",
        "landed",
    ]
