"""The queue's order is fair, its message provable, and what a crash left behind has one answer."""

from __future__ import annotations

import re
from dataclasses import replace

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
IDS = st.integers(1, 50)
QUEUED = st.builds(
    Queued,
    IDS,
    st.integers(1, 10),
    st.floats(0, 1e5),
    st.integers(0, 100),
    st.integers(0, 3),
    st.frozensets(IDS, max_size=3),
)
FREE = QUEUED.map(lambda one: replace(one, needs=frozenset()))
ENTRIES = st.lists(QUEUED, max_size=8, unique_by=lambda one: one.id)
OTHERS = st.lists(FREE, max_size=12, unique_by=lambda one: one.id)
STARVED_S = AGING_S * (9 + MOST_PENALTY + 1) + 1  # urgency, the penalty, and the turns of one class


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


@given(FREE, OTHERS, st.integers(1, 10), st.integers(0, 5))
def test_nobody_starves(one: Queued, others: list[Queued], priority: int, owner: int):
    """Whoever comes later than this bound is behind it, however urgent, whoever else waits, whoever's turn it is."""
    old = replace(one, id=100, waited_s=one.waited_s + STARVED_S)
    late = Queued(101, priority, one.waited_s, owner=owner)
    order = in_order([*others, late, old])
    assert order.index(100) < order.index(101)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 10)), max_size=12), st.integers(1, 4), st.integers(1, 10))
def test_all_that_waits_is_chosen_within_a_bound_while_urgent_ones_keep_coming(
    older: list[tuple[int, int]], cap: int, priority: int
):
    """Every round takes the first few, and lets as many of the most urgent come in, each of an owner of its own."""
    round_s = AGING_S / 4
    queue = {number: (level, owner, 0) for number, (owner, level) in enumerate(older)}
    queue[99] = (priority, 9, 0)
    before_it_is_safe = int(STARVED_S / round_s) + 1
    for number in range(before_it_is_safe + len(queue) // cap + 2 + before_it_is_safe):
        waiting = [
            Queued(pk, level, (number - came) * round_s, owner=owner) for pk, (level, owner, came) in queue.items()
        ]
        for chosen in in_order(waiting)[:cap]:
            del queue[chosen]
        if 99 not in queue:
            return
        for late in range(cap):
            queue[1000 + number * cap + late] = (1, 1000 + number * cap + late, number)
    raise AssertionError("it waits for ever")


def test_owners_of_one_class_take_turns():
    crowd = [Queued(number, 5, owner=1) for number in range(1, 6)]
    assert in_order([*crowd, Queued(10, 5, owner=2), Queued(11, 5, owner=2)]) == [1, 10, 2, 11, 3, 4, 5]


@given(st.lists(FREE, max_size=12, unique_by=lambda one: one.id), st.integers(0, 3))
def test_fifty_of_one_owner_hold_another_back_by_one_turn(others: list[Queued], owner: int):
    """Of its class, at most one of each other owner, or older ones of its own, is before an owner's first."""
    order = in_order([*others, *(Queued(number, 5, owner=7) for number in range(100, 150)), Queued(200, 5, owner=8)])
    assert sum(100 <= one < 150 for one in order[: order.index(200)]) <= 1


def test_a_class_that_is_more_urgent_takes_no_turns_with_others():
    assert in_order([Queued(1, 2, owner=1), Queued(2, 2, owner=1), Queued(3, 3, owner=2)]) == [1, 2, 3]


@given(ENTRIES)
def test_what_is_needed_stands_before_what_needs_it(entries: list[Queued]):
    """Where the needs go in no circle: here they only point to lower numbers."""
    lower = [replace(one, needs=frozenset(needed for needed in one.needs if needed < one.id)) for one in entries]
    order = in_order(lower)
    places = {pk: place for place, pk in enumerate(order)}
    assert all(places[needed] < places[one.id] for one in lower for needed in one.needs if needed in places)


def test_what_an_urgent_one_needs_is_as_urgent_and_comes_together_with_it():
    chain = [Queued(3, 9), Queued(2, 9, needs=frozenset({3})), Queued(1, 1, needs=frozenset({2}))]
    assert in_order([Queued(9, 2), *chain]) == [3, 2, 1, 9]


def test_a_circle_of_needs_holds_nobody_back():
    assert in_order([Queued(1, 5, needs=frozenset({2})), Queued(2, 5, needs=frozenset({1}))]) == [2, 1]


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
