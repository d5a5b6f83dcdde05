"""What a turn writes down: one transaction, few statements, and never more tool calls than the swarm has."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orchestration.domain.config import SwarmConfig
from orchestration.domain.conversation import ToolCall, Usage
from orchestration.domain.errors import AdapterError
from orchestration.models import Attempt, ModelCall, Step, Swarm
from orchestration.stages import accounting
from orchestration.stages.accounting import MOST_TOKENS, MOST_USD, Calls, book, plausible
from orchestration.stages.reporting import ALIVE_EVERY_S, AttemptReport
from tests import factories
from tests.stages.replies import reply

pytestmark = pytest.mark.django_db


@pytest.fixture
def swarm() -> Swarm:
    return factories.make_swarm(planning_done=True)


@pytest.fixture
def attempt(swarm: Swarm) -> Attempt:
    new = {"steps": 0, "tokens": 0, "cost_usd": 0, "tool_calls": 0}
    return factories.make_attempt(factories.make_subtask(swarm, status="running"), **new)


def limit(most: int, *, used: int) -> None:
    config = SwarmConfig(max_total_steps=most).model_dump(mode="json")
    Swarm.objects.update(config=config, tool_calls=used)


def asking(calls: int) -> Any:
    called = tuple(ToolCall(str(number), "bash", '{"command": "make"}') for number in range(calls))
    return reply(tool_calls=called, text="", usage=Usage(10, 5), cost_usd=Decimal("0.01"))


def figures(row: Any) -> tuple[int, int, Decimal]:
    row.refresh_from_db()
    return row.tool_calls, row.tokens, row.cost_usd


def test_a_turn_is_one_transaction_of_four_statements(swarm: Swarm, attempt: Attempt):
    report, answer = AttemptReport(swarm, attempt, 100), replace(asking(1), endpoint_id=swarm.endpoint.public_id)
    report.turn(answer)
    report.ran("bash", {"command": "make"}, "done", ok=True, duration_ms=5)
    with CaptureQueriesContext(connection) as captured:
        report.turn(answer)
    statements = Counter(one["sql"].split()[0] for one in captured)
    assert statements.pop("BEGIN", 1) == statements.pop("COMMIT", 1) == 1
    assert statements == {"INSERT": 2, "UPDATE": 2}


def test_a_turn_is_booked_on_the_attempt_and_on_the_swarm(swarm: Swarm, attempt: Attempt):
    report = AttemptReport(swarm, attempt, 100)
    report.turn(asking(2))
    report.ran("bash", {}, "done", ok=True, duration_ms=5)
    assert figures(attempt) == figures(swarm) == (2, 15, Decimal("0.01"))
    assert (attempt.steps, attempt.doing, Step.objects.count()) == (1, "bash make", 0)
    assert attempt.last_sign_at
    report.turn(asking(0))
    assert figures(attempt) == figures(swarm) == (2, 30, Decimal("0.02"))
    assert (attempt.steps, attempt.doing, Step.objects.count()) == (2, "thinking", 2)
    report.flush()
    attempt.refresh_from_db()
    assert (attempt.doing, Step.objects.count(), ModelCall.objects.count()) == ("", 2, 2)


@pytest.mark.parametrize(("used", "most", "granted"), [(0, 3, 3), (7, 10, 3), (8, 10, 2), (9, 10, 1), (10, 10, 0)])
def test_of_an_answers_calls_only_those_within_the_limit_are_counted(
    swarm: Swarm, attempt: Attempt, used: int, most: int, granted: int
):
    limit(most, used=used)
    assert book(swarm, asking(3), on=attempt, calls=Calls(3, most)) == granted
    assert figures(attempt) == (granted, 15, Decimal("0.01"))
    assert figures(swarm) == (used + granted, 15, Decimal("0.01"))


def test_a_limit_that_was_lowered_takes_nothing_back(swarm: Swarm, attempt: Attempt):
    limit(10, used=50)
    assert book(swarm, asking(3), on=attempt, calls=Calls(3, 10)) == 0
    assert (figures(attempt)[0], figures(swarm)[0]) == (0, 50)


def test_a_limit_that_was_raised_meanwhile_counts(swarm: Swarm, attempt: Attempt):
    limit(100, used=10)
    assert book(swarm, asking(3), on=attempt, calls=Calls(3, 10)) == 3
    assert (figures(attempt)[0], figures(swarm)[0]) == (3, 13)


def test_an_answer_without_calls_is_booked_beyond_the_limit_too(swarm: Swarm, attempt: Attempt):
    limit(10, used=10)
    assert book(swarm, asking(0), on=attempt, calls=Calls(0, 10)) == 0
    assert figures(swarm) == (10, 15, Decimal("0.01"))


def test_the_calls_that_may_run_do_and_then_it_ends(swarm: Swarm, attempt: Attempt):
    limit(10, used=8)
    report = AttemptReport(swarm, attempt, 10)
    report.turn(asking(3))
    report.ran("bash", {}, "one", ok=True, duration_ms=5)
    with pytest.raises(AdapterError, match="limit of 10 tool calls is used up"):
        report.ran("bash", {}, "two", ok=True, duration_ms=5)


def test_the_endpoint_that_answered_is_looked_up_once(swarm: Swarm, attempt: Attempt, django_assert_num_queries: Any):
    other = factories.make_endpoint(swarm.endpoint.team)
    for _ in range(2):
        book(swarm, reply(endpoint_id=other.public_id), on=attempt)
    assert set(ModelCall.objects.values_list("endpoint", flat=True)) == {other.pk}
    with django_assert_num_queries(0):
        assert accounting._answered_by(reply(endpoint_id=other.public_id), swarm) == other.pk


def test_what_an_endpoint_answered_that_is_gone_is_booked_on_the_swarms_own(swarm: Swarm, attempt: Attempt):
    for _ in range(2):
        book(swarm, reply(endpoint_id="gone"), on=attempt)
    assert set(ModelCall.objects.values_list("endpoint", flat=True)) == {swarm.endpoint_id}


def test_a_sign_of_life_is_written_when_the_last_one_is_some_seconds_old(
    swarm: Swarm, attempt: Attempt, django_assert_num_queries: Any
):
    report = AttemptReport(swarm, attempt, 100)
    with django_assert_num_queries(0):
        report.alive()
    report._last_sign -= ALIVE_EVERY_S
    before = timezone.now()
    report.alive()
    with django_assert_num_queries(0):
        report.alive()
    attempt.refresh_from_db()
    assert attempt.last_sign_at
    assert attempt.last_sign_at >= before


def test_what_a_service_says_is_kept_within_what_a_database_holds():
    told = reply(usage=Usage(-5, MOST_TOKENS + 1), cost_usd=Decimal(-1))
    kept = plausible(told)
    assert (kept.usage, kept.cost_usd) == (Usage(0, MOST_TOKENS), Decimal(0))
    assert plausible(kept) is kept
    assert plausible(reply(cost_usd=MOST_USD + 1)).cost_usd == MOST_USD
