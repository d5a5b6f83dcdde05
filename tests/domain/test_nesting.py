"""JSON that is nested deeper than our own code could walk ends where it is read, not in a crash later."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from orchestration.domain.conversation import MAX_NESTING, ToolCall, find_json_object, parse_arguments
from orchestration.domain.errors import InvalidInput
from orchestration.domain.planning import parse_plan
from orchestration.domain.texts import storable


def nested(depth: int) -> str:
    """An object with a list in a list, `depth` of them in all."""
    return '{"tasks": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


def objects(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


@pytest.mark.parametrize("depth", [MAX_NESTING + 1, 400, 900])
@pytest.mark.parametrize("made", [nested, objects])
def test_too_deep_arguments_are_refused_with_a_sentence(made: Callable[[int], str], depth: int):
    text = made(depth)
    with pytest.raises(InvalidInput, match="too much nesting"):
        parse_arguments(ToolCall("1", "submit_plan", text))
    assert find_json_object(f"The plan: {text}") is None


def test_arguments_that_are_encoded_twice_are_looked_at_too():
    twice = json.dumps(objects(MAX_NESTING + 1)).replace("{", "\\u007b")
    with pytest.raises(InvalidInput, match="too much nesting"):
        parse_arguments(ToolCall("1", "submit_plan", twice))


def test_brackets_in_a_text_are_no_nesting():
    given = {"content": "[{" * MAX_NESTING}
    assert parse_arguments(ToolCall("1", "write_file", json.dumps(given))) == given


def test_as_deep_as_is_taken_is_taken_by_everything_that_follows():
    text = nested(MAX_NESTING)
    value = parse_arguments(ToolCall("1", "submit_plan", text))
    assert storable(value) == value == find_json_object(text)
    with pytest.raises(InvalidInput, match="tasks"):
        parse_plan(value)


def test_what_is_refused_would_have_been_a_crash():
    deep: list[object] = []
    for _ in range(900):
        deep = [deep]
    with pytest.raises(RecursionError):
        storable(deep)


def test_a_deep_object_does_not_hide_another():
    assert find_json_object(f'{nested(900)} and {{"done": true}}') == {"done": True}
