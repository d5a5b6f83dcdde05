"""A hundred real attempts at once, against each limit: none is passed by more than the calls in flight, and nothing
is asked or run after the pause."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from orchestration.demo.service import Answer, Request
from orchestration.domain.conversation import Usage
from orchestration.models import Attempt, Event, ModelCall, ModelEndpoint, Step, Subtask, Swarm
from orchestration.stages import execute as stage
from orchestration.stages.dispatch import dispatch
from orchestration.stages.execute import execute
from orchestration.stages.rows import config_of
from tests.stages.world import Model, World, at_once, call, says

MANY = 100
TOKENS = 5000  # of one call: less than what is held back for it
BUDGET = 60 * TOKENS


class Busybodies(Model):
    """Every worker looks around, a little deeper each time, and never ends by itself."""

    def __call__(self, request: Request) -> Answer:
        return says(call("list_files", path=".", depth=request.turns + 1), usage=Usage(TOKENS - 3500, 3500))


@pytest.fixture
def model() -> Model:
    return Busybodies()


def hundred(world: World, *, ahead: bool = False, **config: Any) -> Swarm:
    """With one more that is `ahead`: it meets its own limits before the others meet theirs together."""
    swarm = world.running(max_retries=0, **config)
    if ahead:
        execute(world.assigned(swarm, "ahead").pk)
    attempts = [world.assigned(swarm, f"t{number}") for number in range(MANY)]
    assert at_once(*(lambda pk=one.pk: execute(pk) for one in attempts)) == [None] * MANY
    swarm.refresh_from_db()
    return swarm


def reasons() -> set[str]:
    return set(Attempt.objects.values_list("status_reason", flat=True))


def test_turns_and_tool_calls_are_met_exactly(world: World):
    swarm = hundred(world, ahead=True, max_total_steps=250, max_steps_per_subagent=4)
    ran = Step.objects.exclude(tool="").count()
    assert ran == swarm.tool_calls == 250
    assert sum(Attempt.objects.values_list("tool_calls", flat=True)) == 250
    assert max(Attempt.objects.values_list("steps", flat=True)) == 4
    assert reasons() == {
        "The agent did not hand off within 4 turns.",
        "The swarm's limit of 250 tool calls is used up.",
    }
    asked = world.service.total
    dispatch(swarm.pk)
    assert world.service.total == asked
    assert not Subtask.objects.filter(status__in=("assigned", "running")).exists()


@pytest.mark.parametrize("unit", ["tokens", "usd"])
def test_a_budget_is_overshot_by_no_more_than_one_call_and_after_the_pause_nobody_asks(world: World, unit: str):
    """Each call holds back the longest answer; the last ones wait for the others, and run one by one."""
    ModelEndpoint.objects.update(input_price=1000, output_price=1000)
    budget: dict[str, Any] = {"budget_tokens": BUDGET} if unit == "tokens" else {"budget_usd": BUDGET // 1000}
    swarm = hundred(world, **budget)
    calls = ModelCall.objects.count()
    spent = {"tokens": Decimal(swarm.tokens), "usd": swarm.cost_usd * 1000}[unit]
    assert spent == calls * TOKENS
    assert BUDGET - TOKENS < spent <= BUDGET + TOKENS
    assert (swarm.status, swarm.stopped_by) == ("paused", "swarm")
    assert (swarm.reserved_tokens, swarm.reserved_usd) == (0, 0)
    assert calls == world.service.total, "every call that was made was booked"
    paused = Event.objects.get(kind="swarm.paused")
    assert not ModelCall.objects.filter(at__gt=paused.at).exists()
    assert set(Attempt.objects.values_list("status", flat=True)) == {"cancelled"}
    assert set(Subtask.objects.values_list("status", flat=True)) == {"pending"}, "they are tried again when it goes on"
    dispatch(swarm.pk)
    assert world.service.total == calls
    assert Attempt.objects.count() == MANY


@pytest.mark.any_database
def test_time_is_over_for_all_of_them_at_once(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        stage, "config_of", lambda swarm: config_of(swarm).model_copy(update={"subagent_timeout_secs": 3.0})
    )
    monkeypatch.setattr(Busybodies, "__call__", lambda *_: Answer(text="...", held="for ever"))
    hundred(world)
    assert reasons() == {"The time limit of 3 s is used up."}
    assert set(Attempt.objects.values_list("status", flat=True)) == {"timed_out"}
    world.service.wait_for(lambda: world.service.in_flight == 0)
