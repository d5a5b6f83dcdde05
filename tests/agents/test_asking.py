"""An agent hears people between its turns, and rests where it asks them: in a conversation that stays valid."""

from __future__ import annotations

import json

import pytest

from orchestration.adapters.llm.anthropic import Anthropic
from orchestration.agents.assignment import Suspended
from orchestration.domain.conversation import Endpoint, Message, ToolCall
from orchestration.domain.errors import InvalidInput
from orchestration.domain.steering import ONE_AT_A_TIME, Resumption
from orchestration.domain.tools import WORKER_TOOLS
from tests.agents.rig import DONE, Desk, Turn, require_answered

LOOK = ("list_files", {"path": "."})
ASK = ("ask_human", {"question": "Tabs or spaces?", "options": ["tabs", "spaces"]})


def asks(desk: Desk, *turns: Turn, **options: object) -> Suspended:
    with pytest.raises(Suspended) as caught:
        desk.run(*turns, **options)  # type: ignore[arg-type]
    return caught.value


def rested(asked: Suspended, answer: str = "ada answered: tabs", *, steps: int = 1) -> Resumption:
    return Resumption(asked.messages, asked.call_id, asked.question, answer, asked.memory, asked.used_s, steps)


# Messages.


def test_a_message_is_in_the_next_turn_behind_the_results_of_the_calls(desk: Desk):
    desk.report.on_turn = lambda _: desk.report.inbox.waiting.append("Use tabs.")
    desk.run([LOOK, ("read_file", {"path": "none.txt"})], DONE)
    roles = [message["role"] for message in desk.model.messages]
    assert roles == ["system", "user", "assistant", "tool", "tool", "user"]
    assert desk.model.messages[-1]["content"] == "Use tabs."


def test_a_message_is_told_once_and_its_way_is_reported(desk: Desk):
    desk.report.inbox.waiting.append("Use tabs.")
    desk.run(LOOK, LOOK, DONE)
    assert desk.report.inbox.log == ["took Use tabs.", *["sent", "answered"] * 3]
    assert sum(message["content"] == "Use tabs." for message in desk.model.messages) == 1


def test_the_conversation_with_a_message_is_valid_for_the_other_kind_of_service_too():
    """Results come first in the turn that answers the calls, and roles alternate."""
    calls = Message("assistant", "", (call_of("a"), call_of("b")))
    results = [Message("tool", "x", tool_call_id="a"), Message("tool", "y", tool_call_id="b")]
    history = [Message("system", "s"), Message("user", "t"), calls, *results, Message("user", "Use tabs.")]
    body = Anthropic().encode(
        Endpoint("e", "anthropic", "http://127.0.0.1:1", "m"),
        history,
        WORKER_TOOLS,
        tool_choice=None,
        max_output_tokens=None,
    )
    turns = json.loads(body)["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert [block["type"] for block in turns[-1]["content"]] == ["tool_result", "tool_result", "text"]


def call_of(id_: str) -> ToolCall:
    return ToolCall(id_, "list_files", "{}")


# Questions.


def test_an_answer_that_is_known_is_told_at_once(desk: Desk):
    desk.report.answers = ["ada answered: tabs"]
    desk.run(ASK, DONE)
    assert desk.model.told == ["ada answered: tabs"]
    assert desk.report.asked == [("Tabs or spaces?", ["tabs", "spaces"])]
    assert desk.report.calls[0][0] == "ask_human"


def test_one_that_nobody_has_answered_rests_the_agent(desk: Desk):
    desk.report.answers = [None]
    asked = asks(desk, ASK, DONE)
    assert (asked.question, asked.options) == ("Tabs or spaces?", ["tabs", "spaces"])
    assert [message.role for message in asked.messages] == ["system", "user", "assistant"]
    assert asked.messages[-1].tool_calls[0].id == asked.call_id
    assert desk.model.service.total == 1


def test_it_goes_on_with_its_conversation_and_the_answer(desk: Desk):
    desk.report.answers = [None]
    asked = asks(desk, [LOOK, ASK, LOOK])
    desk.run(DONE, resumption=rested(asked))
    told = desk.model.messages
    assert [message["role"] for message in told] == ["system", "user", "assistant", "tool", "tool", "tool"]
    assert told[-1]["content"] == "ada answered: tabs"
    assert told[-1]["tool_call_id"] == asked.call_id
    require_answered(told)


def test_the_other_calls_of_the_turn_have_run_when_it_rests(desk: Desk):
    desk.report.answers = [None]
    asks(desk, [ASK, ("write_file", {"path": "kept.txt", "content": "kept"})])
    assert (desk.root / "kept.txt").read_text() == "kept"


def test_a_handoff_in_the_same_turn_makes_the_question_moot(desk: Desk):
    assert desk.run([ASK, DONE]).summary == "The parser is mended."
    assert not desk.report.asked


def test_one_question_at_a_time(desk: Desk):
    desk.report.answers = ["ada answered: tabs"]
    desk.run([ASK, ("ask_human", {"question": "And how wide?"})], DONE)
    assert sorted(desk.model.told) == sorted([ONE_AT_A_TIME, "ada answered: tabs"])


@pytest.mark.parametrize("arguments", [{}, {"question": ""}, {"question": "?", "options": ["x"] * 21}, "{not json"])
def test_a_question_that_cannot_be_read_is_told_to_the_model(desk: Desk, arguments: object):
    desk.run(("ask_human", arguments), DONE)  # type: ignore[arg-type]
    assert desk.model.told[0].startswith("Error: ")
    assert not desk.report.asked


def test_one_that_may_not_be_asked_is_told_why(desk: Desk):
    desk.report.answers = [InvalidInput("Your work cannot be kept.")]
    desk.run(ASK, DONE)
    assert desk.model.told == ["Error: Your work cannot be kept."]


# Limits go on counting where they were.


def test_turns_before_the_rest_count(desk: Desk):
    desk.report.answers = [None]
    asked = asks(desk, LOOK, ASK)
    failure = desk.fails(LOOK, resumption=rested(asked, steps=2), max_steps=3)
    assert "turns" in str(failure)
    assert desk.model.service.total == 3


def test_time_used_before_the_rest_counts_and_the_rest_does_not(desk: Desk):
    desk.report.answers = [None]
    asked = asks(desk, ASK, timeout_s=60)
    assert 0 <= asked.used_s < 30
    asked.used_s = 59.999
    assert "time limit of 60 s" in str(desk.fails(("bash", {"command": "sleep 5"}), resumption=rested(asked)))
    asked.used_s = 1.0
    desk.run(DONE, resumption=rested(asked))
