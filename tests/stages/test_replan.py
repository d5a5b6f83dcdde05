"""A plan is changed while it runs: by whom, what is refused with which sentence, and that it counts at once."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from orchestration.domain.config import SwarmConfig
from orchestration.domain.conversation import ToolCall
from orchestration.domain.errors import AdapterError, InvalidInput
from orchestration.domain.events import Stage
from orchestration.models import Event, Subtask, Swarm
from orchestration.stages.dispatch import dispatch
from orchestration.stages.replan import (
    add_subtask,
    change_limits,
    edit_subtask,
)
from orchestration.stages.reporting import AttemptReport
from orchestration.stages.steer import resume
from tests import factories
from tests.stages.replies import reply
from tests.stages.world import Nudges, statuses, task


def swarm_with(*names: str, **config: Any) -> Swarm:
    swarm = factories.make_swarm(config=SwarmConfig(**config).model_dump(mode="json"), planning_done=True)
    for name in names:
        factories.make_subtask(swarm, name=name)
    return swarm


def again(row: Any) -> Any:
    row.refresh_from_db()
    return row


def named(name: str) -> Subtask:
    return Subtask.objects.get(name=name)


ACTS = {
    "edit": lambda swarm, person: edit_subtask(named("one"), person, priority=1),
    "add": lambda swarm, person: add_subtask(swarm, person, task("two")),
    "agents": lambda swarm, person: change_limits(swarm, person, max_subagents=2),
    "limits": lambda swarm, person: change_limits(swarm, person, deadline="2999-01-01T00:00:00Z"),
    "budget": lambda swarm, person: change_limits(swarm, person, budget_tokens=5),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_a_stranger_changes_nothing_and_a_member_wakes_dispatch(act: Any, nudges: Nudges):
    swarm = swarm_with("one")
    with pytest.raises(InvalidInput, match="Only members"):
        act(swarm, factories.make_user())
    assert not Event.objects.exists()
    act(swarm, swarm.requester)
    assert Event.objects.get(kind="swarm.steered").facts["by"] == swarm.requester.username
    assert (Stage.DISPATCH, swarm.pk) in nudges.take()


def test_a_pending_subtask_is_changed_in_all_its_parts():
    swarm = swarm_with("base", "one")
    changes = {
        "instruction": "Else.",
        "acceptance": "So.",
        "acceptance_checks": ["true"],
        "scope": ["src"],
        "priority": 2,
    }
    edit_subtask(named("one"), swarm.requester, **changes, dependencies=["base"])
    row = named("one")
    assert {name: getattr(row, name) for name in changes} == changes
    assert [one.name for one in row.dependencies.all()] == ["base"]
    assert Event.objects.get().facts["was"]["priority"] == 5


def test_with_its_dependencies_the_levels_of_all_behind_it_change():
    """Statistics are told by level, and the plan is drawn by it."""
    swarm = swarm_with("base", "one")
    top = factories.make_subtask(swarm, name="top", needs=[named("one")], level=1)
    factories.make_subtask(swarm, name="part", parent=top, level=1)
    edit_subtask(named("one"), swarm.requester, dependencies=["base"])
    levels = {row.name: row.level for row in Subtask.objects.all()}
    assert levels == {"base": 0, "one": 1, "top": 2, "part": 2}
    edit_subtask(named("one"), swarm.requester, dependencies=[])
    assert {row.name: row.level for row in Subtask.objects.all()} == {"base": 0, "one": 0, "top": 1, "part": 1}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"priority": 11}, "priority"),
        ({"instruction": ""}, "instruction"),
        ({"scope": ["../etc"]}, "leaves the repository"),
        ({"dependencies": ["nobody"]}, "which is no task"),
        ({"dependencies": ["top"]}, "in a circle"),
        ({"dependencies": ["one"]}, "in a circle"),
        ({"name": "new"}, "name cannot be changed"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(changes: dict[str, Any], sentence: str):
    swarm = swarm_with("one")
    factories.make_subtask(swarm, name="top", needs=[named("one")])
    with pytest.raises(InvalidInput, match=sentence):
        edit_subtask(named("one"), swarm.requester, **changes)
    assert not Event.objects.exists()


def test_what_has_begun_is_not_changed():
    swarm = swarm_with("one")
    dispatch(swarm.pk)
    with pytest.raises(InvalidInput, match="no longer pending"):
        edit_subtask(named("one"), swarm.requester, priority=1)
    assert named("one").priority == 5


def test_an_added_subtask_runs_like_a_planned_one():
    swarm = swarm_with("one")
    add_subtask(swarm, swarm.requester, task("two", "one"))
    assert statuses(swarm) == {"one": "pending", "two": "pending"}
    Subtask.objects.filter(name="one").update(status="complete")
    dispatch(swarm.pk)
    assert statuses(swarm)["two"] == "assigned"
    with pytest.raises(InvalidInput, match="is taken"):
        add_subtask(swarm, swarm.requester, task("two"))


def test_nothing_is_added_to_what_is_over():
    swarm = swarm_with()
    Swarm.objects.update(status="finalizing")
    with pytest.raises(InvalidInput, match="takes no more subtasks"):
        add_subtask(again(swarm), swarm.requester, task("two"))


def test_the_number_of_agents_counts_at_once():
    swarm = swarm_with("a", "b", "c", max_subagents=1)
    dispatch(swarm.pk)
    change_limits(swarm, swarm.requester, max_subagents=2)
    dispatch(swarm.pk)
    assert list(statuses(swarm).values()).count("assigned") == 2
    with pytest.raises(InvalidInput, match="max_subagents"):
        change_limits(swarm, swarm.requester, max_subagents=0)


def test_a_swarm_that_its_budget_stopped_goes_on_only_after_it_was_raised():
    swarm = swarm_with("one", budget_usd=1)
    Swarm.objects.update(cost_usd=1)
    dispatch(swarm.pk)
    with pytest.raises(InvalidInput, match=r"budget of \$1.00 is used up: \$1.00 spent. Raise it, then resume"):
        resume(again(swarm), swarm.requester)
    with pytest.raises(InvalidInput, match=r"\$1.00 are used already; give more than that"):
        change_limits(swarm, swarm.requester, budget_usd="0.5")
    change_limits(swarm, swarm.requester, budget_usd="1.5")
    assert again(swarm).status == "paused"
    resume(swarm, swarm.requester)
    dispatch(swarm.pk)
    assert (again(swarm).status, statuses(swarm)) == ("running", {"one": "assigned"})
    assert Decimal(swarm.config["budget_usd"]) == Decimal("1.5")


def test_every_limit_is_changed_at_once_and_the_log_says_from_what_to_what():
    swarm = swarm_with("one", budget_tokens=5000)
    later = timezone.now() + timedelta(hours=3)
    change_limits(swarm, swarm.requester, max_subagents=7, budget_usd="2.5", budget_tokens=None, deadline=later)
    config = SwarmConfig.model_validate(again(swarm).config)
    assert (config.max_subagents, config.budget_usd, config.budget_tokens) == (7, Decimal("2.5"), None)
    assert config.deadline == later
    facts = Event.objects.get(kind="swarm.steered").facts
    assert facts["text"] == (
        "Agents at once: 100 became 7. Budget in US dollars: none became $2.50. Budget in tokens: 5,000 became none. "
        f"Deadline: none became {later:%Y-%m-%d %H:%M} UTC."
    )
    assert facts["was"]["max_subagents"] == "100"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"strategy": "none"}, "strategy cannot be changed while a swarm runs"),
        ({"max_subagents": 0}, "max_subagents"),
        ({"max_subagents": 100}, "Nothing was changed"),
        ({"budget_usd": "1"}, r"Budget in US dollars: \$1.50 are used already; give more than that"),
        ({"budget_tokens": 400}, "Budget in tokens: 400 tokens are used already"),
        ({"max_total_steps": 8}, "Tool calls in all: 9 tool calls are used already"),
        ({"deadline": "2020-01-01T00:00:00Z"}, "has passed. Give a later one"),
        ({"deadline": "soon"}, "deadline"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(changes: dict[str, Any], sentence: str):
    swarm = swarm_with()
    Swarm.objects.update(cost_usd="1.5", tokens=400, tool_calls=9)
    with pytest.raises(InvalidInput, match=sentence):
        change_limits(again(swarm), swarm.requester, **changes)
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("changes", "goes_on"),
    [
        ({"budget_usd": 2}, True),
        ({"budget_usd": None}, True),
        ({"max_subagents": 7}, False),
        ({"budget_tokens": 10_000}, False),
    ],
    ids=str,
)
def test_only_more_money_frees_what_its_budget_stopped(changes: dict[str, Any], goes_on: bool):
    """Also where the budget was not spent up, and only the next call did not fit."""
    swarm = swarm_with(budget_usd=1)
    Swarm.objects.update(cost_usd="0.9", status="paused", resume_to="running", stopped_by="swarm")
    change_limits(again(swarm), swarm.requester, **changes)
    assert again(swarm).status == "paused"
    if goes_on:
        resume(swarm, swarm.requester)
    else:
        with pytest.raises(InvalidInput, match="Raise it"):
            resume(swarm, swarm.requester)


def test_a_deadline_that_is_put_off_lets_new_subtasks_begin():
    swarm = swarm_with("one", deadline=timezone.now() + timedelta(minutes=1))
    past = (timezone.now() - timedelta(minutes=1)).isoformat()
    Swarm.objects.update(config=swarm.config | {"deadline": past})
    change_limits(again(swarm), swarm.requester, deadline=timezone.now() + timedelta(hours=1))
    dispatch(swarm.pk)
    assert statuses(swarm) == {"one": "assigned"}


def test_tool_calls_that_are_granted_later_are_there_for_an_attempt_that_runs():
    swarm = swarm_with(max_total_steps=3)
    attempt = factories.make_attempt(factories.make_subtask(swarm, status="running"), tool_calls=0)
    report = AttemptReport(swarm, attempt, 3)
    calls = tuple(ToolCall(str(number), "bash", "{}") for number in range(2))
    report.turn(reply(tool_calls=calls))
    change_limits(again(swarm), swarm.requester, max_total_steps=4)
    report.turn(reply(tool_calls=calls))
    assert again(swarm).tool_calls == again(attempt).tool_calls == 4
    with pytest.raises(AdapterError, match="is used up"):
        report.turn(reply(tool_calls=calls))
    assert again(swarm).tool_calls == 4
