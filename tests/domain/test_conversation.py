"""What a model wrote is read tolerantly, and refused with one sentence where it cannot be."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.conversation import (
    Endpoint,
    Message,
    ToolCall,
    Usage,
    cost,
    estimate_tokens,
    find_json_object,
    parse_arguments,
)
from orchestration.domain.errors import InvalidInput

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def call(arguments: str) -> ToolCall:
    return ToolCall("call_1", "read_file", arguments)


def endpoint(**changes: object) -> Endpoint:
    return dataclasses.replace(Endpoint("main", "openai", "http://127.0.0.1:1/v1", "m"), **changes)


def test_arguments_are_read():
    assert parse_arguments(call('{"path": "a.py", "offset": 3}')) == {"path": "a.py", "offset": 3}


@pytest.mark.parametrize("empty", ["", "  \n"])
def test_no_arguments_are_an_empty_object(empty: str):
    assert parse_arguments(call(empty)) == {}


def test_arguments_encoded_twice_are_read():
    assert parse_arguments(call(json.dumps(json.dumps({"path": "a"})))) == {"path": "a"}


def test_a_raw_line_break_in_a_string_is_tolerated():
    assert parse_arguments(call('{"content": "one\ntwo"}')) == {"content": "one\ntwo"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ('{"path": "a', r"not valid JSON \(.* at character 9\); send one JSON object\.$"),
        ('["a"]', r"^The arguments of read_file must be one JSON object\.$"),
        ('"just text"', "not valid JSON"),
        ("null", "must be one JSON object"),
        ('{"a": NaN}', "NaN, Infinity"),
        ('{"a": -Infinity}', "NaN, Infinity"),
        ('{"a": ' + "9" * 5000 + "}", "an endless number"),
        ('{"a": ' + "[" * 100_000, "too much nesting"),
        (r'{"a": "\ud83d"}', "half of a surrogate pair"),
    ],
)
def test_unusable_arguments_are_refused_with_one_sentence_that_names_the_tool(arguments: str, sentence: str):
    with pytest.raises(InvalidInput, match=sentence) as caught:
        parse_arguments(call(arguments))
    assert "read_file" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_escaped_pair_is_a_whole_character():
    assert parse_arguments(call(r'{"a": "\ud83d\ude00"}')) == {"a": "\U0001f600"}


@pytest.mark.parametrize(
    "text",
    [
        '{"done": true}',
        'Here is the plan:\n```json\n{"done": true}\n```\nGood luck.',
        'I would submit {"done": true} now.',
        'Given {x} and {"a"}, the answer is {"done": true}',
        '{} is empty, {"done": true} is not',
        '```\n{"done": true,}\n```',
        '{"done": true, "unfinished',
    ],
)
def test_an_object_is_found_in_prose(text: str):
    expected = None if text.endswith("unfinished") else {"done": True}
    assert find_json_object(text) == expected


def test_the_largest_object_wins():
    text = 'For example {"a": 1}. So: {"tasks": [{"name": "one"}], "done": false} and {"b": 2}'
    assert find_json_object(text) == {"tasks": [{"name": "one"}], "done": False}


def test_fences_and_braces_inside_strings_do_not_confuse_it():
    value = {"text": "```json\n{ not this }\n```", "more": 'a "quoted" }'}
    assert find_json_object(f"Answer:\n```json\n{json.dumps(value)}\n```") == value


def test_removing_a_trailing_comma_leaves_strings_alone():
    assert find_json_object('{"text": "a,}", "list": [1, 2,],}') == {"text": "a,}", "list": [1, 2]}


@pytest.mark.parametrize("text", ["", "no object", "[1, 2]", "{broken", "}{"])
def test_no_object_is_none(text: str):
    assert find_json_object(text) is None


HOSTILE = {
    "nested and unfinished": '{"a":' * 60_000,
    "braces": "{" * 400_000,
    "keys without values": '{"' * 400_000,
    "read to the end from everywhere": '{"a":[' * 900 + "1," * 200_000,
    "escapes": '{"' + '\\"' * 300_000,
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_ends_in_none(hostile: str):
    assert find_json_object(hostile) is None


@given(st.dictionaries(st.text(), PLAIN, min_size=1), st.sampled_from(["", "Well: ", "```json\n"]))
def test_what_was_encoded_is_found_again(value: dict[str, object], before: str):
    text = json.dumps(value)
    assert find_json_object(before + text) == value
    assert parse_arguments(call(text)) == value


def test_tokens_are_estimated_from_the_size_and_never_fail():
    assert estimate_tokens("") == 0
    assert estimate_tokens("a") == 1
    assert estimate_tokens("a" * 400) == 100
    assert estimate_tokens("\ud83d") == 1


def test_cost_is_exact():
    dear = endpoint(input_price=Decimal("2.50"), output_price=Decimal(10))
    assert cost(Usage(1_000_000, 1), dear) == Decimal("2.50001")
    assert cost(Usage(3, 7, cached_tokens=3), dear) == Decimal("0.0000775")
    assert cost(Usage(1_000, 1_000), endpoint()) == 0


def test_values_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Message("user", "hello").text = "other"
