"""A planner that is asked again: what it is sent and can still see, when its word is the last, how it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import Any

import orjson
import pytest

from orchestration.demo.service import Answer, Request
from orchestration.domain import context
from orchestration.domain.events import Stage
from orchestration.models import PlanIteration, Subtask, Swarm
from orchestration.stages.dispatch import dispatch
from orchestration.stages.plan import plan
from tests import factories
from tests.stages.world import Model, Nudges, World, hand_offs, planned, statuses, task


def again(row: Any) -> Any:
    row.refresh_from_db()
    return row


def sent(request: Request) -> str:
    """Byte for byte as it was sent, tools and all."""
    return orjson.dumps(request.body).decode()


def beyond_common_prefix(earlier: Request, later: Request) -> int:
    """Characters that a provider's prompt cache has not seen."""
    old, new = sent(earlier), sent(later)
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
    return len(new) - common


def calls_match(messages: tuple[Mapping[str, Any], ...]) -> bool:
    called = [call["id"] for one in messages for call in one.get("tool_calls") or ()]
    return called == [one["tool_call_id"] for one in messages if one["role"] == "tool"]


# What it is sent.


def test_what_it_has_been_sent_is_not_sent_again(world: World, model: Model):
    """The figure to meet: under a fifth of the first request, on a repository of a thousand files."""
    files: dict[str, str | bytes | None] = {f"src/package_{n // 50}/module_{n}.py": f"V = {n}\n" for n in range(1000)}
    world.clone.commit(files | {"SPEC.md": "The answer is 42.\n" * 50, "AGENTS.md": "Use tabs.\n"})
    model.plans = [planned(task("one"), done=False), planned(done=False)]
    swarm = world.submit()
    plan(swarm.pk)
    hand_offs(swarm, 3)
    Subtask.objects.filter(name="one").update(status="running")
    plan(swarm.pk)
    first, second = world.service.requests
    assert second.messages[: len(first.messages)] == first.messages, "a fact that was sent once can still be seen"
    assert beyond_common_prefix(first, second) < 0.2 * len(sent(first))
    assert "The answer is 42." not in second.last_text
    assert "Unchanged since you were last told: " in second.last_text
    assert "SPEC.md" in second.last_text
    assert "It creaks." in second.last_text
    assert calls_match(second.messages)
    one, two = PlanIteration.objects.filter(swarm=swarm)
    assert (one.saved_characters, one.messages) == (0, []), "the newest conversation contains the older one"
    assert two.saved_characters > 10 * two.sent_characters
    assert len(two.messages) == len(second.messages) + 2


def test_new_files_and_commits_are_told_alone(world: World, model: Model, nudges: Nudges):
    model.plans = [planned(task("one"), done=False), planned()]
    swarm = world.submit()
    nudges.run()
    assert again(swarm).status == "succeeded"
    told = world.service.requests[-1].last_text
    assert "Files on the integration branch, what changed since you were last told:\n+ one.txt" in told or (
        "Files on the integration branch:\na.txt\none.txt\nsrc/b.py" in told
    )
    assert "- one: complete" in told


def test_a_conversation_beyond_the_window_begins_anew_with_the_scratchpads(
    world: World, model: Model, monkeypatch: pytest.MonkeyPatch
):
    model.plans = [planned(task("one"), done=False, scratchpad="Remember the cellar."), planned(done=False)]
    swarm = world.submit("Sort the shelves.")
    plan(swarm.pk)
    hand_offs(swarm, 3)
    monkeypatch.setattr(context, "MAX_CHARACTERS", 1000)
    plan(swarm.pk)
    last = world.service.requests[-1]
    assert [one["role"] for one in last.messages] == ["system", "user"]
    assert last.first_text.startswith(f"swarm: {swarm.public_id}\n\nSort the shelves.\n")
    for told in ("Remember the cellar.", "src/b.py", "- one: pending", "It creaks."):
        assert told in last.first_text


# Its last word.


def said_done(world: World) -> Swarm:
    swarm = world.running()
    swarm.iterations.update(planner_said_done=True)
    return swarm


def lost(swarm: Swarm, status: str, **fields: Any) -> Subtask:
    return factories.make_subtask(swarm, name="lost", status=status, status_reason="It rained.", **fields)


