"""Subtasks that are split: who plans the parts, when, what becomes of them, and what the whole reports."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestration.demo.service import Answer
from orchestration.domain.events import Stage
from orchestration.domain.retries import MAX_LOST
from orchestration.domain.subplans import MAX_CHILDREN
from orchestration.models import Attempt, Handoff, PlanIteration, Subtask, Swarm
from orchestration.stages.dispatch import dispatch
from orchestration.stages.subplan import subplan
from orchestration.stages.tick import tick
from tests import factories
from tests.stages.office import FOUR, PARTS, Office, again, big, put_by
from tests.stages.world import Nudges, World, at_once, hand_off, planned, statuses, task, write


@pytest.fixture
def model() -> Office:
    return Office()


# Who is split.


@pytest.mark.parametrize(
    ("fields", "split"),
    [
        ({}, True),
        ({"scope": FOUR[:3]}, False),
        ({"scope": FOUR[:3], "decompose": True}, True),
        ({"scope": [], "decompose": True}, True),
        ({"scope": [FOUR[0]] * 4}, False),
        ({"kind": "verify"}, False),
        ({"depth": 2}, True),
        ({"depth": 3}, False),
        ({"depth": 3, "decompose": True}, False),
    ],
    ids=str,
)
def test_what_has_many_places_or_is_marked_is_split_instead_of_run(world: World, fields: dict[str, Any], split: bool):
    swarm = world.running()
    row = big(swarm, **fields)
    dispatch(swarm.pk)
    assert again(row).status == ("waiting" if split else "assigned")
    assert Attempt.objects.exists() is not split


def test_where_the_strategy_is_not_to_split_nothing_is(world: World):
    swarm = world.running(strategy="none")
    row = big(swarm, decompose=True)
    dispatch(swarm.pk)
    assert again(row).status == "assigned"


def test_it_waits_for_what_it_needs_first(world: World):
    swarm = world.running()
    row = big(swarm, needs=[factories.make_subtask(swarm, status="running")])
    dispatch(swarm.pk)
    assert again(row).status == "pending"


def test_it_holds_no_place_while_its_parts_run(world: World, model: Office, nudges: Nudges):
    """With one place for all, it would wait for its parts for ever."""
    model.parts["big"] = [PARTS]
    swarm = world.running(max_subagents=1)
    row = big(swarm)
    nudges(Stage.DISPATCH, swarm.pk)
    nudges.run()
    assert (again(row).status, again(swarm).status) == ("complete", "succeeded")
    assert set(statuses(swarm).values()) == {"complete"}


# What the subplanner is told, and what becomes of its answer.


def test_the_subplanner_knows_its_swarm_its_subtask_and_its_bounds(world: World, model: Office, nudges: Nudges):
    model.parts["big"] = [PARTS]
    swarm = world.running()
    row = big(swarm, instruction="Fill the big folder.\nAll of it.", acceptance="It is full.")
    nudges(Stage.DISPATCH, swarm.pk)
    nudges.run()
    request = model.heard["big"][0]
    assert request.first_text.startswith(
        f"swarm: {swarm.public_id}\nsubtask: big\n\nFill the big folder.\nAll of it.\n"
    )
    for told in ("It is full.", "big/c/**", swarm.request, "src/b.py"):
        assert told in request.first_text
    system = request.messages[0]["content"]
    assert f"At most {MAX_CHILDREN} parts" in system
    assert "big/c/**" in system
    assert set(request.tools) == {"submit_plan", "list_files", "read_file", "grep", "git_log"}
    parts = list(Subtask.objects.filter(parent=row).order_by("pk"))
    assert [(one.name, one.depth, one.level, one.iteration.parent) for one in parts] == [
        ("big-a", 1, 0, row),
        ("big-b", 1, 1, row),
    ]


def test_a_first_answer_without_tasks_means_that_one_agent_does_it(world: World, model: Office, nudges: Nudges):
    model.parts["big"] = [planned(scratchpad="One file really.")]
    model.workers["big"] = put_by("big", "big/a.txt")
    swarm = world.running()
    row = big(swarm)
    nudges(Stage.DISPATCH, swarm.pk)
    nudges.run()
    assert (again(row).status, row.attempts.count()) == ("complete", 1)
    assert not Subtask.objects.filter(parent=row).exists()
    assert len(model.heard["big"]) == 1
    assert Handoff.objects.get().attempt == row.attempts.get()


def test_so_does_an_answer_that_is_unusable_twice(world: World, model: Office, nudges: Nudges):
    model.parts["big"] = [Answer(text="No.")]
    model.workers["big"] = put_by("big", "big/a.txt")
    swarm = world.running()
    row = big(swarm)
    nudges(Stage.DISPATCH, swarm.pk)
    nudges.run()
    assert (again(row).status, row.attempts.count(), len(model.heard["big"])) == ("complete", 1, 2)
    (problem,) = PlanIteration.objects.get(parent=row).problems
    assert "contains no JSON object" in problem


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (planned(task("x", scope=["src/b.py"])), "The scope 'src/b.py' of 'x' lies outside that of 'big'."),
        (planned(task("x", scope=["big/c/d.txt"]), task("y", "other")), "which is no part of 'big'."),
        (planned(task("big")), "The name 'big' is taken"),
        (planned(*(task(f"p{n}") for n in range(11))), "at most 10 at once"),
    ],
    ids=["scope", "dependency", "name", "count"],
)
def test_a_subplan_that_cannot_be_used_is_sent_back(
    world: World, model: Office, nudges: Nudges, answer: Answer, sentence: str
):
    model.parts["big"] = [answer, PARTS]
    swarm = world.running()
    row = big(swarm)
    factories.make_subtask(swarm, name="other", status="complete")
    nudges(Stage.DISPATCH, swarm.pk)
    nudges.run()
    assert sentence in model.heard["big"][1].last_text
    assert [one.name for one in Subtask.objects.filter(parent=row)] == ["big-a", "big-b"]


def test_the_second_batch_is_planned_from_what_the_first_handed_off(world: World, model: Office, nudges: Nudges):
    first = planned(task("big-a", scope=["big/a.txt"]), done=False, scratchpad="Foundations first.")
    model.parts["big"] = [first, planned(task("big-b", "big-a", scope=["big/b.txt"]))]
    model.workers["big-a"] = [write("big/a.txt", "a\n"), hand_off(summary="The foundation stands on sand.")]
    swarm = world.running()
    row = big(swarm)
    nudges(Stage.DISPATCH, swarm.pk)
    nudges.run()
    told = model.heard["big"][1]
    assert "The foundation stands on sand." in told.last_text
    assert "- big-a: complete" in told.last_text
    assert told.messages[: len(model.heard["big"][0].messages)] == model.heard["big"][0].messages
    assert again(row).status == "complete"
    assert [one.name for one in Subtask.objects.filter(parent=row)] == ["big-a", "big-b"]


def test_while_a_batch_runs_its_subplanner_is_not_asked(world: World, model: Office):
    swarm = world.running()
    row = big(swarm, status="waiting")
    factories.make_iteration(swarm, parent=row)
    factories.make_subtask(swarm, parent=row, status="complete")
    factories.make_subtask(swarm, parent=row, status="running")
    subplan(row.pk)
    assert world.service.total == 0
    assert again(row).status == "waiting"


def test_the_planner_does_not_wait_while_parts_are_planned(world: World, model: Office, nudges: Nudges):
    """Two subplanners and their own planner at once, each with an iteration of its own."""
    held = [replace(PARTS, held="parts"), replace(planned(task("c", scope=["big/a.txt"])), held="parts")]
    model.parts = {"big": [held[0]], "vast": [held[1]]}
    swarm = world.running()
    rows = [big(swarm, status="waiting"), big(swarm, name="vast", status="waiting")]

    def meanwhile() -> None:
        world.service.wait_for(lambda: world.service.in_flight == 2)
        for row in rows:
            subplan(row.pk)
        world.service.release("parts")

    assert at_once(*(lambda row=row: subplan(row.pk) for row in rows), meanwhile) == [None] * 3
    assert world.service.total == 2
    assert set(statuses(swarm)) == {"big", "vast", "big-a", "big-b", "c"}


# The whole.


def test_the_whole_reports_the_sum_of_its_parts(world: World, model: Office, nudges: Nudges):
    model.parts["big"] = [PARTS]
    model.workers = {"big-a": put_by("big-a", "big/a.txt"), "big-b": put_by("big-b", "big/b.txt")}
    model.workers["big-b"][1] = hand_off(summary="Wrote b.", suggestions=["Paint it."])
    swarm = world.running()
    row = big(swarm)
    after = factories.make_subtask(swarm, name="after", needs=[row], scope=["after.txt"], acceptance_checks=[])
    nudges(Stage.DISPATCH, swarm.pk)
    nudges.run()
    whole = Handoff.objects.get(parent=row)
    assert (whole.attempt, whole.status, whole.subtask, whole.ending) == (None, "complete", row, "complete")
    assert whole.summary.splitlines() == [
        "Split into 2 parts; 2 of them are complete.",
        "- big-a (complete): Wrote big/a.txt.",
        "- big-b (complete): Wrote b.",
    ]
    assert (whole.concerns, whole.suggestions) == (["big-a: It creaks."], ["big-b: Paint it."])
    assert whole.files_changed == ["big/a.txt", "big/b.txt"]
    assert (whole.insertions, whole.deletions) == (2, 0)
    assert again(after).status == "complete"
    told = next(request for request in world.service.requests if request.subtask == "after")
    assert "Split into 2 parts" in told.first_text, "what builds on it sees what was handed off"
    assert again(swarm).status == "succeeded"


@pytest.mark.parametrize(
    ("ends", "status", "claim"),
    [(("complete", "failed"), "failed", "partial"), (("failed", "timed_out"), "failed", "failed")],
)
def test_what_is_missing_is_no_success(world: World, ends: tuple[str, str], status: str, claim: str):
    swarm = world.running()
    row = big(swarm, status="waiting")
    parts = [factories.make_subtask(swarm, parent=row, name=f"p{n}", status=end) for n, end in enumerate(ends)]
    factories.make_iteration(swarm, parent=row, planner_said_done=False)
    known = PlanIteration.objects.filter(parent=row)
    world.model.parts["big"] = [planned()]  # type: ignore[attr-defined]
    subplan(row.pk)
    assert known.count() == 2, "it is asked what to do about it"
    subplan(row.pk)
    assert again(row).status == status
    assert "did not complete" in row.status_reason
    assert all(part.name in row.status_reason for part in parts if part.status != "complete")
    assert Handoff.objects.get(parent=row).status == claim


def test_the_planner_hears_of_the_whole_and_not_of_its_parts(world: World, model: Office, nudges: Nudges):
    model.plans = [planned(task("big", scope=FOUR), done=False), planned()]
    model.parts["big"] = [PARTS]
    swarm = world.submit()
    nudges.run()
    last = world.service.requests[-1]
    assert not last.subtask
    assert "Split into 2 parts" in last.last_text
    assert "\nbig-a (complete)" not in last.last_text
    assert "- big-a: complete" not in last.last_text.split("Handed off")[0]
    assert again(swarm).status == "succeeded"


# Trouble.


def test_a_subplanner_that_is_down_is_asked_again_and_says_why_meanwhile(world: World, model: Office, nudges: Nudges):
    model.parts["big"] = [Answer(status=503, error={"message": "out to lunch"}), PARTS]
    swarm = world.running(base_delay_ms=60_000, max_delay_ms=60_000, max_retries=0)
    row = big(swarm, status="waiting")
    subplan(row.pk)
    assert again(row).status == "waiting"
    assert "out to lunch" in row.status_reason
    subplan(row.pk)
    assert len(model.heard["big"]) == 1, "it waits first"
    Subtask.objects.filter(pk=row.pk).update(not_before=None)
    subplan(row.pk)
    assert (again(row).status, row.status_reason) == ("waiting", "")
    assert row.children.count() == 2


@pytest.mark.parametrize("status", [401, 503])
def test_one_that_is_down_for_good_ends_the_subtask_with_the_reason(world: World, model: Office, status: int):
    model.parts["big"] = [Answer(status=status, error={"message": "out to lunch"})]
    swarm = world.running()
    row = big(swarm, status="waiting")
    for _ in range(12):
        subplan(row.pk)
    assert len(model.heard["big"]) == (1 if status == 401 else 10)
    assert again(row).status == "failed"
    assert "out to lunch" in row.status_reason
    assert Handoff.objects.get(parent=row).status == "failed"


def test_a_swarm_that_has_used_up_its_tool_calls_splits_nothing(world: World, model: Office):
    swarm = world.running(max_total_steps=5)
    Swarm.objects.update(tool_calls=6)
    row = big(swarm, status="waiting")
    subplan(row.pk)
    assert world.service.total == 0
    assert again(row).status == "failed"
    assert "limit of 5 tool calls is used up" in row.status_reason


def test_a_subplanner_that_takes_its_process_with_it_every_time_ends_with_its_subtask(world: World, model: Office):
    row = big(world.running(), status="waiting")
    for _ in range(MAX_LOST + 1):
        factories.make_iteration(row.swarm, parent=row, status="lost")
    subplan(row.pk)
    assert world.service.total == 0
    assert again(row).status == "failed"
    assert f"It was lost {MAX_LOST + 1} times" in row.status_reason


@pytest.mark.parametrize("status", ["paused", "cancelled"])
def test_nothing_is_asked_where_the_swarm_stands_still(world: World, status: str):
    swarm = world.running()
    row = big(swarm, status="waiting")
    Swarm.objects.update(status=status, finished_at=row.created_at)
    subplan(row.pk)
    assert world.service.total == 0


def test_the_tick_wakes_what_waits_for_its_parts(world: World, nudges: Nudges):
    row = big(world.running(), status="waiting")
    asks = big(row.swarm, name="asks", status="waiting")
    factories.make_attempt(asks, status="waiting")
    nudges.take()
    tick()
    assert [pk for stage, pk in nudges.all if stage is Stage.SUBPLAN] == [row.pk]
