"""Nobody is nudged where surely nothing is due; everybody is where something may be, by the event and by the tick."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import hypothesis
import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from orchestration.domain.events import Stage
from orchestration.domain.states import DeliveryStatus, SubtaskStatus
from orchestration.models import Delivery, Message, Subtask, Swarm
from orchestration.stages import plan
from orchestration.stages.due import PLANS_IN, may_be_due, to_plan
from orchestration.stages.standing import HEARD_OF, owes_a_last_word
from orchestration.stages.tick import tick
from orchestration.stages.transition import moves, note
from tests import factories
from tests.stages.world import Nudges


@pytest.fixture
def swarm() -> Swarm:
    """Its planner said done, and two subtasks are under way."""
    made = factories.make_swarm(status="running", planning_done=True)
    for name in ("one", "two"):
        factories.make_subtask(made, name=name, status="handed_off")
    return made


def complete(swarm: Swarm, name: str, nudges: Nudges) -> set[Stage]:
    """The stages that are nudged by it."""
    nudges.take()
    with moves(swarm) as together:
        together.advance(swarm.subtasks.get(name=name), SubtaskStatus.COMPLETE)
    return {stage for stage, row in nudges.take() if row == swarm.pk}


def asked_by_the_tick(nudges: Nudges) -> set[Stage]:
    nudges.take()
    tick()
    return {stage for stage, _ in nudges.take()}


def say(swarm: Swarm, **fields: object) -> None:
    message = Message.objects.create(swarm=swarm, text="Mind the gap.")
    Delivery.objects.create(message=message, **fields)


def test_a_planner_that_is_done_is_asked_when_nothing_is_active_any_more(swarm: Swarm, nudges: Nudges):
    assert complete(swarm, "one", nudges) == {Stage.DISPATCH}
    assert asked_by_the_tick(nudges) == {Stage.DISPATCH}
    assert complete(swarm, "two", nudges) == {Stage.DISPATCH, Stage.PLAN}
    assert asked_by_the_tick(nudges) == {Stage.DISPATCH, Stage.PLAN}


def test_parts_of_a_subtask_do_not_keep_it_from_that(swarm: Swarm, nudges: Nudges):
    """They are their subplanner's."""
    factories.make_subtask(swarm, name="part", status="running", parent=swarm.subtasks.get(name="one"))
    assert complete(swarm, "one", nudges) == {Stage.DISPATCH}
    assert complete(swarm, "two", nudges) == {Stage.DISPATCH, Stage.PLAN}


def test_one_that_is_not_done_is_asked_after_each(swarm: Swarm, nudges: Nudges):
    Swarm.objects.update(planning_done=False)
    assert complete(swarm, "one", nudges) == {Stage.DISPATCH, Stage.PLAN}, "the row counts, not what was read before"
    assert asked_by_the_tick(nudges) == {Stage.DISPATCH, Stage.PLAN}


@pytest.mark.parametrize(
    ("iteration", "status", "asked"),
    [("", "waiting", True), ("failed", "delivered", True), ("done", "delivered", False), ("", "expired", False)],
)
def test_one_that_is_done_is_asked_until_it_heard_what_was_said(
    swarm: Swarm, nudges: Nudges, iteration: str, status: str, asked: bool
):
    heard_by = factories.make_iteration(swarm, status=iteration) if iteration else None
    say(swarm, status=status, iteration=heard_by)
    say(swarm, subtask=swarm.subtasks.get(name="one"))  # and what was said to others counts for nothing
    wanted = {Stage.DISPATCH, Stage.PLAN} if asked else {Stage.DISPATCH}
    assert complete(swarm, "two", nudges) == wanted
    assert asked_by_the_tick(nudges) == wanted


def forecasts_nudged(swarm: Swarm, nudges: Nudges) -> bool:
    nudges.take()
    note(swarm, "merge_entry.landed")
    return (Stage.FORECAST, swarm.pk) in nudges.take()


def test_a_landing_asks_for_a_forecast_where_one_may_begin(swarm: Swarm, nudges: Nudges, settings: Settings):
    factories.make_attempt(swarm.subtasks.get(name="one"), status="running")
    for ago, wanted in ((None, True), (1, False), (60, True)):
        began = None if ago is None else timezone.now() - timedelta(seconds=ago)
        Swarm.objects.update(forecast_at=began)
        swarm.refresh_from_db()
        settings.SWARM = settings.SWARM | {"FORECAST_SECONDS": 30}
        assert forecasts_nudged(swarm, nudges) is wanted
        assert (Stage.FORECAST in asked_by_the_tick(nudges)) is wanted
        settings.SWARM = settings.SWARM | {"FORECAST_SECONDS": 0}
        assert not forecasts_nudged(swarm, nudges)
        assert Stage.FORECAST not in asked_by_the_tick(nudges)


# What is asked about is met often enough: a planner that said done, and work that ended badly.
STATUSES = st.sampled_from((*HEARD_OF, *SubtaskStatus))
ROWS = st.fixed_dictionaries(
    {
        "swarm": st.fixed_dictionaries(
            {
                "planning_done": st.sampled_from((True, True, True, False)),
                "status": st.sampled_from(("running", "running", "running", "planning", "paused")),
                "planning_error": st.sampled_from(("", "", "", "The model is gone.")),
            }
        ),
        "last": st.fixed_dictionaries(
            {
                "status": st.sampled_from(("done", "done", "failed", "lost")),
                "planner_said_done": st.sampled_from((True, True, False)),
            }
        ),
        "subtasks": st.lists(st.tuples(STATUSES, st.booleans()), min_size=1, max_size=3),
        "said": st.lists(st.tuples(st.sampled_from(DeliveryStatus), st.booleans(), st.booleans()), max_size=2),
    }
)


@given(rows=ROWS)
@hypothesis.settings(max_examples=120)
def test_whoever_is_to_plan_is_asked_to(rows: dict[str, Any]):
    with transaction.atomic():
        swarm = made_of(rows)
        asked = to_plan().filter(pk=swarm.pk).exists()
        assert may_be_due(Stage.PLAN, swarm) == (asked or not swarm.planning_done)
        if plan._is_due(swarm):
            assert asked
        if owes_a_last_word(swarm) and swarm.status in PLANS_IN:
            assert asked, "nothing else would bring the swarm to its end"
        transaction.set_rollback(True)


def made_of(rows: dict[str, Any]) -> Swarm:
    swarm = factories.make_swarm(**rows["swarm"])
    last = factories.make_iteration(swarm, **rows["last"])
    made: list[Subtask] = []
    for status, is_part in rows["subtasks"]:
        made.append(factories.make_subtask(swarm, status=status, parent=made[0] if is_part and made else None))
    for status, was_heard, to_planner in rows["said"]:
        say(swarm, status=status, iteration=last if was_heard else None, subtask=None if to_planner else made[0])
    return swarm
