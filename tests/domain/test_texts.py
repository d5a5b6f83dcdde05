"""Whatever text comes from outside, every database can store it afterwards, and nothing else was changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.texts import REPLACEMENT, bytes_of, first_line, storable

# Half pairs and NUL on purpose, often, and beside what they could be confused with.
ODD = st.sampled_from(["\x00", "\ud83d", "\ude00", "\U0001f600", "\ufeff", "\ufffe", "\uffff", "a", "ä"])
TEXT = st.text(alphabet=st.characters(exclude_categories=[]) | ODD, max_size=20)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = [*value.keys(), *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for one in inner for text in texts(one)]


@given(VALUE)
def test_the_result_is_utf8_without_nul(value: Any):
    encoded = json.dumps(storable(value), ensure_ascii=False).encode("utf-8")
    assert json.loads(encoded) == storable(value)
    assert all("\x00" not in text for text in texts(storable(value)))


@given(TEXT)
def test_a_texts_length_in_bytes_is_that_of_its_encoding(text: str):
    assert bytes_of(text) == len(text.encode("utf-8", "replace"))


@given(VALUE)
def test_twice_is_once(value: Any):
    assert storable(storable(value)) == storable(value)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_what_can_be_stored_is_left_alone(text: str):
    assert storable(text) == text


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("a\x00b", f"a{REPLACEMENT}b"),
        ("\ud83d", REPLACEMENT),
        ("\ud83dx", f"{REPLACEMENT}x"),
        ("\ude00\ud83d", REPLACEMENT * 2),
        ("\ud83d\ud83d\ude00", f"{REPLACEMENT}\U0001f600"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\ufeffmark", "\ufeffmark"),
        ("", ""),
    ],
)
def test_only_what_is_no_character_is_replaced(text: str, stored: str):
    assert storable(text) == stored


def test_values_keep_their_shape():
    value = {"a\x00": [1, 2.5, None, True, ("x\x00", {"k": "\ud83d"})]}
    assert storable(value) == {f"a{REPLACEMENT}": [1, 2.5, None, True, [f"x{REPLACEMENT}", {"k": REPLACEMENT}]]}


@pytest.mark.parametrize(
    ("text", "most", "line"),
    [
        ("one\ntwo", 10, "one"),
        ("\n \n  two  \nthree", 10, "two"),
        ("", 10, ""),
        (" \n ", 10, ""),
        ("exactly ten", 11, "exactly ten"),
        ("exactly ten", 10, "exactly t…"),
        ("exactly ten", 9, "exactly…"),
    ],
)
def test_the_first_line_that_says_something(text: str, most: int, line: str):
    assert first_line(text, most) == line


@given(st.text(max_size=50), st.integers(1, 30))
def test_a_first_line_is_one_line_and_short_enough(text: str, most: int):
    line = first_line(text, most)
    assert len(line) <= most
    assert len(line.splitlines()) <= 1
