"""Planning: when it is due, what a plan becomes, and that one asks at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from orchestration.demo.service import Answer
from orchestration.domain.events import Stage
from orchestration.models import Event, Handoff, ModelCall, PlanIteration, Subtask, Swarm
from orchestration.stages import plan as stage
from orchestration.stages.plan import plan
from orchestration.stages.steer import pause, resume
from tests import factories
from tests.stages.world import Model, Nudges, World, at_once, hand_offs, planned, says, statuses, task


def again(swarm: Swarm) -> Swarm:
    swarm.refresh_from_db()
    return swarm


def kinds(swarm: Swarm) -> list[str]:
    return list(Event.objects.filter(swarm=swarm).values_list("kind", flat=True))


SLOW: dict[str, Any] = {"max_retries": 0, "base_delay_ms": 60_000, "max_delay_ms": 3_600_000}


def due_now(swarm: Swarm) -> None:
    """As if the wait after a failure were over."""
    Swarm.objects.filter(pk=swarm.pk).update(plan_not_before=timezone.now() - timedelta(seconds=1))


def test_the_first_plan_becomes_subtasks(world: World, model: Model, nudges: Nudges):
    model.plans = [
        planned(
            task("top", "left", "right", priority=1),
            task("left", "base", scope=["src/**"], acceptance_checks=["true"], kind="verify"),
            task("right", "base", "base"),
            task("base", instruction="Lay it.", acceptance="It lies.", specialty="masonry"),
            scratchpad="Bottom up.",
        )
    ]
    swarm = world.submit()
    plan(swarm.pk)
    assert (again(swarm).status, swarm.planning_done) == ("running", True)
    rows = {row.name: row for row in Subtask.objects.all()}
    assert {name: row.level for name, row in rows.items()} == {"base": 0, "left": 1, "right": 1, "top": 2}
    needs = {name: sorted(one.name for one in row.dependencies.all()) for name, row in rows.items()}
    assert needs == {"base": [], "left": ["base"], "right": ["base"], "top": ["left", "right"]}
    assert (rows["base"].instruction, rows["base"].acceptance, rows["base"].specialty) == (
        "Lay it.",
        "It lies.",
        "masonry",
    )
    assert (rows["left"].scope, rows["left"].acceptance_checks, rows["left"].kind) == (["src/**"], ["true"], "verify")
    assert rows["top"].priority == 1
    assert set(statuses(swarm).values()) == {"pending"}
    iteration = PlanIteration.objects.get()
    assert (iteration.status, iteration.scratchpad, iteration.planner_said_done) == ("done", "Bottom up.", True)
    assert {(Stage.DISPATCH, swarm.pk), (Stage.PLAN, swarm.pk)} <= set(nudges.take())


def test_the_planner_hears_the_request_and_sees_the_repository(world: World):
    world.clone.commit({"AGENTS.md": "Use tabs.\n"})
    swarm = world.submit("Sort the shelves.\nAll of them.")
    plan(swarm.pk)
    request = world.service.requests[0]
    assert request.first_text.startswith(f"swarm: {swarm.public_id}\n")
    assert "Sort the shelves.\nAll of them." in request.first_text
    assert "src/b.py" in request.first_text
    assert "Use tabs." in request.first_text
    assert request.closing == "submit_plan"
    assert set(request.tools) == {"submit_plan", "list_files", "read_file", "grep", "git_log"}


def test_the_planner_may_look_first_and_every_call_is_booked(world: World, model: Model):
    looks = [says(("read_file", {"path": "a.txt"}), ("git_log", {})), says(("read_file", {"path": "../x"}))]
    model.plans = [*looks, planned(task("one"))]
    swarm = world.submit()
    plan(swarm.pk)
    told = [message["content"] for message in world.service.requests[-1].messages if message["role"] == "tool"]
    assert told[0] == "one\ntwo\nthree"
    assert "User: first" in told[1]
    assert told[2].startswith("Error: ")
    iteration = PlanIteration.objects.get()
    calls = ModelCall.objects.filter(swarm=swarm, purpose="planner", attempt=None)
    assert calls.count() == iteration.steps == 3
    spent = sum(call.input_tokens + call.output_tokens for call in calls)
    assert spent == iteration.tokens == again(swarm).tokens > 0
    assert iteration.tool_calls == again(swarm).tool_calls == 3, "its looks, not the plan"


def test_a_planners_looks_never_pass_the_swarms_limit_of_tool_calls(world: World, model: Model):
    look = ("read_file", {"path": "a.txt"})
    model.plans = [says(look, look), says(look, look), planned(task("one"))]
    swarm = world.submit(max_total_steps=3)
    plan(swarm.pk)
    assert (world.service.total, again(swarm).tool_calls) == (2, 2), "of two that do not both fit none is made"
    assert (swarm.status, swarm.status_reason) == ("failed", "The swarm's limit of 3 tool calls is used up.")


def test_of_a_large_repository_every_directory_is_seen(world: World):
    files: dict[str, str | bytes | None] = {f"lib/package_{n // 40:02}/m{n:04}.py": "x\n" for n in range(1271)}
    world.clone.commit(files)
    plan(world.submit().pk)
    told = world.service.requests[0].first_text
    for package in range(32):
        assert f"lib/package_{package:02}/" in told
    assert "lib/package_05/ (40 files)" in told or "lib/package_05/m0200.py" in told
    assert "src/b.py" in told
    assert told.count("\nlib/") <= 600


def test_a_swarm_that_waits_for_approval_starts_nothing(world: World, nudges: Nudges):
    swarm = world.submit(plan_approval=True)
    nudges.run()
    assert (again(swarm).status, statuses(swarm)) == ("awaiting_approval", {"one": "pending"})


def test_a_plan_that_came_while_it_was_paused_waits_for_approval_all_the_same(world: World, model: Model):
    model.plans = [replace(planned(task("one")), held="plan")]
    swarm = world.submit(plan_approval=True)

    def meanwhile() -> None:
        world.service.wait_for(lambda: world.service.in_flight == 1)
        pause(Swarm.objects.get(pk=swarm.pk), world.ada)
        world.service.release("plan")

    assert at_once(lambda: plan(swarm.pk), meanwhile) == [None, None]
    assert (again(swarm).status, statuses(swarm)) == ("paused", {"one": "pending"})
    resume(swarm, world.ada)
    assert again(swarm).status == "awaiting_approval"


# Again.


@pytest.mark.parametrize(("handoffs", "due"), [(2, False), (3, True)])
def test_it_plans_again_after_three_handoffs(world: World, model: Model, handoffs: int, due: bool):
    swarm = world.running(done=False)
    factories.make_subtask(swarm, name="busy", status="running")
    hand_offs(swarm, handoffs)
    model.plans = [planned(task("next", "busy"), done=False)]
    plan(swarm.pk)
    assert ("next" in statuses(swarm)) is due
    assert world.service.total == due


def test_the_planner_is_told_what_is_new_and_only_that(world: World, model: Model):
    swarm = world.running(done=False)
    hand_offs(swarm, 3)
    old = Handoff.objects.order_by("pk").first()
    assert old
    factories.make_iteration(swarm, handoffs_seen=1, scratchpad="Halfway there.")
    model.plans = [planned(task("next"))]
    plan(swarm.pk)
    text = world.service.requests[0].first_text
    assert "Halfway there." in text
    assert old.summary not in text
    for handoff in Handoff.objects.exclude(pk=old.pk):
        assert handoff.summary in text
    assert "It creaks." in text
    last = PlanIteration.objects.filter(swarm=swarm).last()
    assert last
    assert last.handoffs_seen == 3


def test_with_nothing_active_it_plans_at_once(world: World, model: Model):
    swarm = world.running(done=False)
    hand_offs(swarm, 1, status="failed")
    model.plans = [planned(task("mend"))]
    plan(swarm.pk)
    assert statuses(swarm)["mend"] == "pending"


@pytest.mark.parametrize("why", ["done", "no room", "paused", "finalizing", "cancelled", "too early"])
def test_no_planner_is_asked_when(world: World, why: str):
    swarm = world.running(done=why == "done", max_subagents=1)
    hand_offs(swarm, 5)
    if why == "no room":
        factories.make_attempt(factories.make_subtask(swarm, status="running"), status="running")
    if why in {"paused", "finalizing", "cancelled"}:
        Swarm.objects.update(status=why, finished_at=timezone.now())
    if why == "too early":
        Swarm.objects.update(plan_not_before=timezone.now() + timedelta(hours=1))
    before = kinds(swarm)
    plan(swarm.pk)
    assert world.service.total == 0
    assert kinds(swarm) == before


def test_a_later_plan_stands_on_earlier_subtasks(world: World, model: Model):
    swarm = world.running(done=False)
    earlier = factories.make_subtask(swarm, name="earlier", status="running", level=2)
    hand_offs(swarm, 3)
    model.plans = [planned(task("next", "earlier"), task("after", "next"))]
    plan(swarm.pk)
    assert list(Subtask.objects.get(name="next").dependencies.all()) == [earlier]
    assert (Subtask.objects.get(name="next").level, Subtask.objects.get(name="after").level) == (3, 4)


# An answer that cannot be used.


UNUSABLE: list[tuple[Answer, str]] = [
    (planned(task("a", "b"), task("b", "a")), "The dependencies go in a circle"),
    (planned(task("a", "ghost")), "'a' depends on 'ghost', which is no task."),
    (planned(task("a"), task("a")), "The name 'a' occurs twice."),
    (planned(task("a", scope=["../x"])), "leaves the repository"),
    (planned(*(task(f"t{n}") for n in range(10_000))), "The plan has 10000 tasks; at most 300 are taken at once."),
    (Answer(text="I would first look around, then sort everything."), "no call of submit_plan"),
    (planned(), "The plan has no tasks"),
    (says(("submit_plan", '{"tasks": [')), "not valid JSON"),
    (says(("submit_plan", {"tasks": [{"name": "a"}]})), "tasks.0.instruction is missing."),
]


@pytest.mark.parametrize(("answer", "told"), UNUSABLE, ids=[said for _, said in UNUSABLE])
@pytest.mark.any_database
def test_a_plan_that_cannot_be_used_is_repaired_once(world: World, model: Model, answer: Answer, told: str):
    model.plans = [answer, planned(task("good"))]
    swarm = world.submit()
    plan(swarm.pk)
    assert statuses(swarm) == {"good": "pending"}
    assert told in world.service.requests[1].last_text
    iteration = PlanIteration.objects.get()
    assert iteration.repaired
    assert told in " ".join(iteration.problems)


def test_a_first_plan_that_is_unusable_twice_becomes_one_subtask(world: World, model: Model):
    model.plans = [Answer(text="No."), Answer(text="Still no.")]
    swarm = world.submit("Sort the shelves.")
    plan(swarm.pk)
    assert (again(swarm).status, swarm.planning_done) == ("running", True)
    assert Subtask.objects.get().instruction == "Sort the shelves."
    iteration = PlanIteration.objects.get()
    assert iteration.problems == ["The answer is no call of submit_plan and contains no JSON object."]
    assert world.service.total == 2


def test_a_later_one_that_is_unusable_twice_is_a_failure_and_tried_again(world: World, model: Model):
    swarm = world.running(done=False, **SLOW)
    hand_offs(swarm, 3)
    model.plans = [Answer(text="No."), Answer(text="No."), planned(task("next"))]
    plan(swarm.pk)
    assert (again(swarm).plan_failures, swarm.planning_done, swarm.status) == (1, False, "running")
    assert swarm.status_reason == (
        "The planner failed: The answer is no call of submit_plan and contains no JSON object."
    ), "what was wrong twice is said once"
    plan(swarm.pk)
    assert world.service.total == 2, "it waits first"
    due_now(swarm)
    plan(swarm.pk)
    assert statuses(swarm)["next"] == "pending"
    assert (again(swarm).plan_failures, swarm.plan_not_before, swarm.status_reason) == (0, None, "")


# At most one at once.


def test_of_two_planners_at_once_one_asks(world: World, model: Model):
    model.plans = [replace(planned(task("one")), held="plan")]
    swarm = world.submit()

    def meanwhile() -> None:
        world.service.wait_for(lambda: world.service.in_flight == 1)
        for _ in range(3):
            plan(swarm.pk)
        world.service.release("plan")

    assert at_once(lambda: plan(swarm.pk), lambda: plan(swarm.pk), meanwhile) == [None] * 3
    assert world.service.total == 1
    assert statuses(swarm) == {"one": "pending"}
    assert PlanIteration.objects.count() == 1


def test_one_that_was_due_when_it_looked_and_is_not_any_more_asks_nobody(
    world: World, model: Model, monkeypatch: pytest.MonkeyPatch
):
    """Another one's whole iteration fits between the look and the claim."""
    swarm = world.submit()
    real = stage._at_limit

    def slow(row: Swarm) -> bool:
        monkeypatch.setattr(stage, "_at_limit", real)
        plan(swarm.pk)
        return False

    monkeypatch.setattr(stage, "_at_limit", slow)
    plan(swarm.pk)
    assert world.service.total == 1
    assert kinds(swarm).count("plan.running") == 1
