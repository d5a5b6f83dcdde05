"""What a person says reaches whoever works, once in each conversation, and its way is written down."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.demo.service import Answer
from orchestration.domain.errors import InvalidInput
from orchestration.domain.events import Stage
from orchestration.domain.rights import Role
from orchestration.domain.states import SwarmStatus
from orchestration.models import Attempt, Delivery, Event, Message, Subtask, Swarm
from orchestration.stages import steer
from orchestration.stages.dispatch import dispatch
from orchestration.stages.execute import execute
from orchestration.stages.handoff import lose
from orchestration.stages.plan import plan
from orchestration.stages.tell import expire_unheard, tell_attempt, tell_subtask, tell_swarm
from orchestration.stages.transition import moves
from tests import factories
from tests.stages.world import Model, Nudges, World, at_once, bash, claimed, hand_off, planned, task, write

WORDS = "Use tabs, please."


def heard(world: World, name: str = "one") -> list[int]:
    """How often each of the subtask's requests has the words."""
    requests = [one for one in world.service.requests if one.subtask == name and one.closing == "handoff"]
    return [sum(WORDS in str(message.get("content")) for message in one.messages) for one in requests]


def states(message: Message) -> list[str]:
    return list(message.deliveries.order_by("pk").values_list("status", flat=True))


def running(world: World, model: Model, *answers: Answer, **config: Any) -> Attempt:
    model.workers["one"] = list(answers) or [write("one.txt", "1"), hand_off()]
    return world.assigned(world.running(**config))


def test_a_message_sent_before_the_attempt_is_in_its_first_turn_and_once(world: World, model: Model):
    attempt = running(world, model, bash("true"), write("one.txt", "1"), hand_off())
    message = tell_subtask(attempt.subtask, world.ada, WORDS)
    assert states(message) == ["waiting"]
    execute(attempt.pk)
    assert heard(world) == [1, 1, 1]
    (delivery,) = message.deliveries.all()
    assert (delivery.status, delivery.attempt, delivery.turn) == ("answered", attempt, 1)
    assert delivery.delivered_at
    assert delivery.answered_at
    assert delivery.delivered_at <= delivery.answered_at


def test_a_message_to_a_running_attempt_is_in_its_next_turn(world: World, model: Model):
    """Sent while the model thinks about the first turn: the second request has it, behind the tool's result."""
    attempt = running(world, model, Answer(calls=bash("true").calls, held="think"), write("one.txt", "1"), hand_off())
    sent: list[Message] = []

    def person() -> None:
        world.service.wait_for(lambda: world.service.total == 1)
        sent.append(tell_attempt(Attempt.objects.get(), world.ada, WORDS))
        world.service.release("think")

    assert at_once(lambda: execute(attempt.pk), person) == [None, None]
    assert heard(world) == [0, 1, 1]
    last = world.service.requests[1].messages
    assert [one["role"] for one in last[-2:]] == ["tool", "user"]
    assert sent[0].deliveries.get().turn == 2


def test_it_is_delivered_while_the_model_still_thinks_and_answered_after(world: World, model: Model):
    attempt = running(world, model, Answer("Tabs it is.", calls=write("one.txt", "1").calls, held="think"), hand_off())
    message = tell_subtask(attempt.subtask, world.ada, WORDS)
    seen: list[str] = []

    def person() -> None:
        world.service.wait_for(lambda: world.service.total == 1)
        while states(message) == ["waiting"]:
            world.service.wait_for(lambda: True)
        seen.extend(states(message))
        world.service.release("think")

    assert at_once(lambda: execute(attempt.pk), person) == [None, None]
    assert seen == ["delivered"]
    assert states(message) == ["answered"]
    assert message.deliveries.get().reply == "Tabs it is."


def test_a_new_conversation_after_a_crash_is_told_again(world: World, model: Model, nudges: Nudges):
    attempt = running(world, model)
    message = tell_subtask(attempt.subtask, world.ada, WORDS)
    execute(attempt.pk)
    swarm = attempt.subtask.swarm
    other = world.assigned(swarm, "two")
    tell_subtask(other.subtask, world.ada, WORDS)
    lose(claimed(other), "Gone.")
    dispatch(swarm.pk)
    again = Attempt.objects.get(subtask=other.subtask, status="assigned")
    execute(again.pk)
    assert heard(world, "two") == [1, 1]
    assert states(message) == ["answered"]
    assert Delivery.objects.get(subtask=other.subtask).attempt == again


def test_one_that_was_delivered_to_a_lost_attempt_is_told_to_the_next(world: World, model: Model):
    attempt = running(world, model, bash("true"), Answer(status=503), max_retries=1)
    message = tell_subtask(attempt.subtask, world.ada, WORDS)
    execute(attempt.pk)
    assert states(message) == ["answered"]
    model.workers["one"] = [write("one.txt", "1"), hand_off()]
    dispatch(attempt.subtask.swarm_id)
    second = Attempt.objects.get(number=2)
    execute(second.pk)
    delivery = message.deliveries.get()
    assert (delivery.status, delivery.attempt) == ("answered", second)
    kinds = Event.objects.filter(kind__startswith="message.").order_by("seq").values_list("kind", flat=True)
    assert list(kinds) == [
        *("message.sent", "message.delivered", "message.answered"),
        *("message.waiting", "message.delivered", "message.answered"),
    ]


