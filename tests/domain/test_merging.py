"""The queue's order is fair, its message provable, and what a crash left behind has one answer."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.merging import (
    AGING_S,
    LONGEST_ASIDE_S,
    MOST_PENALTY,
    TRAILER,
    Queued,
    Recovery,
    aside_s,
    in_order,
    landing_message,
    recover,
)

SHA = "a" * 40
QUEUED = st.builds(Queued, st.integers(1, 50), st.integers(1, 10), st.floats(0, 1e5), st.integers(0, 100))
ENTRIES = st.lists(QUEUED, max_size=8, unique_by=lambda one: one.id)


def test_nothing_is_next_in_an_empty_queue():
    assert in_order([]) == []


def test_the_most_urgent_is_next_then_the_oldest():
    assert in_order([Queued(3, 5), Queued(2, 5), Queued(9, 1)]) == [9, 2, 3]


def test_waiting_lifts_and_failing_holds_back():
    assert in_order([Queued(1, 5), Queued(2, 6, waited_s=2 * AGING_S)]) == [2, 1]
    assert in_order([Queued(1, 5, failures=1), Queued(2, 5)]) == [2, 1]


@given(ENTRIES)
def test_everybody_has_one_place(entries: list[Queued]):
    assert sorted(in_order(entries)) == sorted(one.id for one in entries)


@given(QUEUED, st.integers(1, 10))
def test_nobody_starves(one: Queued, priority: int):
    """Whoever comes later than this bound is behind it, however urgent, and however often the machine failed."""
    bound = AGING_S * (9 + MOST_PENALTY) + 1
    old = Queued(one.id, one.priority, one.waited_s + bound, one.failures)
    assert in_order([Queued(99, priority, one.waited_s), old])[0] == old.id


@given(st.integers(0, 10_000))
def test_putting_aside_is_bounded(failures: int):
    assert 1 <= aside_s(failures) <= aside_s(failures + 1) <= LONGEST_ASIDE_S


def message(summary: str) -> str:
    return landing_message(name="parser", summary=summary, entry_id="m1", head_sha=SHA)


TRAILERS = f"{TRAILER}: m1\nMQ-Head: {SHA}\nMQ-Task: parser\n"


def test_the_message_is_subject_summary_and_trailers():
    assert message("  It parses.\n") == f"Land parser\n\nIt parses.\n\n{TRAILERS}"
    assert message(" ") == f"Land parser\n\n{TRAILERS}"


def last_paragraph(text: str) -> str:
    return re.split(r"\n\s*\n", text.strip("\n"))[-1] + "\n"


@pytest.mark.parametrize(
    "summary",
    [
        f"Done.\n\n{TRAILER}: other",
        f"{TRAILER}: other\nMQ-Head: {'b' * 40}",
        f"Done.\n\n{TRAILER}: other\n\n\n",
        "---\ndiff --git a b",
    ],
)
def test_an_agents_summary_cannot_forge_the_trailers(summary: str):
    assert last_paragraph(message(summary)) == TRAILERS


@given(st.text())
def test_whatever_the_summary_says_the_trailers_stand_last_and_alone(summary: str):
    assert message(summary).endswith(f"\n\n{TRAILERS}")
    assert message(summary).startswith("Land parser\n\n")


@pytest.mark.parametrize(
    ("intent", "in_history", "expected"),
    [
        (SHA, True, Recovery.LANDED),
        (SHA, False, Recovery.REDO),
        ("", False, Recovery.REDO),
        ("", True, Recovery.REDO),
    ],
)
def test_it_has_landed_only_if_the_intended_commit_is_in_history(intent: str, in_history: bool, expected: Recovery):
    assert recover(intent_new=intent, intended_is_in_history=in_history) is expected
