"""A conversation grows message by message, within its time, and tells whose fault an end was."""

from __future__ import annotations

import pytest
from typing_extensions import override

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.gateway import RetryPolicy
from orchestration.agents.conversation import Clock, OutOfTime, Quiet
from orchestration.demo.service import Answer
from orchestration.domain.conversation import Message, Reply
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.tools import PLANNER_TOOLS
from tests.agents.rig import SYSTEM, TASK, Model, require_answered


def test_a_clock_gives_what_is_left_until_nothing_is():
    clock = Clock(60)
    assert 0 < clock.left() <= 60
    with pytest.raises(OutOfTime, match=r"^The time limit of 0 s is used up\.$") as caught:
        Clock(0).left()
    assert caught.value.transient


def test_what_was_said_and_answered_is_said_again_with_the_next_question(model: Model):
    model.says(Answer("I look.", calls=(("git_log", {"limit": 3}),)), "Thank you.")
    conversation = model.conversation(PLANNER_TOOLS)
    first = conversation.ask()
    conversation.answer(first.tool_calls[0].id, "abc: first")
    conversation.tell("Go on.")
    assert conversation.ask().text == "Thank you."
    said = [(each["role"], each["content"]) for each in model.messages]
    assert said == [
        ("system", SYSTEM),
        ("user", TASK),
        ("assistant", "I look."),
        ("tool", "abc: first"),
        ("user", "Go on."),
    ]
    assert model.messages[2]["tool_calls"][0]["function"] == {"name": "git_log", "arguments": '{"limit":3}'}
    assert conversation.messages[-1] == Message("assistant", "Thank you.")
    require_answered(model.messages)


def test_each_answer_is_accounted_for_and_the_account_may_end_it_all(model: Model):
    booked: list[Reply] = []

    def book(reply: Reply) -> None:
        booked.append(reply)
        if len(booked) == 2:
            raise AdapterError(Failure.BUDGET, "The budget is used up.")

    conversation = model.says("one", "two").conversation(PLANNER_TOOLS, on_reply=book)
    conversation.ask()
    with pytest.raises(AdapterError, match="budget") as caught:
        conversation.ask()
    assert caught.value.kind is Failure.BUDGET
    assert [reply.text for reply in booked] == ["one", "two"]
    assert [message.text for message in conversation.messages[2:]] == ["one"]


def test_no_model_is_asked_when_the_time_is_over(model: Model):
    with pytest.raises(OutOfTime):
        model.conversation(PLANNER_TOOLS, clock=Clock(0)).ask()
    assert model.service.total == 0


def test_an_answer_that_takes_too_long_is_the_conversations_own_limit(model: Model):
    model.says(Answer("late", held="for ever"))
    with pytest.raises(OutOfTime, match=r"The time limit of 0\.3 s"):
        model.conversation(PLANNER_TOOLS, clock=Clock(0.3)).ask()


def test_a_service_that_fails_with_time_left_is_its_own_fault(model: Model):
    model.says(Answer(status=503))
    with pytest.raises(AdapterError) as caught:
        model.conversation(PLANNER_TOOLS).ask()
    assert caught.value.transient
    assert not isinstance(caught.value, OutOfTime)


def test_a_failure_is_tried_again_as_the_conversation_says(model: Model):
    model.says(Answer(status=503), Answer(status=503), "here")
    quick = RetryPolicy(max_retries=2, base_delay_ms=1, max_delay_ms=2)
    assert model.conversation(PLANNER_TOOLS, retries=quick).ask().retries == 2


def test_a_refusal_is_no_matter_of_time(model: Model):
    model.says(Answer(status=401))
    with pytest.raises(AdapterError) as caught:
        model.conversation(PLANNER_TOOLS).ask()
    assert caught.value.kind is Failure.PERMANENT


def test_a_cancel_is_told_with_its_reason(model: Model):
    cancellation = Cancellation()
    cancellation.cancel("Cancelled by Ada.")
    with pytest.raises(AdapterError, match="Cancelled by Ada") as caught:
        model.conversation(PLANNER_TOOLS, cancellation=cancellation).ask()
    assert caught.value.kind is Failure.CANCELLED


def test_what_is_done_meanwhile_is_done_once_while_the_model_thinks(model: Model):
    seen: list[int] = []
    conversation = model.says("one", "two").conversation(PLANNER_TOOLS)
    conversation.meanwhile = lambda: seen.append(len(conversation.messages))
    before = len(conversation.messages)
    conversation.ask()
    conversation.ask()
    assert seen == [before]  # the answer was not there yet


@pytest.mark.parametrize(("going", "heard"), [((), 0), (("a message",), 1)])
def test_an_inbox_hears_that_a_request_went_out_where_it_carries_something(
    model: Model, going: tuple[str, ...], heard: int
):
    sent: list[str] = []

    class Box(Quiet):
        @property
        @override
        def going(self) -> tuple[str, ...]:
            return going

        @override
        def sent(self) -> None:
            sent.append("sent")

    conversation = model.says("one").conversation(PLANNER_TOOLS)
    conversation.inbox = Box()
    conversation.ask()
    assert len(sent) == heard
