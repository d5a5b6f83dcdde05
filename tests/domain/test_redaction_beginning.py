"""Of an answer that still grows nothing is shown that may turn out to be part of a secret."""

from __future__ import annotations

import json
from base64 import b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as some

from orchestration.domain.redaction import REMOVED, Redactor

KEY = "sk-planted/0123456789abcdef"
FORMS = [
    KEY,
    b64encode(KEY.encode()).decode(),
    b64encode(b"x" + KEY.encode()).decode(),
    KEY.encode().hex(),
    quote(KEY, safe=""),
    json.dumps(KEY + '"')[1:-1],
]
ALL = Redactor.of([KEY])


@pytest.mark.parametrize("form", FORMS)
def test_no_beginning_of_a_secret_is_ever_shown(form: str):
    """Cut at every place: what is shown then is also what the whole answer shows."""
    text = f"It is {form}, as I said."
    whole = ALL.text(text)
    for end in range(len(text) + 1):
        shown = ALL.beginning(text[:end])
        assert whole.startswith(shown), (end, shown)


def test_without_it_the_beginning_would_be_shown():
    """The control: cleaning the pieces alone leaks all but the last character."""
    assert KEY[:-1] in ALL.text(f"It is {KEY[:-1]}")
    assert ALL.beginning(f"It is {KEY[:-1]}") == "It is "


def test_what_turns_out_to_be_none_is_shown_with_what_follows():
    assert ALL.beginning("ask-") == "a"
    assert ALL.beginning("ask-me") == "ask-me"
    assert ALL.beginning("All is well.") == "All is well."
    assert ALL.beginning("") == ""


def test_a_secret_that_ends_as_it_begins_is_not_parted():
    all_of = Redactor.of(["abcdefgh-abc"])
    assert all_of.beginning("x abcdefgh-abc") == "x "
    assert all_of.beginning("x abcdefgh-abc.") == f"x {REMOVED}."
    assert all_of.beginning("abcdefgh-abcdefgh-abc") == ""


def test_a_shorter_secret_inside_a_longer_one_shows_no_part_of_it():
    all_of = Redactor.of(["before-inner-secret-after", "inner-secret"])
    assert all_of.beginning("x before-inner-secret") == "x "
    assert all_of.beginning("x before-inner-secret-after.") == f"x {REMOVED}."
    assert all_of.beginning("x inner-secret.") == f"x {REMOVED}."


def test_nothing_is_held_where_there_is_no_secret():
    assert Redactor.of([]).beginning("sk-") == "sk-"


pieces = some.lists(some.sampled_from(["abcdefgh", "abcd", "efgh", "gh", "xy", "ab"]), max_size=8).map("".join)


@given(pieces, some.integers(0, 64))
def test_whatever_comes_next_no_more_was_shown_than_the_whole_shows(text: str, cut: int):
    all_of = Redactor.of(["abcdefgh", "ghabcdefxy", "efghefgh"])
    assert all_of.text(text).startswith(all_of.beginning(text[:cut]))
