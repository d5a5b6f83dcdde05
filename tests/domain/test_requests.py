"""A request is taken as it was written, or refused with what to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.errors import InvalidInput
from orchestration.domain.requests import MAX_CHARACTERS, check_request, title_of


@pytest.mark.parametrize("text", ["", " ", "\n\t\r\n "])
def test_an_empty_request_is_refused(text: str):
    with pytest.raises(InvalidInput, match=r"^The request is empty. Write what should be done"):
        check_request(text)


def test_a_megabyte_is_refused_with_its_size_and_the_limit():
    with pytest.raises(InvalidInput, match=r"has 1,000,000 characters; at most 100,000 .* into the repository"):
        check_request("x" * 1_000_000)


def test_the_longest_request_is_taken_and_one_more_character_is_not():
    assert check_request("x" * MAX_CHARACTERS) == "x" * MAX_CHARACTERS
    with pytest.raises(InvalidInput, match="100,001"):
        check_request("x" * (MAX_CHARACTERS + 1))


@pytest.mark.parametrize("text", ["a\x00b", "a\udcffb", "half \ud83d"])
def test_what_no_database_stores_is_refused(text: str):
    with pytest.raises(InvalidInput, match=r"paste it as plain UTF-8 text\.$"):
        check_request(text)


@pytest.mark.parametrize("text", ["Mend it. \U0001f600", "a\ud7ffb\ue000c", "línea\n\n  indented"])
def test_every_whole_character_is_taken(text: str):
    assert check_request(text) == text


def test_line_ends_are_made_plain_and_the_edges_trimmed():
    assert check_request("\r\n one\r\n  two \r\n") == "one\n  two"


@given(st.text(max_size=200))
def test_what_is_taken_can_be_stored_and_is_taken_again_unchanged(text: str):
    try:
        taken = check_request(text)
    except InvalidInput:
        assert not text.strip() or "\x00" in text
    else:
        taken.encode()
        assert check_request(taken) == taken


@pytest.mark.parametrize(
    ("request_text", "title"),
    [
        ("Mend the parser", "Mend the parser"),
        ("# Plan a week\n\nLarder can show", "Plan a week"),
        ("###   Deep", "Deep"),
        ("\n\n  first\nsecond", "first"),
        ("#123 is broken", "#123 is broken"),
        ("Make C# code compile", "Make C# code compile"),
        ("#\n\nafter an empty heading", "after an empty heading"),
        ("#", "Untitled"),
        ("", "Untitled"),
    ],
)
def test_the_title_is_the_first_line_that_says_something(request_text: str, title: str):
    assert title_of(request_text) == title


def test_a_long_title_is_cut():
    assert title_of("# " + "word " * 100) == ("word " * 24)[:119].rstrip() + "…"
    assert title_of("x" * 120) == "x" * 120
    assert title_of("x" * 121) == "x" * 119 + "…"
