"""A question rests its attempt alone: no place is held, nothing is lost, and the answer goes on with the same one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from orchestration.adapters import storage
from orchestration.demo.service import Answer
from orchestration.domain.errors import InvalidInput
from orchestration.domain.rights import Role
from orchestration.models import Attempt, Event, Question, Step, Subtask, Suspension, Swarm
from orchestration.models.figures import statistics_of
from orchestration.stages import ask as stage
from orchestration.stages import steer
from orchestration.stages.ask import answer, look_after_questions
from orchestration.stages.dispatch import dispatch
from orchestration.stages.execute import execute
from orchestration.stages.merge import merge
from orchestration.stages.rows import store_of
from orchestration.stages.tell import tell_subtask
from orchestration.stages.tick import take_over, tick
from tests import factories
from tests.stages.world import Model, Nudges, World, call, hand_off, says, statuses, write

pytestmark = pytest.mark.sandbox

ASK = says(call("ask_human", question="Tabs or spaces?", options=["tabs", "spaces"]))


def asked(world: World, model: Model, *more: Answer, name: str = "one", swarm: Swarm | None = None) -> Attempt:
    """An attempt that wrote a file, asked, and rests."""
    model.workers[name] = [write(f"{name}.txt", "half\n"), ASK, *(more or (write("end.txt", "end\n"), hand_off()))]
    attempt = world.assigned(swarm or world.running(), name)
    execute(attempt.pk)
    found: Attempt = again(attempt)
    return found


def again(row: Any) -> Any:
    return type(row).objects.get(pk=row.pk)


def test_it_rests_without_a_place_and_its_work_is_pinned(world: World, model: Model, nudges: Nudges):
    attempt = asked(world, model)
    assert (attempt.status, attempt.subtask.status) == ("waiting", "waiting")
    assert attempt.status_reason == attempt.subtask.status_reason == "Asks: Tabs or spaces?"
    assert (attempt.lease_token, attempt.lease_expires_at, attempt.finished_at) == ("", None, None)
    store = store_of(attempt.subtask.swarm)
    assert store.pins("attempts")[attempt.public_id] == attempt.head_sha != attempt.base_sha
    assert store.read_file(attempt.head_sha, "one.txt") == b"half\n"
    question = Question.objects.get()
    assert (question.status, question.text, question.options) == ("open", "Tabs or spaces?", ["tabs", "spaces"])
    assert Event.objects.filter(kind="question.open", facts__text="Tabs or spaces?").count() == 1
    assert not storage.workspace_pool(world.repository.public_id)._held, "its workspace is free"


def test_the_answer_goes_on_with_the_same_attempt_conversation_and_files(world: World, model: Model):
    attempt = asked(world, model)
    answer(Question.objects.get(), world.ada, "tabs")
    assert statuses(attempt.subtask.swarm) == {"one": "pending"}
    dispatch(attempt.subtask.swarm_id)
    execute(attempt.pk)
    attempt = again(attempt)
    assert (attempt.status, attempt.number, Attempt.objects.count()) == ("complete", 1, 1)
    messages = world.service.requests[2].messages
    assert [one["role"] for one in messages] == ["system", "user", "assistant", "tool", "assistant", "tool"]
    assert messages[-1]["content"] == "ada answered: tabs"
    assert messages[-1]["tool_call_id"] == messages[-2]["tool_calls"][0]["id"]
    store = store_of(attempt.subtask.swarm)
    found = {path: store.read_file(attempt.head_sha, path) for path in ("one.txt", "end.txt")}
    assert found == {"one.txt": b"half\n", "end.txt": b"end\n"}
    assert not Suspension.objects.exists()
    numbers = list(Step.objects.filter(attempt=attempt).values_list("number", "turn", "tool"))
    assert [number for number, *_ in numbers] == list(range(1, len(numbers) + 1))
    assert [turn for _, turn, tool in numbers if tool == "ask_human"] == [2, 2]
    assert [turn for *_, turn, tool in numbers if tool == "write_file"] == [1, 3]
    assert (attempt.steps, attempt.tool_calls) == (4, 4)


def test_what_it_did_lands_as_one_change(world: World, model: Model):
    attempt = asked(world, model)
    answer(Question.objects.get(), world.ada, "tabs")
    dispatch(attempt.subtask.swarm_id)
    execute(attempt.pk)
    merge(attempt.subtask.swarm_id)
    swarm = again(attempt.subtask.swarm)
    assert statuses(swarm) == {"one": "complete"}
    assert store_of(swarm).read_file(swarm.head_sha, "one.txt") == b"half\n"


def test_another_subtask_has_its_place_meanwhile(world: World, model: Model):
    swarm = world.running(max_subagents=1)
    attempt = asked(world, model, swarm=swarm)
    factories.make_subtask(swarm, name="two", acceptance_checks=[])
    dispatch(swarm.pk)
    assert statuses(swarm) == {"one": "waiting", "two": "assigned"}
    other = Attempt.objects.get(subtask__name="two")
    answer(Question.objects.get(), world.ada, "tabs")
    dispatch(swarm.pk)
    row = Subtask.objects.get(name="one")
    assert (row.status, row.wait_reason) == ("pending", "All agents of this swarm's limit are busy.")
    execute(other.pk)
    dispatch(swarm.pk)
    assert again(attempt).status == "assigned"


def test_nothing_of_a_rest_is_lost_when_the_engine_dies(world: World, model: Model, nudges: Nudges):
    """Between question and answer, and between answer and going on."""
    attempt = asked(world, model)
    take_over()
    tick()
    assert again(attempt).status == "waiting"
    answer(Question.objects.get(), world.ada, "tabs")
    nudges.take()
    take_over()
    assert again(attempt).status == "waiting"
    nudges.run()
    assert again(attempt).status == "complete"
    assert world.service.total == 4


def test_one_whose_process_dies_after_that_asks_again_and_is_answered_at_once(world: World, model: Model):
    attempt = asked(world, model)
    answer(Question.objects.get(), world.ada, "tabs")
    dispatch(attempt.subtask.swarm_id)
    Attempt.objects.update(status="running", lease_token="gone")
    Subtask.objects.update(status="running")
    take_over()
    dispatch(attempt.subtask.swarm_id)
    second = Attempt.objects.get(number=2)
    execute(second.pk)
    assert again(second).status == "complete"
    assert Question.objects.count() == 1


def test_what_it_has_heard_before_it_rested_it_is_not_told_again_and_what_came_meanwhile_it_is(
    world: World, model: Model
):
    swarm = world.running()
    subtask = factories.make_subtask(swarm, name="one", status="assigned", acceptance_checks=[])
    tell_subtask(subtask, world.ada, "Use tabs.")
    model.workers["one"] = [write("one.txt", "half\n"), ASK, hand_off()]
    attempt = Attempt.objects.create(subtask=subtask, number=1)
    execute(attempt.pk)
    tell_subtask(again(subtask), world.ada, "Be brief.")
    answer(Question.objects.get(), world.ada, "tabs")
    dispatch(swarm.pk)
    execute(attempt.pk)
    last = [str(one["content"]) for one in world.service.requests[-1].messages]
    assert [sum(words in text for text in last) for words in ("Use tabs.", "Be brief.")] == [1, 1]
    assert "Be brief." in last[-1]


# Asked once.


def test_the_same_question_is_asked_once_and_its_answer_wakes_all(world: World, model: Model):
    swarm = world.running()
    first = asked(world, model, swarm=swarm)
    model.workers["two"] = [
        says(call("ask_human", question="  tabs OR spaces", options=["spaces", "tabs"])),
        hand_off(),
    ]
    second = world.assigned(swarm, "two")
    execute(second.pk)
    question = Question.objects.get()
    assert set(question.askers.all()) == {first, second}
    answer(question, world.ada, "tabs")
    assert statuses(swarm) == {"one": "pending", "two": "pending"}
    model.workers["three"] = [ASK, write("three.txt", "3"), hand_off()]
    third = world.assigned(swarm, "three")
    execute(third.pk)
    assert again(third).status == "complete"
    assert "ada answered: tabs" in str(world.service.requests[-1].messages)


def test_an_answer_that_comes_while_it_lies_down_wakes_it_too(
    world: World, model: Model, monkeypatch: pytest.MonkeyPatch
):
    swarm = again(asked(world, model)).subtask.swarm
    suspend = stage.suspend

    def late(attempt: Attempt, rest: stage.Rest) -> None:
        answer(Question.objects.get(), world.ada, "tabs")
        suspend(attempt, rest)

    monkeypatch.setattr(stage, "suspend", late)
    asked(world, model, name="two", swarm=swarm)
    assert statuses(swarm) == {"one": "pending", "two": "pending"}


def test_a_question_in_another_swarm_is_another_question(world: World, model: Model):
    asked(world, model)
    asked(world, model)
    assert Question.objects.count() == 2


def test_a_different_option_makes_it_another_question(world: World, model: Model):
    attempt = asked(world, model)
    model.workers["two"] = [says(call("ask_human", question="Tabs or spaces?", options=["tabs"]))]
    execute(world.assigned(attempt.subtask.swarm, "two").pk)
    assert Question.objects.count() == 2


# Time.


def test_waiting_counts_neither_as_time_nor_as_work(world: World, model: Model):
    swarm = world.running(subagent_timeout_secs=30)
    attempt = asked(world, model, swarm=swarm)
    hour = timedelta(hours=1)
    Attempt.objects.update(waiting_since=timezone.now() - hour, started_at=timezone.now() - hour)
    Swarm.objects.update(created_at=timezone.now() - hour)
    answer(Question.objects.get(), world.ada, "tabs")
    dispatch(swarm.pk)
    execute(attempt.pk)
    attempt = again(attempt)
    assert attempt.status == "complete", "an hour is more than its 30 seconds"
    assert attempt.waited_ms >= 3_600_000
    stats = statistics_of(again(swarm))
    assert stats["sequential_estimate_s"] < 60
    assert attempt.handoff.duration_ms < 60_000


def test_nobody_answers_and_the_agent_decides_itself(world: World, model: Model):
    attempt = asked(world, model)
    day = timedelta(hours=24)
    Question.objects.update(asked_at=timezone.now() - day, expires_at=timezone.now())
    look_after_questions()
    dispatch(attempt.subtask.swarm_id)
    execute(attempt.pk)
    assert again(attempt).status == "complete"
    told = world.service.requests[2].last_text
    assert told.startswith("Nobody answered within 24 hours. Decide yourself")
    assert Event.objects.filter(kind="question.expired").exists()
    with pytest.raises(InvalidInput, match="is expired"):
        answer(Question.objects.get(), world.ada, "tabs")


def test_the_deadline_of_the_swarm_ends_the_wait_and_what_was_begun_goes_on(world: World, model: Model):
    deadline = timezone.now() + timedelta(hours=2)
    attempt = asked(world, model, swarm=world.running(deadline=deadline.isoformat()))
    question = Question.objects.get()
    assert abs(question.expires_at - deadline) < timedelta(seconds=1)
    past = (timezone.now() - timedelta(seconds=1)).isoformat()
    Question.objects.update(expires_at=past)
    Swarm.objects.update(config=attempt.subtask.swarm.config | {"deadline": past})
    look_after_questions()
    dispatch(attempt.subtask.swarm_id)
    assert again(attempt).status == "assigned"


def test_a_wake_up_that_was_lost_is_given_at_the_tick(world: World, model: Model):
    attempt = asked(world, model)
    Question.objects.update(status="answered", answer="tabs", answered_by=world.ada)
    look_after_questions()
    assert again(attempt.subtask).status == "pending"


# Scope.


@pytest.mark.parametrize(("changed", "status"), [(True, "pending"), (False, "assigned")])
def test_its_scope_is_kept_only_where_it_has_changed_something(world: World, model: Model, changed: bool, status: str):
    swarm = world.running()
    model.workers["one"] = [write("one.txt", "half\n"), ASK] if changed else [ASK]
    attempt = world.assigned(swarm, scope=["one.txt"])
    execute(attempt.pk)
    factories.make_subtask(swarm, name="two", scope=["one.txt"])
    dispatch(swarm.pk)
    assert statuses(swarm)["two"] == status


def test_its_own_scope_does_not_keep_it_out(world: World, model: Model):
    swarm = world.running()
    model.workers["one"] = [write("one.txt", "half\n"), ASK, hand_off()]
    attempt = world.assigned(swarm, scope=["one.txt"])
    execute(attempt.pk)
    answer(Question.objects.get(), world.ada, "tabs")
    dispatch(swarm.pk)
    assert again(attempt).status == "assigned"


# Pause, cancel, the end.


def test_a_paused_swarm_takes_the_answer_and_goes_on_when_it_is_resumed(world: World, model: Model):
    attempt = asked(world, model)
    swarm = again(attempt.subtask.swarm)
    steer.pause(swarm, world.ada)
    answer(Question.objects.get(), world.ada, "tabs")
    dispatch(swarm.pk)
    assert statuses(swarm) == {"one": "pending"}
    steer.resume(again(swarm), world.ada)
    dispatch(swarm.pk)
    assert again(attempt).status == "assigned"


@pytest.mark.parametrize("whole", [True, False])
def test_a_cancel_ends_the_wait_and_withdraws_the_question(world: World, model: Model, whole: bool):
    attempt = asked(world, model)
    if whole:
        steer.cancel(again(attempt.subtask.swarm), world.ada)
    else:
        steer.cancel_subtask(again(attempt.subtask), world.ada)
    assert (again(attempt).status, again(attempt.subtask).status) == ("cancelled", "cancelled")
    assert again(attempt).head_sha, "its work is kept"
    assert Question.objects.get().status == "withdrawn"


def test_a_question_that_lost_its_asker_is_withdrawn_at_the_tick(world: World, model: Model):
    asked(world, model)
    look_after_questions()
    assert Question.objects.get().status == "open"
    Attempt.objects.update(status="lost", finished_at=timezone.now())
    look_after_questions()
    assert Question.objects.get().status == "withdrawn"


def test_a_withdrawn_question_is_open_again_when_somebody_asks_it(world: World, model: Model):
    attempt = asked(world, model)
    steer.cancel_subtask(again(attempt.subtask), world.ada)
    asked(world, model, name="two", swarm=attempt.subtask.swarm)
    assert Question.objects.get().status == "open"


def test_a_swarm_with_an_open_question_is_not_finished(world: World, model: Model):
    attempt = asked(world, model)
    dispatch(attempt.subtask.swarm_id)
    assert again(attempt.subtask.swarm).status == "running"


def test_one_that_is_blocked_before_it_goes_on_leaves_nothing_live(world: World, model: Model):
    attempt = asked(world, model)
    Swarm.objects.update(tool_calls=1500)
    answer(Question.objects.get(), world.ada, "tabs")
    dispatch(attempt.subtask.swarm_id)
    assert (again(attempt).status, again(attempt.subtask).status) == ("cancelled", "blocked")


# Who, what.


def test_a_viewer_may_not_answer(world: World, model: Model):
    asked(world, model)
    viewer = factories.join(factories.make_user(), world.team, Role.VIEWER)
    with pytest.raises(InvalidInput, match="Only members"):
        answer(Question.objects.get(), viewer, "tabs")
    with pytest.raises(InvalidInput, match="is empty"):
        answer(Question.objects.get(), world.ada, "  ")


def test_the_kept_conversation_holds_no_secret(world: World, model: Model, monkeypatch: pytest.MonkeyPatch):
    secret = "sk-very-secret-value-1234"
    model.workers["one"] = [says(call("bash", command="printf '%s%s' sk-very-secret -value-1234")), ASK]
    attempt = world.assigned(world.running())
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    execute(attempt.pk)
    kept = Suspension.objects.get()
    assert "printf" in str(kept.conversation)
    assert secret not in str(kept.conversation)
    answer(Question.objects.get(), world.ada, f"Use {secret}.")
    events = str(list(Event.objects.values_list("facts", flat=True)))
    assert secret not in Question.objects.get().answer + events


def test_work_that_cannot_be_kept_is_told_instead_of_waiting(world: World, model: Model):
    nested = says(call("bash", command="mkdir sub && git init -q sub && echo x > sub/file"))
    mended = says(call("bash", command="rm -rf sub"))
    model.workers["one"] = [nested, ASK, mended, write("one.txt", "1"), hand_off()]
    attempt = world.assigned(world.running())
    execute(attempt.pk)
    assert again(attempt).status == "complete"
    assert "cannot be kept while you wait" in world.service.requests[2].last_text
    assert not Question.objects.exists()
