"""What is the same question, what fits into a conversation that waits, and how far a message has come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain import context
from orchestration.domain.conversation import Message, ToolCall
from orchestration.domain.errors import InvalidInput
from orchestration.domain.states import DeliveryStatus
from orchestration.domain.steering import LEFT_OUT, expiry, message_status, question_key, said, shorten

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
D = DeliveryStatus


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("Tabs or spaces?", ["tabs", "spaces"]),
        ("  TABS or\n spaces", ["spaces", "tabs"]),
        ("tabs or spaces ?!", ["Tabs", "Spaces.", "tabs"]),
        ("\uff54abs or spaces?", ["tabs", "spaces"]),
    ],
)
def test_the_same_question_in_other_clothes(text: str, options: list[str]):
    assert question_key(text, options) == question_key("Tabs or spaces?", ["tabs", "spaces"])


@pytest.mark.parametrize(
    ("text", "options"),
    [("Tabs or spaces?", []), ("Tabs?", ["tabs", "spaces"]), ("Tabs or spaces? tabs", ["spaces"]), ("", ["a", "b"])],
)
def test_another_question(text: str, options: list[str]):
    assert question_key(text, options) != question_key("Tabs or spaces?", ["tabs", "spaces"])


@pytest.mark.parametrize(
    ("deadline", "end"),
    [(None, 24), (timedelta(hours=2), 2), (timedelta(hours=30), 24), (timedelta(hours=-1), 0)],
)
def test_a_question_ends_with_its_time_or_the_deadline(deadline: timedelta | None, end: int):
    due = None if deadline is None else NOON + deadline
    assert expiry(NOON, timedelta(hours=24), due) == NOON + timedelta(hours=end)


def test_words_are_taken_as_they_are_but_for_their_ends():
    assert said("  Use\ttabs. \n", "message") == "Use\ttabs."
    with pytest.raises(InvalidInput, match="The answer is empty"):
        said("\n", "answer")


CALLS = st.lists(st.tuples(st.text(max_size=200), st.text(max_size=200), st.text(max_size=300)), max_size=8)


@given(CALLS, st.integers(0, 2000))
def test_every_call_keeps_its_answer_and_the_beginning_stays(turns: list[tuple[str, str, str]], most: int):
    messages = [Message("system", "s" * 50), Message("user", "t" * 50)]
    for number, (words, arguments, result) in enumerate(turns):
        call = ToolCall(f"c{number}", "bash", arguments)
        messages += [Message("assistant", words, (call,)), Message("tool", result, tool_call_id=call.id)]
    kept = shorten(messages, most)
    assert kept[:2] == messages[:2]
    assert [one.role for one in kept] == [one.role for one in messages]
    assert [[call.id for call in one.tool_calls] for one in kept] == [
        [call.id for call in one.tool_calls] for one in messages
    ]
    assert [one.tool_call_id for one in kept] == [one.tool_call_id for one in messages]
    assert context.size(kept) <= max(most, context.size(messages[:2]) + len(turns) * (2 * len(LEFT_OUT) + 30))
    assert kept == messages or context.size(messages) > most


def test_the_oldest_results_go_first():
    results = [Message("tool", "x" * 1000, tool_call_id=str(number)) for number in range(5)]
    kept = shorten([Message("system", "s"), Message("user", "t"), *results], 3000)
    assert [one.text == LEFT_OUT for one in kept[2:]] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("deliveries", "status"),
    [
        ([D.WAITING, D.ANSWERED], D.WAITING),
        ([D.DELIVERED, D.ANSWERED, D.EXPIRED], D.DELIVERED),
        ([D.ANSWERED, D.EXPIRED], D.ANSWERED),
        ([D.EXPIRED], D.EXPIRED),
        ([], D.EXPIRED),
    ],
)
def test_a_message_is_as_far_as_the_last_who_can_hear_it(deliveries: list[DeliveryStatus], status: DeliveryStatus):
    assert message_status(deliveries) is status
