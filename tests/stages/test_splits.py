"""Splits that an agent proposes, names that are given twice at once, and what people do to a split subtask."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.demo.service import Answer
from orchestration.domain.events import Stage
from orchestration.models import Handoff, PlanIteration, Subtask
from orchestration.stages import handoff as handing_off
from orchestration.stages import subplan as stage
from orchestration.stages.dispatch import dispatch
from orchestration.stages.execute import execute
from orchestration.stages.steer import cancel_subtask, retry_subtask
from orchestration.stages.subplan import subplan
from tests import factories
from tests.stages.office import PARTS, Office, again, big, put_by
from tests.stages.world import Nudges, World, call, hand_off, says, task, write


@pytest.fixture
def model() -> Office:
    return Office()


# A split that an agent proposes.


def proposes(*parts: dict[str, Any], status: str = "partial") -> Answer:
    return hand_off(status, "Too much for one.", split=list(parts))


HALVES = (task("one-a", scope=["shop/sessions/a.txt"]), task("one-b", "one-a", scope=["shop/sessions/b.txt"]))


@pytest.mark.parametrize("status", ["partial", "blocked", "complete"])
def test_a_split_that_an_agent_proposes_becomes_a_subplan(world: World, model: Office, nudges: Nudges, status: str):
    model.workers["one"] = [proposes(*HALVES, status=status)]
    swarm = world.running()
    attempt = world.assigned(swarm)
    nudges(Stage.EXECUTE, attempt.pk)
    nudges.run()
    row = again(attempt.subtask)
    assert (again(attempt).status, row.status, again(swarm).status) == ("partial", "complete", "succeeded")
    assert attempt.handoff.summary == "Too much for one."
    parts = list(row.children.order_by("pk"))
    assert [(one.name, one.status, one.depth) for one in parts] == [("one-a", "complete", 1), ("one-b", "complete", 1)]
    assert world.clone.git("show", f"{swarm.branch}:one-b.txt") == "by one-b"
    assert Handoff.objects.get(parent=row).status == "complete"
    assert PlanIteration.objects.get(parent=row).scratchpad == "Proposed by its agent: Too much for one."


def test_what_it_changed_already_lands_before_its_parts_begin(world: World, model: Office, nudges: Nudges):
    model.workers["one"] = [write("shop/sessions/base.txt", "base\n"), proposes(*HALVES)]
    model.workers["one-a"] = [says(call("read_file", path="shop/sessions/base.txt")), *put_by("a", "a.txt")]
    swarm = world.running()
    attempt = world.assigned(swarm)
    nudges(Stage.EXECUTE, attempt.pk)
    nudges.run_one(nudges.take()[-1])
    dispatch(swarm.pk)
    part = Subtask.objects.get(name="one-a")
    assert (part.status, part.wait_reason) == ("pending", "Waits for the change of one itself.")
    nudges(Stage.MERGE, swarm.pk)
    nudges.run()
    read = [one for one in world.service.requests if one.subtask == "one-a"][1]
    assert read.last_text.endswith("base")
    row = again(attempt.subtask)
    assert row.status == "complete"
    assert row.aggregates.get().files_changed == ["a.txt", "one-b.txt", "shop/sessions/base.txt"]


def test_what_does_not_hold_by_itself_is_kept_and_does_not_land(world: World, model: Office, nudges: Nudges):
    model.workers["one"] = [write("half.txt", "half\n"), proposes(*HALVES)]
    swarm = world.running()
    attempt = world.assigned(swarm, acceptance_checks=["test -f whole.txt"])
    nudges(Stage.EXECUTE, attempt.pk)
    nudges.run()
    whole = again(attempt.subtask).aggregates.get()
    assert again(attempt).head_sha != attempt.base_sha
    assert "half.txt" not in world.clone.git("ls-tree", "-r", "--name-only", swarm.branch)
    assert whole.concerns[0].startswith("one: its own unfinished change was not verified and did not land")
    assert attempt.head_sha[:12] in whole.concerns[0]


@pytest.mark.parametrize(
    ("parts", "depth", "sentence"),
    [
        ((task("one"),), 0, "The name 'one' is taken"),
        ((task("x", scope=["elsewhere/**"]),), 0, "lies outside that of 'one'"),
        (tuple(task(f"x{n}") for n in range(11)), 0, "at most 10 at once"),
        (HALVES, 3, "may not be split"),
    ],
    ids=["name", "scope", "count", "depth"],
)
def test_a_split_that_cannot_be_used_is_sent_back(
    world: World, model: Office, parts: tuple[dict[str, Any], ...], depth: int, sentence: str
):
    model.workers["one"] = [proposes(*parts)]
    attempt = world.assigned(world.running(), depth=depth, scope=["shop/sessions/**"])
    execute(attempt.pk)
    told = [one for one in world.service.requests if one.subtask == "one"]
    assert len(told) == 3
    assert sentence in told[1].last_text
    assert (again(attempt).status, again(attempt.subtask).status) == ("partial", "failed")
    assert "Its split could not be followed" in attempt.status_reason
    assert not attempt.subtask.children.exists()


# A name that two plans give at the same moment.


def test_a_name_that_is_taken_in_the_same_moment_costs_another_answer(
    world: World, model: Office, monkeypatch: pytest.MonkeyPatch
):
    model.parts["big"] = [PARTS]
    swarm = world.running()
    row = big(swarm, status="waiting")
    real = stage.iterate.ask

    def slow(*args: Any) -> Any:
        answer = real(*args)
        factories.make_subtask(swarm, name="big-a")
        return answer

    monkeypatch.setattr(stage.iterate, "ask", slow)
    subplan(row.pk)
    assert again(row).status == "waiting"
    assert "given to another subtask in the same moment" in row.status_reason
    assert PlanIteration.objects.get(parent=row).status == "failed"
    assert not row.children.exists()


def test_so_does_one_that_an_agent_proposes(world: World, model: Office, monkeypatch: pytest.MonkeyPatch):
    model.workers["one"] = [proposes(*HALVES)]
    swarm = world.running()
    attempt = world.assigned(swarm)
    real = handing_off._settle

    def slow(*args: Any) -> Any:
        monkeypatch.setattr(handing_off, "_settle", real)
        factories.make_subtask(swarm, name="one-a")
        return real(*args)

    monkeypatch.setattr(handing_off, "_settle", slow)
    execute(attempt.pk)
    assert (again(attempt).status, again(attempt.subtask).status) == ("partial", "failed")


# People.


def test_a_whole_that_is_cancelled_takes_its_parts_with_it(world: World):
    swarm = world.running()
    row = big(swarm, status="waiting")
    middle = factories.make_subtask(swarm, parent=row, status="waiting", depth=1)
    rows = [factories.make_subtask(swarm, parent=middle, status=one, depth=2) for one in ("pending", "running")]
    done = factories.make_subtask(swarm, parent=row, status="complete", depth=1)
    attempt = factories.make_attempt(rows[1])
    iteration = factories.make_iteration(swarm, parent=middle, status="running")
    entry = world.queued(swarm, "flying", {"f.txt": "f\n"})
    Subtask.objects.filter(pk=entry.subtask_id).update(parent=row)
    beside = factories.make_subtask(swarm, status="running")
    cancel_subtask(row, world.ada)
    for one in (row, middle, *rows, attempt, entry, entry.subtask):
        assert again(one).status == "cancelled"
    assert again(iteration).status == "failed"
    assert (again(done).status, again(beside).status) == ("complete", "running")


def test_a_whole_that_is_tried_again_tries_what_failed_of_it(world: World, model: Office, nudges: Nudges):
    swarm = world.running()
    row = big(swarm, status="failed")
    factories.make_iteration(swarm, parent=row, planner_said_done=True)
    done = factories.make_subtask(swarm, parent=row, status="complete")
    failed = factories.make_subtask(swarm, parent=row, name="part", status="failed", acceptance_checks=[])
    after = factories.make_subtask(swarm, needs=[row], status="blocked", acceptance_checks=[])
    retry_subtask(row, world.ada)
    nudges.run()
    assert {again(one).status for one in (row, done, failed, after)} == {"complete"}
    assert row.attempts.count() == 0


def test_a_part_that_is_tried_again_reopens_the_whole(world: World, model: Office, nudges: Nudges):
    swarm = world.running()
    row = big(swarm, status="failed")
    middle = factories.make_subtask(swarm, parent=row, status="failed", depth=1)
    for one in (row, middle):
        factories.make_iteration(swarm, parent=one, planner_said_done=True)
    failed = factories.make_subtask(swarm, parent=middle, name="part", status="failed", depth=2, acceptance_checks=[])
    after = factories.make_subtask(swarm, needs=[row], status="blocked", acceptance_checks=[])
    retry_subtask(failed, world.ada)
    nudges.run()
    assert {again(one).status for one in (row, middle, failed, after)} == {"complete"}
    assert (row.aggregates.count(), middle.aggregates.count()) == (1, 1)