@pytest.mark.parametrize("status", ["failed", "blocked", "timed_out"])
def test_a_planner_that_said_done_is_asked_once_more_about_what_failed(
    world: World, model: Model, nudges: Nudges, status: str
):
    model.plans = [planned(task("mend"))]
    swarm = said_done(world)
    row = lost(swarm, status)
    dispatch(swarm.pk)
    assert again(swarm).status == "running", "a failure is not mistaken for done"
    nudges(Stage.PLAN, swarm.pk)
    nudges.run()
    assert "It rained." in world.service.requests[0].last_text
    assert (statuses(swarm)["mend"], again(row).status) == ("complete", status)
    assert again(swarm).status == "partly_succeeded"
    assert [one.closing for one in world.service.requests].count("submit_plan") == 1, "it has heard of it now"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (planned(), ""),
        (planned(done=False), ""),
        (planned(task("lost")), "only repeats tasks that exist already (lost)"),
        (planned(task("lost"), done=False), "only repeats tasks that exist already (lost)"),
    ],
    ids=["done", "empty", "repeated", "repeated and not done"],
)
def test_an_answer_that_adds_nothing_is_the_end(
    world: World, model: Model, nudges: Nudges, answer: Answer, problem: str
):
    model.plans = [answer]
    swarm = said_done(world)
    lost(swarm, "failed")
    nudges(Stage.PLAN, swarm.pk)
    nudges.run()
    assert world.service.total == 1
    assert again(swarm).status == "failed"
    assert "lost (failed)" in swarm.status_reason
    assert problem in " ".join(PlanIteration.objects.filter(swarm=swarm).order_by("number").last().problems)  # type: ignore[union-attr]


@pytest.mark.parametrize("status", ["complete", "cancelled"])
def test_nobody_is_asked_about_what_is_done_or_was_not_wanted(world: World, nudges: Nudges, status: str):
    swarm = said_done(world)
    lost(swarm, status)
    nudges(Stage.DISPATCH, swarm.pk)
    nudges(Stage.PLAN, swarm.pk)
    nudges.run()
    assert world.service.total == 0
    assert again(swarm).finished_at


def test_while_something_runs_it_is_not_asked(world: World):
    swarm = said_done(world)
    lost(swarm, "failed")
    factories.make_subtask(swarm, status="running")
    plan(swarm.pk)
    assert world.service.total == 0


# How it is judged.


BAD_AND_GOOD: dict[str, tuple[Answer, str]] = {
    "none": (planned(task("a"), task("b")), "exactly one task"),
    "by_domain": (planned(task("a")), "name the specialty of 'a'"),
    "by_data": (planned(task("a", scope=["x/**"]), task("b", scope=["x/y"])), "no two tasks share a path"),
    "by_stage": (planned(task("a"), task("b")), "name those before it"),
}


@pytest.mark.parametrize("strategy", BAD_AND_GOOD)
def test_a_strategy_is_told_and_holds(world: World, model: Model, strategy: str):
    bad, sentence = BAD_AND_GOOD[strategy]
    model.plans = [bad, planned(task("one", specialty="css", scope=["z/**"]))]
    swarm = world.submit(strategy=strategy)
    plan(swarm.pk)
    first, second = world.service.requests
    words = "do not split" if strategy == "none" else f"split {strategy.replace('_', ' ')}"
    assert words in str(first.messages[0]["content"])
    assert sentence in second.last_text
    assert statuses(swarm) == {"one": "pending"}


def test_automatic_asks_nothing_more(world: World, model: Model):
    model.plans = [planned(task("a"), task("b"))]
    swarm = world.submit()
    plan(swarm.pk)
    assert world.service.total == 1
    assert set(statuses(swarm)) == {"a", "b"}


def test_a_chain_that_is_too_long_is_sent_back_once_and_then_taken(world: World, model: Model):
    long = planned(task("a"), task("b", "a"), task("c", "b"))
    model.plans = [long]
    swarm = world.submit(critical_path_threshold=2)
    plan(swarm.pk)
    first, second = world.service.requests
    assert "should not exceed 2 tasks" in str(first.messages[0]["content"])
    assert "has 3 tasks, over the 2 that are wanted: a -> b -> c. Cut it" in second.last_text
    assert set(statuses(swarm)) == {"a", "b", "c"}
    iteration = PlanIteration.objects.get()
    assert iteration.repaired
    assert iteration.problems[-1].startswith("Taken all the same: The longest chain")


def test_one_that_is_cut_is_taken_without_a_word(world: World, model: Model):
    long = planned(task("a"), task("b", "a"), task("c", "b"))
    model.plans = [long, planned(task("a"), task("b", "a"), task("c", "a"))]
    swarm = world.submit(critical_path_threshold=2)
    plan(swarm.pk)
    assert not any(one.startswith("Taken") for one in PlanIteration.objects.get().problems)
    assert {one.name: one.level for one in Subtask.objects.filter(swarm=swarm)} == {"a": 0, "b": 1, "c": 1}
