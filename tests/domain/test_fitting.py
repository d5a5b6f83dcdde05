"""What is cut from a conversation never parts a call from its answer, never the instruction, never the latest turn."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.domain.conversation import Message, ToolCall
from orchestration.domain.fitting import fit, tokens
from orchestration.domain.tools import WORKER_TOOLS
from tests.strict import complaint, encoded

SYSTEM = Message("system", "You work on one task.")
TASK = Message("user", "swarm: s1\nsubtask: one\nMend the parser.")
ROOM = 24_000  # of a window of 32k


def turn(number: int, /, *results: str, arguments: str = "", said: str = "") -> list[Message]:
    """An answer with as many calls as results."""
    calls = tuple(
        ToolCall(f"c{number}-{place}", "bash", arguments or json.dumps({"command": f"make part-{number}"}))
        for place in range(len(results))
    )
    told = [Message("tool", text, tool_call_id=call.id) for call, text in zip(calls, results, strict=True)]
    after = [Message("user", said)] if said else []
    go_on = [] if calls else [Message("user", "Go on.")]
    return [Message("assistant", "" if calls else "I think.", calls), *told, *(after or go_on)]


def history(turns: int, size: int = 3000) -> list[Message]:
    made = [SYSTEM, TASK]
    for number in range(turns):
        made += turn(number, f"{number}: " + "x" * size)
    return made


def require_valid(fitted: list[Message]) -> None:
    for kind in ("openai", "anthropic"):
        assert not complaint(kind, encoded(kind, fitted, WORKER_TOOLS))


def test_what_fits_is_left_as_it_is():
    said = history(3)
    assert fit(said, ROOM) == said


def test_a_history_of_400_calls_is_valid_and_fits_at_every_turn():
    """And its beginning mostly stays as the service has cached it: few requests begin differently from the last."""
    turns = [turn(number, *[f"{number}: " + "x" * 1500] * (1 + number % 4)) for number in range(160)]
    assert sum(len(one) - 1 for one in turns) == 400
    said, before, changed = [SYSTEM, TASK], [SYSTEM, TASK], 0
    for one in turns:
        said += one
        fitted = fit(said, ROOM)
        changed += fitted[: len(before)] != before
        before = fitted
        assert tokens(fitted) <= ROOM
        assert fitted[:2] == [SYSTEM, TASK]
        assert fitted[-len(one) :] == one
        require_valid(fitted)
    assert tokens(said) > 8 * ROOM
    assert 0 < changed < 30


def test_old_results_are_cut_first_and_whole_turns_go_last():
    few = fit(history(30), ROOM)
    assert len(few) == len(history(30)), "no turn is gone"
    assert "more characters were left out" in few[3].text
    assert few[-1] == history(30)[-1]
    many = fit(history(400), ROOM)
    assert "turns were left out, for want of room" in many[2].text
    assert "- bash make part-" in many[2].text
    assert len(many[2].text) < ROOM


def test_what_people_said_in_turns_that_went_stays():
    said = [SYSTEM, TASK, *turn(0, "done", said="A message from Ada: never touch the lexer."), *history(400)[2:]]
    assert "never touch the lexer" in fit(said, ROOM)[2].text
    assert "never touch the lexer" in said[4].text


def test_long_arguments_still_say_what_was_done():
    written = json.dumps({"path": "src/parser.py", "content": "x" * 40_000})
    said = [SYSTEM, TASK, *turn(0, "Wrote it.", arguments=written), *history(12)[2:]]
    call = fit(said, ROOM)[2].tool_calls[0]
    assert json.loads(call.arguments)["path"] == "src/parser.py"
    assert len(call.arguments) < 1000
    broken = [SYSTEM, TASK, *turn(0, "No.", arguments="{" + "x" * 40_000), *history(12)[2:]]
    assert fit(broken, ROOM)[2].tool_calls[0].arguments == '{"left_out": true}'


def test_the_latest_turn_loses_its_middle_only_where_it_is_itself_too_long():
    said = [SYSTEM, TASK, *turn(0, "a" * 200_000, "b" * 300)]
    fitted = fit(said, ROOM)
    assert tokens(fitted) <= ROOM
    assert fitted[3].text.startswith("aaa")
    assert "characters are left out here" in fitted[3].text
    assert fitted[4].text == "b" * 300, "the short one is whole"
    assert tokens(fitted) > 0.9 * ROOM, "no more is cut than has to be"


def test_an_instruction_that_is_longer_than_the_window_keeps_its_beginning_and_its_end():
    long = Message("user", f"swarm: s1\n{'word ' * 50_000}\nPlan the next tasks.")
    fitted = fit([SYSTEM, long], ROOM)
    assert tokens(fitted) <= ROOM
    assert fitted[1].text.startswith("swarm: s1\n")
    assert fitted[1].text.endswith("Plan the next tasks.")


def test_instructions_between_the_turns_stay():
    """As programs send them that reach a model through the gateway."""
    later = Message("system", "Answer in French.")
    said = [TASK, *turn(0, "one"), later, *history(400)[2:]]
    assert later in fit(said, ROOM)


def test_the_strict_judge_sees_what_a_careless_cut_would_break():
    said = history(20)
    assert "answers no call" in complaint("openai", encoded("openai", [*said[:2], *said[3:]]))
    assert "comes before the results" in complaint("openai", encoded("openai", [*said[:3], *said[4:]]))
    assert "tool_use without tool_result" in complaint("anthropic", encoded("anthropic", [*said[:3], *said[4:]]))
    assert complaint("anthropic", encoded("anthropic", [*said[:2], *said[3:]]))


texts = st.builds(
    lambda word, times: word * times, st.sampled_from(["x", "wort ", "语", '"\\\n']), st.integers(0, 4000)
)
arguments = st.one_of(
    st.just(""),
    st.builds(lambda text: json.dumps({"path": "a.py", "content": text}), texts),
    st.builds(lambda text: "{" + text, texts),
)


@st.composite
def conversations(draw: Callable[..., Any]) -> list[Message]:
    numbers = count()
    made = [SYSTEM, Message("user", f"swarm: s1\n{draw(texts)}")]
    for _ in range(draw(st.integers(0, 25))):
        results = draw(st.lists(texts, max_size=4))
        said = draw(st.sampled_from(["", "", "A message from Ada."]))
        made += turn(next(numbers), *results, arguments=draw(arguments), said=said)
    return made


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(said=conversations(), room=st.sampled_from([3000, 6000, ROOM]))
def test_whatever_was_said_the_request_is_valid_and_keeps_its_ends(said: list[Message], room: int):
    for end in (place for place, one in enumerate(said, 1) if place == len(said) or said[place].role == "assistant"):
        fitted = fit(said[:end], room)
        require_valid(fitted)
        assert tokens(fitted) <= room
        assert fitted[0] == SYSTEM
        assert fitted[1].text[:100] == TASK.text[:10] + said[1].text[10:100]
        assert fit(fitted, room) == fitted
        last = next((one for one in reversed(said[:end]) if one.role == "assistant"), None)
        assert last is None or [one.id for one in last.tool_calls] in [[c.id for c in m.tool_calls] for m in fitted]


@pytest.mark.parametrize("room", [1, 100])
def test_what_cannot_be_cut_any_more_is_still_valid(room: int):
    require_valid(fit(history(10), room))
