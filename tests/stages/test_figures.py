"""A swarm's figures as they are read from its rows, for the page, for the end of the swarm and for `show --json`."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from orchestration.models import Attempt, MergeEntry, PlanIteration, Subtask, Swarm
from orchestration.models.figures import statistics_of, usage_of
from orchestration.reads.reports import whole
from orchestration.stages.accounting import book
from orchestration.web.panels import SwarmPanels
from tests import factories as make
from tests.stages.replies import reply

pytestmark = pytest.mark.django_db


@pytest.fixture
def start() -> datetime:
    return timezone.now() - timedelta(minutes=10)


@pytest.fixture
def swarm(start: datetime) -> Swarm:
    """Planned in 10 s; `base` lands at 40 s, its dependent fails once and lands at 130 s; over at 150 s."""
    swarm = make.make_swarm(status="succeeded", created_at=start, finished_at=start + timedelta(seconds=150))
    at(PlanIteration.objects.get(swarm=swarm), start, started_at=0, finished_at=10)
    base = make.make_subtask(swarm, name="base", status="complete")
    top = make.make_subtask(swarm, name="top", status="complete", needs=[base])
    attempt(base, start, 10, 30, landed=40)
    attempt(top, start, 40, 60, status="failed")
    attempt(top, start, 65, 120, landed=130)
    aside = make.make_subtask(swarm, name="aside", status="conflict")
    make.make_entry(attempt(aside, start, 10, 35), status="conflict", conflict_paths=["a.txt"])
    return swarm


def at(row: PlanIteration | Attempt | MergeEntry, start: datetime, **seconds: float) -> None:
    moments = {name: start + timedelta(seconds=value) for name, value in seconds.items()}
    type(row)._default_manager.filter(pk=row.pk).update(**moments)


def attempt(
    subtask: Subtask, start: datetime, began: float, ended: float, *, status: str = "complete", landed: float = 0
) -> Attempt:
    row = make.make_attempt(subtask, status=status, steps=5, tool_calls=8)
    at(row, start, started_at=began, finished_at=ended)
    if landed:
        at(make.make_entry(row, status="landed"), start, enqueued_at=ended, finished_at=landed)
    return row


def test_the_chain_is_the_one_that_was_executed(swarm: Swarm):
    figures = statistics_of(swarm)
    assert [(link["kind"], link["name"], link["number"], link["seconds"]) for link in figures["critical_chain"]] == [
        ("plan", "", 1, 10.0),
        ("attempt", "base", 1, 20.0),
        ("attempt", "top", 1, 20.0),
        ("attempt", "top", 2, 55.0),
    ]
    assert (figures["critical_path_s"], figures["critical_path_steps"]) == (105.0, 3 + 5 + 5 + 5)
    assert (figures["wall_s"], figures["sequential_estimate_s"], figures["speedup"]) == (150.0, 130.0, 0.87)


def test_merges_and_their_waits(swarm: Swarm):
    assert statistics_of(swarm)["merges"] == {
        "landed": 2,
        "conflicted": 1,
        "rejected": 0,
        "handoff_to_landed_p50_s": 10.0,
        "handoff_to_landed_p95_s": 10.0,
    }


def test_a_conflict_that_was_tried_again_still_counts(swarm: Swarm):
    MergeEntry.objects.filter(status="conflict").update(status="superseded")
    assert statistics_of(swarm)["merges"]["conflicted"] == 1


def test_usage_is_by_role_and_endpoint(swarm: Swarm):
    other = make.make_endpoint(swarm.repository.team, name="small")
    calls = ((swarm.endpoint, "worker", False), (other, "worker", True), (other, "worker", False))
    for endpoint, purpose, estimated in calls:
        swarm.model_calls.create(
            endpoint=endpoint, purpose=purpose, estimated=estimated, input_tokens=100, output_tokens=7, cost_usd="0.25"
        )
    assert {(one.role, one.endpoint, one.calls, one.cost_usd, one.estimated_calls) for one in usage_of(swarm)} == {
        ("worker", swarm.endpoint.name, 1, 0.25, 0),
        ("worker", "small", 2, 0.5, 1),
    }


def test_rate_limit_figures_are_those_of_the_calls(swarm: Swarm):
    runner = swarm.iterations.get()
    book(swarm, reply(retries=3, refused=2, waited_ms=1500), on=runner)
    book(swarm, reply(waited_ms=250), on=runner)
    figures = statistics_of(swarm)
    assert figures["rate_limit"] == {"calls": 2, "retries": 3, "refused": 2, "waited_s": 1.75}


def test_waits_for_a_turn_at_a_service_are_no_work(swarm: Swarm):
    before = statistics_of(swarm)
    base = Attempt.objects.get(subtask__name="base")
    book(swarm, reply(waited_ms=9_000), on=base)
    book(swarm, reply(waited_ms=1_000), on=base)
    book(swarm, reply(waited_ms=4_000), on=swarm.iterations.get())
    figures = statistics_of(swarm)
    assert before["sequential_estimate_s"] - figures["sequential_estimate_s"] == 14.0
    assert before["critical_path_s"] - figures["critical_path_s"] == 14.0
    assert figures["speedup"] < before["speedup"]
    assert figures["wall_s"] == before["wall_s"]


def test_the_page_and_the_command_line_tell_the_same(swarm: Swarm):
    told = whole(swarm)["statistics"]
    assert json.loads(json.dumps(told)) == SwarmPanels(swarm, may_steer=False).stats


def test_what_still_runs_has_lasted_until_now(start: datetime):
    swarm = make.make_swarm(created_at=start)
    at(PlanIteration.objects.get(swarm=swarm), start, started_at=0, finished_at=10)
    row = make.make_attempt(make.make_subtask(swarm))
    at(row, start, started_at=60)
    figures = statistics_of(swarm)
    assert figures["wall_s"] >= 600
    assert 540 <= figures["critical_path_s"] <= figures["wall_s"]


def test_an_attempt_that_never_started_took_no_time(start: datetime):
    swarm = make.make_swarm(created_at=start)
    at(PlanIteration.objects.get(swarm=swarm), start, started_at=0, finished_at=0)
    make.make_attempt(make.make_subtask(swarm), status="cancelled", started_at=None)
    figures = statistics_of(swarm)
    assert (figures["subagents_spawned"], figures["sequential_estimate_s"]) == (1, 0.0)
