"""Budgets: nothing is spent beyond calls in flight, nothing begins after the pause, and nobody is blamed for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any, NoReturn

import pytest
from django.db.models import F
from django.utils import timezone

from orchestration.adapters.cancellation import Cancellation
from orchestration.agents.conversation import OutOfTime
from orchestration.demo.service import Answer
from orchestration.domain.budgets import ANSWER_TOKENS
from orchestration.domain.config import SwarmConfig
from orchestration.domain.conversation import Endpoint, Message, ToolCall, Usage
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.models import Attempt, Event, ModelCall, PlanIteration, Repository, Subtask, Swarm
from orchestration.stages.accounting import FIRST_LOOK_S, OverBudget, Spending, book, free_reservations
from orchestration.stages.dispatch import dispatch
from orchestration.stages.reporting import AttemptReport
from orchestration.stages.steer import resume
from orchestration.stages.tick import take_over, tick
from tests import factories
from tests.stages.replies import reply
from tests.stages.world import Model, Nudges, World, at_once, hand_off, planned, statuses, task, write

UNPAID = Answer(status=429, error={"code": "insufficient_quota", "message": "no money"})
ENDPOINT = Endpoint("own", "openai", "http://127.0.0.1:9", "large-1", output_price=Decimal(1000))  # $4.096 an answer


def swarm_with(**config: Any) -> Swarm:
    return factories.make_swarm(config=SwarmConfig(**config).model_dump(mode="json"), planning_done=True)


def attempt_of(swarm: Swarm) -> Attempt:
    return factories.make_attempt(factories.make_subtask(swarm, status="running"))


@contextmanager
def calling(on: Attempt | PlanIteration, swarm: Swarm, left: Callable[[], float] = lambda: 60.0) -> Iterator[None]:
    with Spending(on, swarm, Cancellation()).call(ENDPOINT, [Message("user", "x" * 400)], (), left):
        yield


def out_of_time() -> NoReturn:
    raise OutOfTime(60)


def again(row: Any) -> Any:
    row.refresh_from_db()
    return row


def spend(on: Attempt, swarm: Swarm, tokens: int = 1000, usd: str = "1") -> None:
    with calling(on, swarm):
        book(swarm, reply(usage=Usage(tokens, 0), cost_usd=Decimal(usd)), on=on)


# One call.


def test_it_is_held_back_before_and_settled_after():
    swarm = swarm_with(budget_tokens=1_000_000)
    attempt = attempt_of(swarm)
    with calling(attempt, swarm):
        assert again(swarm).reserved_tokens == Attempt.objects.get().reserved_tokens > ANSWER_TOKENS
        assert swarm.reserved_usd == Attempt.objects.get().reserved_usd == Decimal("4.096")
        book(swarm, reply(usage=Usage(10, 5), cost_usd=Decimal("0.5")), on=attempt)
        assert (again(swarm).reserved_tokens, swarm.reserved_usd) == (0, 0)
    assert (again(swarm).tokens, swarm.cost_usd) == (15, Decimal("0.5"))
    assert (Attempt.objects.get().reserved_tokens, swarm.reserved_tokens) == (0, 0)


def test_a_call_that_fails_frees_what_was_held_back():
    swarm = swarm_with(budget_tokens=1_000_000)
    attempt = attempt_of(swarm)
    with pytest.raises(RuntimeError), calling(attempt, swarm):
        raise RuntimeError("no answer")
    assert (again(swarm).reserved_tokens, swarm.reserved_usd, Attempt.objects.get().reserved_tokens) == (0, 0, 0)


def test_what_a_call_waited_for_another_ones_money_is_kept_as_no_work():
    swarm = swarm_with(budget_usd=5)
    first, second = attempt_of(swarm), attempt_of(swarm)
    Swarm.objects.update(cost_usd=Decimal("0.9"))
    looks = iter([60.0])

    def left() -> float:
        return next(looks, None) or out_of_time()

    with calling(first, swarm), pytest.raises(OutOfTime), calling(second, swarm, left):
        raise AssertionError("the call was made")
    assert again(first).queued_ms == 0
    assert again(second).queued_ms >= 1000 * FIRST_LOOK_S * 0.9


def test_a_call_that_failed_says_how_long_it_had_waited_in_vain():
    swarm = swarm_with(budget_usd=5)
    attempt = attempt_of(swarm)
    error = AdapterError(Failure.TRANSIENT, "It timed out.")
    error.waited_s = 2.5
    with pytest.raises(AdapterError), calling(attempt, swarm):
        raise error
    assert again(attempt).queued_ms == 2500


def test_where_no_budget_binds_nothing_is_held_back_and_nothing_is_locked(django_assert_num_queries: Any):
    swarm = swarm_with()
    attempt = attempt_of(swarm)
    with django_assert_num_queries(1), calling(attempt, swarm):
        pass
    spend(attempt, swarm)
    assert (again(swarm).tokens, swarm.reserved_tokens, again(attempt).reserved_tokens) == (1000, 0, 0)


def set_for_the_swarm(swarm: Swarm) -> None:
    Swarm.objects.update(config=SwarmConfig(budget_tokens=2000).model_dump(mode="json"))


def set_for_the_month(swarm: Swarm) -> None:
    Repository.objects.update(monthly_budget_usd=Decimal("2.1"))


@pytest.mark.parametrize("set_budget", [set_for_the_swarm, set_for_the_month])
def test_a_budget_that_is_set_while_a_call_is_in_flight_binds_the_next_one(set_budget: Any):
    swarm = swarm_with()
    first, second = attempt_of(swarm), attempt_of(swarm)
    with calling(first, swarm):
        set_budget(swarm)
        book(swarm, reply(usage=Usage(2000, 0), cost_usd=Decimal(2)), on=first)
    assert (again(swarm).tokens, swarm.reserved_tokens, swarm.reserved_usd) == (2000, 0, 0)
    with pytest.raises(OverBudget), calling(second, swarm):
        raise AssertionError("the call was made")
    assert again(swarm).stopped_by


def test_what_a_call_holds_back_is_freed_when_its_budget_is_gone():
    swarm = swarm_with()
    Repository.objects.update(monthly_budget_usd=Decimal(100))
    attempt = attempt_of(swarm)
    with calling(attempt, swarm):
        assert again(swarm).reserved_tokens
        Repository.objects.update(monthly_budget_usd=None)
        book(swarm, reply(usage=Usage(10, 0), cost_usd=Decimal(1)), on=attempt)
    assert (again(swarm).reserved_tokens, swarm.reserved_usd, again(attempt).reserved_tokens) == (0, 0, 0)


@pytest.mark.parametrize("status", ["running", "planning"])
def test_at_the_limit_the_swarm_pauses_with_the_figures(status: str):
    swarm = swarm_with(budget_usd=5)
    Swarm.objects.update(cost_usd=Decimal("4.9"), status=status)
    with pytest.raises(OverBudget, match="is used up"), calling(attempt_of(swarm), swarm):
        raise AssertionError("the call was made")
    assert (again(swarm).status, swarm.resume_to, swarm.stopped_by) == ("paused", status, "swarm")
    assert swarm.status_reason == (
        "The swarm's budget of $5.00 is used up: $4.90 spent, and the next call may take $0.256. Raise it, then resume."
    )
    assert Event.objects.filter(kind="swarm.paused").count() == 1


def test_after_the_pause_no_call_is_made_however_small():
    swarm = swarm_with(budget_tokens=1_000_000)
    Swarm.objects.update(status="paused", stopped_by="swarm", status_reason="Used up.")
    with pytest.raises(OverBudget, match="Used up"), calling(attempt_of(swarm), swarm):
        raise AssertionError("the call was made")


def test_what_runs_in_a_swarm_that_a_person_paused_goes_on():
    swarm = swarm_with(budget_tokens=1_000_000)
    Swarm.objects.update(status="paused")
    spend(attempt_of(swarm), swarm)
    assert again(swarm).tokens == 1000


def test_a_swarm_that_a_person_paused_is_stopped_by_its_budget_too():
    swarm = swarm_with(budget_tokens=10)
    Swarm.objects.update(status="paused", resume_to="running")
    with pytest.raises(OverBudget), calling(attempt_of(swarm), swarm):
        raise AssertionError("the call was made")
    assert (again(swarm).stopped_by, swarm.resume_to) == ("swarm", "running")


# Many at once.


def test_a_hundred_at_once_overshoot_by_no_more_than_the_last_call():
    """Each call costs less than was held back for it; the last ones wait for the others, then stop."""
    swarm = swarm_with(budget_tokens=40_000)
    attempts = [attempt_of(swarm) for _ in range(100)]

    def work(attempt: Attempt) -> str:
        try:
            for _ in range(3):
                spend(attempt, swarm, tokens=900, usd="0")
        except OverBudget:
            return "stopped"
        return "done"

    results = at_once(*(lambda attempt=attempt: work(attempt) for attempt in attempts))
    assert set(results) <= {"stopped", "done"}
    assert "stopped" in results
    assert 40_000 - 400 < again(swarm).tokens <= 40_000 + 900  # the last one ran alone
    assert (swarm.reserved_tokens, swarm.status) == (0, "paused")
    assert ModelCall.objects.count() * 900 == swarm.tokens


def test_a_hundred_at_once_never_take_one_tool_call_too_many():
    swarm = swarm_with(max_total_steps=250)
    attempts = [attempt_of(swarm) for _ in range(100)]
    Attempt.objects.update(tool_calls=0)
    ran: list[int] = []

    def turns(report: AttemptReport) -> None:
        calls = tuple(ToolCall(str(n), "bash", "{}") for n in range(3))
        while True:
            report.turn(reply(tool_calls=calls))
            for _ in calls:
                ran.append(1)
                report.ran("bash", {}, "", ok=True, duration_ms=0)

    def work(attempt: Attempt) -> None:
        with pytest.raises(AdapterError, match="limit of 250 tool calls is used up"):
            turns(AttemptReport(swarm, attempt, 250))

    assert at_once(*(lambda attempt=attempt: work(attempt) for attempt in attempts)) == [None] * 100
    assert len(ran) == again(swarm).tool_calls == 250
    assert sum(Attempt.objects.values_list("tool_calls", flat=True)) == 250


# The repository's month.


def test_the_month_binds_all_swarms_of_the_repository_and_no_other():
    swarm, stranger = swarm_with(), swarm_with()
    other = factories.make_swarm(swarm.repository)
    Repository.objects.filter(pk=swarm.repository_id).update(monthly_budget_usd=10)
    spend(attempt_of(swarm), swarm, usd="9.9")
    with pytest.raises(OverBudget, match=r"The repository's budget of \$10.00 for \w+ \d{4} is used up: \$9.90 spent"):
        spend(attempt_of(other), other)
    assert (again(other).status, other.stopped_by) == ("paused", "month")
    spend(attempt_of(stranger), stranger)


def test_what_was_spent_before_this_month_does_not_count():
    swarm = swarm_with()
    Repository.objects.update(monthly_budget_usd=10)
    spend(attempt_of(swarm), swarm, usd="9.9")
    ModelCall.objects.update(at=timezone.now().replace(day=1) - timedelta(days=1))
    spend(attempt_of(swarm), swarm)


def test_what_sums_leave_behind_is_no_call_in_flight():
    swarm = swarm_with()
    Repository.objects.update(monthly_budget_usd=10)
    spend(attempt_of(swarm), swarm, usd="9")
    for change in ("0.1", "0.2", "-0.3"):  # in binary that is not nothing
        Swarm.objects.update(reserved_usd=F("reserved_usd") + Decimal(change))
    with calling(attempt_of(swarm), swarm, left=out_of_time):
        assert again(swarm).reserved_usd > 0


# Dead processes.


@pytest.mark.parametrize("free", [free_reservations, tick, take_over], ids=lambda free: free.__name__)
def test_what_dead_processes_held_back_is_free_again(free: Any):
    swarm = swarm_with()
    dead = attempt_of(swarm)
    with calling(dead, swarm):
        Attempt.objects.update(status="lost", finished_at=timezone.now())
        free()
        assert (again(swarm).reserved_tokens, swarm.reserved_usd) == (0, 0)
    assert again(swarm).reserved_tokens == 0  # and not freed twice


def test_what_is_in_flight_stays_held_back():
    swarm = swarm_with()
    with calling(attempt_of(swarm), swarm):
        before = again(swarm).reserved_tokens
        Swarm.objects.update(reserved_tokens=before + 5000)
        free_reservations()
        assert again(swarm).reserved_tokens == before


# Whole attempts.


def test_an_attempt_at_the_end_of_the_budget_goes_back_unblamed_and_its_work_is_kept(
    world: World, model: Model, nudges: Nudges
):
    model.plans = [planned(task("one"), task("two", "one"))]
    model.workers["one"] = [write("one.txt", "x\n"), hand_off()]
    swarm = world.submit(budget_tokens=1_000_000, max_retries=0)
    for _ in range(2):
        nudges.run_only_what_is_there()
    Swarm.objects.update(tokens=999_999)
    nudges.run()
    assert again(swarm).status == "paused"
    assert statuses(swarm)["two"] == "pending"
    assert not Subtask.objects.filter(status="failed").exists()
    assert not Attempt.objects.filter(status__in=("failed", "running")).exists()


def test_dispatch_pauses_rather_than_begin_what_cannot_go_on():
    swarm = swarm_with(budget_usd=1)
    factories.make_subtask(swarm, name="one")
    Swarm.objects.update(cost_usd=1)
    dispatch(swarm.pk)
    assert (again(swarm).status, swarm.stopped_by, statuses(swarm)) == ("paused", "swarm", {"one": "pending"})


def test_a_planner_at_the_end_of_the_budget_fails_no_swarm(world: World, model: Model, nudges: Nudges):
    swarm = world.submit(budget_tokens=300)
    nudges.run()
    assert (again(swarm).status, swarm.stopped_by, swarm.plan_failures) == ("paused", "swarm", 0)
    assert model.asked == 0


# The model service's own.


def test_a_service_without_credit_stops_the_swarm_and_blames_nobody(world: World, model: Model, nudges: Nudges):
    model.plans = [planned(task("one"), done=True)]
    model.workers["one"] = [UNPAID]
    swarm = world.submit(max_retries=0)
    nudges.run()
    assert (again(swarm).status, swarm.stopped_by) == ("paused", "service")
    assert "has no credit left" in swarm.status_reason
    assert swarm.status_reason.endswith("Then resume.")
    assert statuses(swarm) == {"one": "pending"}
    assert Attempt.objects.get().status == "cancelled"
    model.workers.clear()
    resume(swarm, world.ada)
    nudges.run()
    assert (again(swarm).status, swarm.stopped_by) == ("succeeded", "")


def test_a_planner_whose_service_has_no_credit_fails_no_swarm(world: World, model: Model, nudges: Nudges):
    model.plans = [UNPAID]
    swarm = world.submit()
    nudges.run()
    assert (again(swarm).status, swarm.stopped_by, swarm.plan_failures) == ("paused", "service", 0)


# The deadline, and the tool calls.


def test_after_the_deadline_nothing_begins_and_the_end_says_why(world: World, nudges: Nudges):
    swarm = world.running(done=False)
    factories.make_subtask(swarm, name="late")
    past = timezone.now() - timedelta(minutes=1)
    Swarm.objects.update(config=swarm.config | {"deadline": past.isoformat()})
    dispatch(swarm.pk)
    tick()
    nudges.run()
    assert (again(swarm).status, statuses(swarm)) == ("failed", {"late": "blocked"})
    assert "deadline" in swarm.status_reason
    assert not Attempt.objects.exists()


def test_without_tool_calls_left_nothing_begins():
    swarm = swarm_with(max_total_steps=5)
    factories.make_subtask(swarm, name="one")
    Swarm.objects.update(tool_calls=5)
    dispatch(swarm.pk)
    assert statuses(swarm) == {"one": "blocked"}
    assert Subtask.objects.get().status_reason == "The swarm's limit of 5 tool calls is used up."


# At submit.


def test_the_repositorys_budgets_are_its_swarms_defaults(world: World):
    Repository.objects.update(budget_usd=Decimal("7.5"), budget_tokens=9000)
    world.repository.refresh_from_db()
    config = world.submit().config
    assert (Decimal(config["budget_usd"]), config["budget_tokens"]) == (Decimal("7.5"), 9000)
    config = world.submit(budget_usd=2, budget_tokens=5).config
    assert (Decimal(config["budget_usd"]), config["budget_tokens"]) == (Decimal(2), 5)


def test_a_deadline_that_has_passed_is_refused(world: World):
    with pytest.raises(InvalidInput, match="has passed"):
        world.submit(deadline="2020-01-01T00:00:00Z")