def test_a_message_to_the_swarm_reaches_every_running_attempt_and_the_planner(
    world: World, model: Model, nudges: Nudges
):
    model.plans = [planned(task("more"))]
    attempt = running(world, model)
    swarm = attempt.subtask.swarm
    idle = factories.make_subtask(swarm, name="idle", status="pending")
    message = tell_swarm(swarm, world.ada, WORDS)
    assert set(message.deliveries.values_list("subtask", flat=True)) == {None, attempt.subtask.pk}
    assert (Stage.PLAN, swarm.pk) in nudges.all
    execute(attempt.pk)
    plan(swarm.pk)
    assert heard(world) == [1, 1]
    (asked,) = [one for one in world.service.requests if one.closing == "submit_plan"]
    assert f"ada: {WORDS}" in asked.first_text
    assert states(message) == ["answered", "answered"]
    assert message.deliveries.get(subtask=None).iteration == swarm.iterations.last()
    assert idle.deliveries.count() == 0


def test_a_planner_that_was_done_hears_it_before_the_swarm_ends_and_only_once(world: World, model: Model):
    swarm = world.running(done=True)
    factories.make_subtask(swarm, name="one", status="complete")
    model.plans = [planned(task("two")), planned()]
    tell_swarm(swarm, world.ada, WORDS)
    dispatch(swarm.pk)
    swarm.refresh_from_db()
    assert swarm.status == "running"
    plan(swarm.pk)
    assert Subtask.objects.filter(name="two").exists()
    before = world.service.total
    plan(swarm.pk)
    assert world.service.total == before


def test_a_planner_whose_call_failed_is_told_again_and_not_twice_in_one_conversation(world: World, model: Model):
    swarm = world.running(done=False)
    factories.make_subtask(swarm, name="one", status="running")
    message = tell_swarm(swarm, world.ada, WORDS)
    model.plans = [Answer(status=503), planned(task("two"), done=False), planned(task("three"), done=False)]
    plan(swarm.pk)
    Swarm.objects.update(plan_not_before=None)
    plan(swarm.pk)
    assert states(message) == ["answered"]
    tell_swarm(swarm, world.ada, "And no emojis.")
    plan(swarm.pk)
    last = world.service.requests[-1]
    assert sum(str(one.get("content")).count(WORDS) for one in last.messages) == 1
    assert "And no emojis." in last.last_text


def test_a_message_expires_with_what_it_was_for(world: World, model: Model):
    attempt = running(world, model)
    message = tell_subtask(attempt.subtask, world.ada, WORDS)
    steer.cancel_subtask(Subtask.objects.get(), world.ada)
    assert states(message) == ["expired"]
    assert "ended before" in message.deliveries.get().status_reason


def test_one_that_nobody_will_hear_any_more_expires_at_the_tick(world: World, model: Model):
    attempt = running(world, model)
    message = tell_swarm(attempt.subtask.swarm, world.ada, WORDS)
    with moves(attempt.subtask.swarm) as together:
        together.advance(attempt.subtask.swarm, SwarmStatus.FAILED, reason="Over.")
    expire_unheard()
    assert states(message) == ["expired", "expired"]


def test_a_split_subtask_passes_it_on_to_its_parts_that_run(world: World):
    swarm = world.running()
    parent = factories.make_subtask(swarm, name="big", status="waiting")
    part = factories.make_subtask(swarm, name="part", status="running", parent=parent)
    factories.make_attempt(part)
    factories.make_subtask(swarm, name="later", parent=parent)
    message = tell_subtask(parent, world.ada, WORDS)
    assert set(message.deliveries.values_list("subtask__name", flat=True)) == {"big", "part"}


# Who, what and when.


def test_a_viewer_may_not(world: World):
    viewer = factories.join(factories.make_user(), world.team, Role.VIEWER)
    with pytest.raises(InvalidInput, match="Only members"):
        tell_swarm(world.running(), viewer, WORDS)
    assert not Message.objects.exists()


@pytest.mark.parametrize(("text", "words"), [("  ", "is empty"), ("x" * 10_001, "at most 10,000")])
def test_the_words_are_bounded(world: World, text: str, words: str):
    with pytest.raises(InvalidInput, match=words):
        tell_swarm(world.running(), world.ada, text)


def test_nobody_is_written_to_who_cannot_read(world: World, model: Model):
    attempt = running(world, model)
    execute(attempt.pk)
    attempt.refresh_from_db()
    with pytest.raises(InvalidInput, match="Attempt 1 of one is over"):
        tell_attempt(attempt, world.ada, WORDS)
    swarm = attempt.subtask.swarm
    done = factories.make_subtask(swarm, name="done", status="complete")
    with pytest.raises(InvalidInput, match="done is complete"):
        tell_subtask(done, world.ada, WORDS)
    steer.cancel(swarm, world.ada)
    with pytest.raises(InvalidInput, match="The swarm is cancelled"):
        tell_swarm(swarm, world.ada, WORDS)


def test_it_is_logged_with_its_sender_and_without_secrets(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-value-1234")
    message = tell_swarm(world.running(), world.ada, "Use sk-very-secret-value-1234 for it.")
    event = Event.objects.get(kind="message.sent")
    assert (event.facts["by"], event.facts["id"]) == ("ada", message.public_id)
    assert "very-secret" not in message.text + str(event.facts)
