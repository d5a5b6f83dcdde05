"""A planner that fails is never "no more work", and one that comes too late changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from orchestration.agents import planner
from orchestration.demo.service import Answer
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.events import Stage
from orchestration.domain.planning import MAX_PLANNER_FAILURES
from orchestration.domain.retries import MAX_LOST
from orchestration.models import Event, PlanIteration, Swarm
from orchestration.stages import leases
from orchestration.stages import plan as stage
from orchestration.stages.plan import plan
from orchestration.stages.steer import cancel
from tests import factories
from tests.agents.rig import require_answered
from tests.stages.world import Model, Nudges, World, at_once, call, hand_off, hand_offs, planned, says, statuses, task


def again(swarm: Swarm) -> Swarm:
    swarm.refresh_from_db()
    return swarm


def kinds(swarm: Swarm) -> list[str]:
    return list(Event.objects.filter(swarm=swarm).values_list("kind", flat=True))


SLOW: dict[str, Any] = {"max_retries": 0, "base_delay_ms": 60_000, "max_delay_ms": 3_600_000}


def due_now(swarm: Swarm) -> None:
    """As if the wait after a failure were over."""
    Swarm.objects.filter(pk=swarm.pk).update(plan_not_before=timezone.now() - timedelta(seconds=1))


# Failures.


@pytest.mark.parametrize(
    "answer",
    [Answer(status=503), Answer(fault="half_stream"), Answer(fault="html")],
    ids=["503", "half an answer", "a web page"],
)
def test_a_planner_that_is_down_is_asked_again_later(world: World, model: Model, nudges: Nudges, answer: Answer):
    model.plans = [answer, planned(task("one"))]
    swarm = world.submit(**SLOW)
    plan(swarm.pk)
    assert again(swarm).status == "planning"
    assert swarm.status_reason.startswith("The planner failed: ")
    assert swarm.plan_not_before
    assert swarm.plan_not_before > timezone.now()
    assert Event.objects.get(kind="plan.retrying").facts["failures"] == 1
    due_now(swarm)
    plan(swarm.pk)
    assert again(swarm).status == "running"
    assert PlanIteration.objects.filter(status="failed").count() == 1


def test_the_wait_grows(world: World, model: Model):
    model.plans = [Answer(status=500)]
    swarm = world.submit(**SLOW)
    waits = []
    for _ in range(4):
        before = timezone.now()
        plan(swarm.pk)
        until = again(swarm).plan_not_before
        assert until
        waits.append(round((until - before).total_seconds() / 60))
        due_now(swarm)
    assert waits == [1, 2, 4, 8]


def test_after_ten_failures_in_a_row_the_swarm_ends_with_the_reason(world: World, model: Model):
    model.plans = [Answer(status=500, error={"message": "the GPU melted"})]
    swarm = world.submit(**SLOW)
    for _ in range(MAX_PLANNER_FAILURES):
        assert again(swarm).status == "planning"
        plan(swarm.pk)
        due_now(swarm)
    assert again(swarm).status == "failed"
    assert "the GPU melted" in swarm.status_reason
    assert swarm.status_reason.endswith(f" It was tried {MAX_PLANNER_FAILURES} times.")
    plan(swarm.pk)
    assert world.service.total == MAX_PLANNER_FAILURES


def test_a_later_planner_that_fails_for_ever_lets_what_is_in_flight_land(world: World, model: Model, nudges: Nudges):
    swarm = world.running(done=False)
    hand_offs(swarm, 3)
    world.queued(swarm, "flying", {"f.txt": "f\n"})
    model.plans = [Answer(status=401, error={"message": "no such key"})]
    plan(swarm.pk)
    assert (again(swarm).status, swarm.planning_done) == ("running", True)
    assert "no such key" in swarm.planning_error
    nudges(Stage.MERGE, swarm.pk)
    nudges.run()
    assert again(swarm).status == "partly_succeeded"
    assert "Planning stopped early" in swarm.status_reason
    assert "no such key" in swarm.status_reason
    assert statuses(swarm)["flying"] == "complete"


def test_a_swarm_that_has_used_up_its_tool_calls_plans_no_more(world: World, nudges: Nudges):
    """Otherwise a planner would plan, and every attempt would end at the limit, for ever."""
    swarm = world.running(done=False, max_total_steps=5)
    hand_offs(swarm, 3, status="failed")
    Swarm.objects.update(tool_calls=6)
    nudges.take()
    plan(swarm.pk)
    assert world.service.total == 0
    assert again(swarm).planning_done
    nudges.run()  # without a tick
    assert (again(swarm).status, swarm.finished_at is None) == ("failed", False)
    assert "limit of 5 tool calls is used up" in swarm.status_reason


def test_a_planner_that_takes_its_process_with_it_every_time_ends_some_day(world: World, nudges: Nudges):
    swarm = world.running(done=False)
    hand_offs(swarm, 3, status="complete")
    for _ in range(MAX_LOST):
        factories.make_iteration(swarm, status="lost")
    nudges.take()
    plan(swarm.pk)
    assert (world.service.total, again(swarm).planning_error) == (1, ""), "so often it may"
    Swarm.objects.update(planning_done=False)
    hand_offs(swarm, 3, status="complete")
    for _ in range(MAX_LOST + 1):
        factories.make_iteration(swarm, status="lost")
    plan(swarm.pk)
    assert world.service.total == 1
    assert again(swarm).planning_error == (
        f"The planner ended without an answer. It was lost {MAX_LOST + 1} times with the process that ran it."
    )


LOOK = says(call("list_files"))
BAD = planned(task("one", "one"))


@pytest.fixture
def _seven_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "MAX_TURNS", 7)


@pytest.mark.usefixtures("_seven_turns")
@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([LOOK] * 7, "The planner submitted no plan in 7 turns."),
        ([BAD, BAD], "The dependencies go in a circle: one -> one."),
        ([BAD, *[LOOK] * 6], "The planner submitted no plan in 7 turns."),
    ],
    ids=["it only looks", "unusable twice", "unusable, then it only looks"],
)
def test_without_any_plan_the_request_is_one_subtask_and_planning_may_go_on(
    world: World, model: Model, nudges: Nudges, answers: list[Answer], reason: str
):
    """Its last word goes on with the conversation: a service refuses a call in it that has no answer."""
    model.plans = [*answers, planned()]
    model.workers["main"] = [hand_off("failed")]
    swarm = world.submit("Sort the shelves.")
    plan(swarm.pk)
    assert statuses(swarm) == {"main": "pending"}
    assert reason in PlanIteration.objects.get().problems
    nudges.run()
    assert (again(swarm).status, statuses(swarm)) == ("failed", {"main": "failed"})
    last = [one for one in world.service.requests if one.closing == "submit_plan"][-1]
    assert last.number > len(answers)
    require_answered(last.messages)


@pytest.mark.usefixtures("_seven_turns")
def test_a_later_planner_that_only_looks_is_asked_again_with_the_reason(world: World, model: Model):
    swarm = world.running(done=False)
    hand_offs(swarm, 3)
    model.plans = [LOOK]
    plan(swarm.pk)
    assert (again(swarm).status, swarm.plan_failures) == ("running", 1)
    assert swarm.status_reason == "The planner failed: The planner submitted no plan in 7 turns."


# Cancelled.


def test_a_plan_of_a_swarm_that_was_cancelled_meanwhile_changes_nothing(world: World, model: Model):
    model.plans = [replace(planned(task("late")), held="plan")]
    swarm = world.submit()

    def meanwhile() -> None:
        world.service.wait_for(lambda: world.service.in_flight == 1)
        cancel(Swarm.objects.get(pk=swarm.pk), world.ada)

    assert at_once(lambda: plan(swarm.pk), meanwhile) == [None, None]
    world.service.wait_for(lambda: world.service.hung_up == 1)
    assert again(swarm).status == "cancelled"
    assert statuses(swarm) == {}
    iteration = PlanIteration.objects.get()
    assert (iteration.status, iteration.status_reason) == ("failed", "Cancelled by ada.")
    assert kinds(swarm)[-1] == "swarm.cancelled"


@pytest.mark.parametrize("how", ["cancelled", "lost", "another's"])
def test_a_plan_that_comes_too_late_changes_nothing(
    world: World, model: Model, monkeypatch: pytest.MonkeyPatch, how: str
):
    """The answer is there already when the swarm is cancelled, or when the iteration was given up."""
    swarm = world.submit()
    real = stage.iterate.ask

    def slow(*args: Any) -> Any:
        answer = real(*args)
        if how == "cancelled":
            Swarm.objects.update(status="cancelled", finished_at=timezone.now())
        else:
            PlanIteration.objects.update(**({"status": how} if how == "lost" else {"lease_token": how}))
        return answer

    monkeypatch.setattr(stage.iterate, "ask", slow)
    plan(swarm.pk)
    assert statuses(swarm) == {}
    assert again(swarm).status == ("cancelled" if how == "cancelled" else "planning")


def test_a_server_that_stops_while_it_plans_says_nothing_against_the_swarm(world: World, model: Model, nudges: Nudges):
    model.plans = [replace(planned(task("one")), held="plan")]
    swarm = world.submit()

    def meanwhile() -> None:
        world.service.wait_for(lambda: world.service.in_flight == 1)
        leases.heartbeat.cancel_all("The server was stopped.")

    assert at_once(lambda: plan(swarm.pk), meanwhile) == [None, None]
    iteration = PlanIteration.objects.get()
    assert (iteration.status, iteration.status_reason) == ("lost", "The server was stopped.")
    assert (again(swarm).status, swarm.plan_failures) == ("planning", 0)
    world.service.release("plan")
    plan(swarm.pk)
    assert again(swarm).status == "running"


@pytest.mark.parametrize("lasting", [True, False])
def test_a_failure_whose_text_no_database_stores_is_mended(
    world: World, monkeypatch: pytest.MonkeyPatch, lasting: bool
):
    def odd(*_: Any) -> Any:
        raise AdapterError(Failure.PERMANENT if lasting else Failure.TRANSIENT, "It said \x00\ud83d.")

    swarm = world.running(done=False)
    hand_offs(swarm, 3)
    monkeypatch.setattr(stage.iterate, "ask", odd)
    plan(swarm.pk)
    again(swarm)
    assert (swarm.planning_error if lasting else swarm.status_reason).endswith("It said \ufffd\ufffd.")
