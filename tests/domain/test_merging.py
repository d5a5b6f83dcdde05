"""The queue's order is fair, its message provable, and what a crash left behind has one answer."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.merging import TRAILER, Queued, Recovery, landing_message, next_entry, recover

ENTRIES = st.lists(st.builds(Queued, st.integers(1, 50), st.integers(1, 10)), max_size=8, unique_by=lambda one: one.id)
SHA = "a" * 40


def test_nothing_is_next_in_an_empty_queue():
    assert next_entry([]) is None


def test_the_most_urgent_is_next_then_the_oldest():
    assert next_entry([Queued(3, 5), Queued(2, 5), Queued(9, 1)]) == 9
    assert next_entry(iter([Queued(3, 5), Queued(2, 5)])) == 2


@given(ENTRIES)
def test_the_whole_queue_drains_in_the_order_of_urgency_and_age(entries: list[Queued]):
    left, order = list(entries), []
    while (chosen := next_entry(left)) is not None:
        order.append(chosen)
        left = [one for one in left if one.id != chosen]
    assert order == [one.id for one in sorted(entries, key=lambda one: (one.priority, one.id))]


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
