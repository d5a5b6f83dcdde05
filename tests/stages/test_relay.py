"""What people say reaches agents that are not ours: in the next request to their model, and it stays there."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from orchestration.demo.service import Answer
from orchestration.domain.conversation import Message, ToolCall
from orchestration.models import Delivery
from orchestration.models import Message as Words
from orchestration.stages.relay import Relay
from orchestration.stages.tell import tell_attempt, tell_subtask
from tests.stages.gateway_rig import CHAT, MESSAGES, Lines, Office, opened
from tests.stages.world import World, claimed

SAID = "Use tabs, please."
TOOLS = [{"type": "function", "function": {"name": "read", "parameters": {"type": "object", "properties": {}}}}]
TASK: Mapping[str, Any] = {"role": "user", "content": "Mend the parser."}
CALL = {"id": "c1", "type": "function", "function": {"name": "read", "arguments": "{}"}}
HISTORY: Sequence[Mapping[str, Any]] = (
    TASK,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "one"},
)
pytestmark = pytest.mark.any_database


def ask(office: Office, *messages: Mapping[str, Any], **body: Any) -> list[tuple[str, str]]:
    """What the model was asked: who said what."""
    response = office.post(CHAT, **{"messages": messages or [TASK], "tools": TOOLS} | body)
    assert response.status_code == 200, response.text
    return [(one["role"], str(one["content"])) for one in office.service.requests[-1].messages]


def told(messages: Sequence[tuple[str, str]]) -> list[int]:
    return [number for number, (_, text) in enumerate(messages) if SAID in text]


def say(world: World, office: Office, text: str = SAID) -> Words:
    return tell_attempt(office.fresh(), world.ada, text)


def test_a_message_is_in_the_next_request_and_its_way_is_written_down(world: World):
    with opened(world, Lines(Answer("Well."), Answer("Tabs it is.")), network=True) as office:
        assert told(ask(office)) == []
        message = say(world, office)
        assert Delivery.objects.get().status == "waiting"
        messages = ask(office, *HISTORY)
        assert told(messages) == [3]
        assert messages[3][1].startswith("A message from ada, who watches over this swarm.")
        delivery = Delivery.objects.get(message=message)
        assert (delivery.status, delivery.attempt, delivery.turn) == ("answered", office.attempt, 2)
        assert delivery.reply == "Tabs it is."
        assert delivery.delivered_at


def test_it_stays_where_it_was_said_though_the_agent_does_not_know_it(world: World):
    with opened(world, Lines(), network=True) as office:
        ask(office)
        say(world, office)
        ask(office, *HISTORY)
        later = [*HISTORY, {"role": "assistant", "content": "So."}, {"role": "user", "content": "Go on."}]
        assert told(ask(office, *later)) == [3]
        shortened = [*later[:2], {**HISTORY[2], "content": "(cut)"}, *later[3:]]
        assert told(ask(office, *shortened)) == [3], "agents shorten old results"


def test_in_a_conversation_that_was_summed_up_it_stands_behind_the_task(world: World):
    with opened(world, Lines(), network=True) as office:
        say(world, office)
        ask(office, *HISTORY)
        system = {"role": "system", "content": "You mend."}
        summed = [
            system,
            {"role": "user", "content": "The task, and what was done."},
            {"role": "assistant", "content": "Yes."},
        ]
        assert told(ask(office, *summed, {"role": "user", "content": "Go on."})) == [2]


def test_nothing_comes_between_a_call_and_its_result(world: World):
    with opened(world, Lines(), network=True) as office:
        say(world, office)
        ask(office, TASK)
        begun_by_a_call = [HISTORY[1], HISTORY[2], {"role": "user", "content": "Go on."}]
        assert told(ask(office, *begun_by_a_call)) == [3], "behind the first that a user said"


def test_several_keep_their_order(world: World):
    with opened(world, Lines(), network=True) as office:
        say(world, office, f"{SAID} First.")
        say(world, office, f"{SAID} Second.")
        ask(office)
        say(world, office, f"{SAID} Third.")
        last = ask(office, *HISTORY)
        assert [text.rpartition(" ")[2] for _, text in last if SAID in text] == ["First.", "Second.", "Third."]


def test_what_an_agent_asks_for_a_title_is_left_alone(world: World):
    with opened(world, Lines(), network=True) as office:
        ask(office)
        say(world, office)
        title = [{"role": "user", "content": "A title for this?"}]
        assert told(ask(office, *title, tools=[])) == []
        assert Delivery.objects.get().status == "waiting"
        assert told(ask(office, *HISTORY)) == [3]


def test_an_agent_without_tools_of_the_wire_is_told_too(world: World):
    with opened(world, Lines(), network=True) as office:
        say(world, office)
        assert told(ask(office, tools=[])) == [1]


def test_what_could_not_be_sent_is_in_the_next_request(world: World):
    with opened(world, Lines(Answer(status=400), Answer("Well.")), network=True, max_retries=0) as office:
        say(world, office)
        wrong = office.post(CHAT, messages=[{"role": "tool"}], tools="none")
        assert wrong.status_code == 400
        assert Delivery.objects.get().status == "waiting"
        assert office.post(CHAT, messages=[TASK], tools=TOOLS).status_code == 400, "the service refuses it"
        assert told(ask(office)) == [1]
        assert Delivery.objects.filter(status="answered").count() <= 1


def test_a_call_that_ends_before_it_is_sent_gives_the_words_back(world: World):
    attempt = claimed(world.assigned(world.running()))
    relay = Relay(attempt, lambda: 0)
    tell_attempt(attempt, world.ada, SAID)
    task = [Message("user", "Mend it.")]
    for _ in range(2):
        with relay.told(task, tools=True) as (request, _):
            assert [SAID in one.text for one in request] == [False, True]
    assert Delivery.objects.get().status == "waiting"
    with relay.told(task, tools=True) as (request, ear):
        ear.sent()
        ear.answered("Yes.")
    assert Delivery.objects.get().status == "answered"
    with relay.told(task, tools=True) as (request, _):
        assert len(request) == 2, "and it stays"


def test_of_calls_that_overlap_only_one_delivers_it(world: World):
    attempt = claimed(world.assigned(world.running()))
    relay = Relay(attempt, lambda: 0)
    tell_attempt(attempt, world.ada, SAID)
    task = [Message("user", "Mend it.")]
    with relay.told(task, tools=True) as (first, one), relay.told(task, tools=True) as (second, other):
        assert (len(one.going), len(other.going)) == (1, 0)
        assert [len(first), len(second)] == [2, 2], "each of them may be the one that goes on"
        one.sent()


def test_the_results_of_parallel_calls_stay_together(world: World):
    attempt = claimed(world.assigned(world.running()))
    relay = Relay(attempt, lambda: 0)
    tell_attempt(attempt, world.ada, SAID)
    calls = tuple(ToolCall(name, "read", "{}") for name in "ab")
    begun = [Message("user", "Mend it."), Message("assistant", "", calls), Message("tool", "1", tool_call_id="a")]
    with relay.told(begun, tools=True) as (_, ear):
        ear.sent()
    whole = [*begun, Message("tool", "2", tool_call_id="b"), Message("assistant", "So.")]
    with relay.told(whole, tools=True) as (request, _):
        assert [one.role for one in request] == ["user", "assistant", "tool", "tool", "user", "assistant"]


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_in_both_shapes_of_endpoint_and_client(world: World, kind: str):
    with opened(world, Lines(), kind=kind, network=True) as office:
        tell_subtask(office.attempt.subtask, world.ada, SAID)
        tool = {"name": "read", "input_schema": {"type": "object"}}
        assert office.post(MESSAGES, messages=[TASK], tools=[tool]).status_code == 200
        assert SAID in str(office.service.requests[-1].messages)


def test_an_agent_is_told_while_another_call_waits_for_its_model(world: World):
    held = Answer("Late.", held="think")
    with opened(world, Lines(held, Answer("Well.")), network=True) as office:
        thread = threading.Thread(target=lambda: ask(office))
        thread.start()
        office.service.wait_for(lambda: office.service.in_flight == 1)
        say(world, office)
        assert told(ask(office, *HISTORY)) == [3]
        office.service.release("think")
        thread.join(60)
        assert not thread.is_alive()
