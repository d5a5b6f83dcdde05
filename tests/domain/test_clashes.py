"""What the forecast makes of merges that conflict: who is named, to whom it is told, and what is said once."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.clashes import (
    MOST_CLASHES,
    Branch,
    Clash,
    Lander,
    Place,
    as_row,
    counted,
    fingerprint,
    foresee,
    from_rows,
    pairs,
    still_true,
    untold,
)

BASE, COMMIT = "b" * 40, "c" * 40
FILES = ("a.txt", "b.txt", "src/c.py")


def branch(name: str, place: Place = Place.RUNNING, *paths: str, commit: str = COMMIT, **more: Any) -> Branch:
    return replace(Branch(name, name, place, BASE, commit, frozenset(paths)), **more)


def clash(name: str = "one", other: str = "two", *paths: str, place: Place = Place.LANDED, sure: bool = True) -> Clash:
    return Clash(name, name, other, other, place, paths or ("a.txt",), sure)


branches_made = st.lists(
    st.builds(
        branch,
        st.uuids().map(str),
        st.sampled_from([Place.QUEUED, Place.RUNNING]),
        commit=st.sampled_from([COMMIT, ""]),
        paths=st.frozensets(st.sampled_from(FILES)),
        landed=st.frozensets(st.sampled_from(FILES)),
        scope=st.lists(st.sampled_from([*FILES, "src/**", "*.txt"]), max_size=2).map(tuple),
    ),
    max_size=8,
    unique_by=lambda one: one.subtask,
)


@given(branches_made)
def test_exactly_those_are_merged_that_share_a_file_and_have_a_commit(branches: list[Branch]):
    wanted = {
        (one, other)
        for one, other in combinations(range(len(branches)), 2)
        if branches[one].commit and branches[other].commit and branches[one].paths & branches[other].paths
    }
    assert set(pairs(branches)) == wanted
    assert len(pairs(branches, 3)) == min(3, len(wanted))


@given(branches_made, st.data())
def test_a_forecast_names_only_what_was_found(branches: list[Branch], data: st.DataObject):
    """Everybody once a side, nobody with themselves, sure only where git said so."""
    conflicting = st.frozensets(st.sampled_from(FILES), min_size=1)
    with_tip = {
        at: data.draw(conflicting) for at, one in enumerate(branches) if one.commit and data.draw(st.booleans())
    }
    between = {pair: data.draw(conflicting) for pair in pairs(branches) if data.draw(st.booleans())}
    found = foresee(branches, with_tip, between, {})
    keys = [(one.subtask, one.other, one.place, one.sure) for one in found]
    assert len(set(keys)) == len(keys)
    by_id = {one.subtask: one for one in branches}
    for one in found:
        assert one.other != one.subtask
        assert one.paths
        assert by_id[one.subtask].place is Place.RUNNING or one.place is not Place.RUNNING
        assert one.sure == (
            bool(by_id[one.subtask].commit) and (one.place is Place.LANDED or bool(by_id[one.other].commit))
        )
    assert not found or with_tip or between or any(not one.commit for one in branches)
    assert from_rows(map(as_row, found)) == found


@given(branches_made, branches_made)
def test_the_fingerprint_is_the_same_for_the_same_alone(ones: list[Branch], others: list[Branch]):
    assert fingerprint("t", ones) == fingerprint("t", ones[::-1])
    assert fingerprint("t", ones) != fingerprint("u", ones)
    assert (fingerprint("t", ones) == fingerprint("t", others)) == (
        sorted(map(repr, map(_plain, ones))) == sorted(map(repr, map(_plain, others)))
    )
    assert len(fingerprint("t" * 40, ones)) <= 80


def _plain(one: Branch) -> tuple[object, ...]:
    return one.subtask, one.place, one.base, one.commit, sorted(one.paths), one.scope


def test_a_conflict_with_what_landed_names_who_landed_each_file():
    landers = {(BASE, "a.txt"): Lander("l1", "first", "Wrote it."), (BASE, "b.txt"): Lander("l2", "second")}
    found = foresee([branch("mine")], {0: frozenset({"a.txt", "b.txt", "c.txt"})}, {}, landers)
    assert [(one.other, one.other_name, one.paths) for one in found] == [
        ("l1", "first", ("a.txt",)),
        ("l2", "second", ("b.txt",)),
        ("", "what landed", ("c.txt",)),
    ]
    assert all(one.sure and one.place is Place.LANDED for one in found)


def test_what_conflicts_with_the_branch_already_is_not_told_of_a_pair_again():
    both = [branch("one", Place.QUEUED, "a.txt", "b.txt"), branch("two", Place.RUNNING, "a.txt", "b.txt")]
    found = foresee(both, {1: frozenset({"a.txt"})}, {(0, 1): frozenset({"a.txt", "b.txt"})}, {})
    assert [(one.name, one.place, one.paths) for one in found] == [
        ("two", Place.LANDED, ("a.txt",)),
        ("two", Place.QUEUED, ("b.txt",)),
    ]


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (Place.RUNNING, Place.RUNNING, {"one", "two"}),
        (Place.QUEUED, Place.RUNNING, {"two"}),
        (Place.RUNNING, Place.QUEUED, {"one"}),
        (Place.QUEUED, Place.QUEUED, {"two"}),
    ],
)
def test_of_two_the_one_that_can_still_do_something_is_told(first: Place, second: Place, told: set[str]):
    both = [branch("one", first, "a.txt"), branch("two", second, "a.txt")]
    found = foresee(both, {}, {(0, 1): frozenset({"a.txt"})}, {})
    assert {one.name for one in found} == told


def test_without_a_commit_the_names_of_files_are_all_there_is():
    held = branch("held", Place.RUNNING, "a.txt", commit="", landed=frozenset({"a.txt", "b.txt", "src/c.py"}))
    (found,) = foresee([held], {}, {}, {})
    assert (found.paths, found.sure) == (("a.txt",), False)
    (found,) = foresee([replace(held, paths=frozenset(), scope=("./b.txt", "src/**"))], {}, {}, {})
    assert found.paths == ("b.txt",)  # of a scope only single files, or all that lands beside it would be told
    assert foresee([replace(held, commit=COMMIT)], {}, {}, {}) == []  # git has merged it


def test_two_that_have_a_file_open_may_conflict_and_are_not_told_yet():
    both = [branch("one", Place.RUNNING, "a.txt", commit=""), branch("two", Place.RUNNING, "a.txt", "b.txt")]
    found = foresee(both, {}, {}, {})
    assert {(one.name, one.sure, one.is_told) for one in found} == {("one", False, False), ("two", False, False)}
    assert untold(found, "one", []) == []


def test_a_forecast_has_an_end():
    many = [branch(f"n{at}", Place.RUNNING, "a.txt", commit="") for at in range(60)]
    assert len(foresee(many, {}, {}, {})) == MOST_CLASHES


def test_a_clash_goes_when_one_side_has_landed_or_is_given_up():
    landed, queued, running = clash(), clash(other="q", place=Place.QUEUED), clash(other="r", place=Place.RUNNING)
    every = [landed, queued, running]
    assert still_true(every, frozenset({"one", "q", "r"})) == every
    assert still_true(every, frozenset({"one", "r"})) == [landed, running]
    assert still_true(every, frozenset({"q", "r"})) == []


def test_each_is_told_once_and_only_its_new_files():
    first = clash("one", "two", "a.txt")
    assert untold([first, clash("else")], "one", []) == [first]
    grown = clash("one", "two", "a.txt", "b.txt")
    assert untold([grown], "one", first.keys) == [clash("one", "two", "b.txt")]
    assert untold([grown], "one", grown.keys) == []
    third = clash("one", "three", "a.txt")
    assert untold([grown, third], "one", grown.keys) == [third]


def test_a_guess_is_told_before_the_knowledge_and_not_after():
    guess, sure = clash(sure=False), clash()
    assert untold([guess], "one", []) == [guess]
    assert untold([guess], "one", guess.keys) == []
    assert untold([sure], "one", guess.keys) == [sure]
    assert untold([guess], "one", sure.keys) == []


def test_names_with_colons_stay_apart():
    odd = clash("one", "two", "x:a.txt", sure=False)
    assert untold([clash("one", "x", "a.txt")], "one", odd.keys) == [clash("one", "x", "a.txt")]
    assert untold([odd], "one", odd.keys) == []


def test_figures_add_up_and_remember_the_longest():
    once = counted({}, made=1, merges=5, ms=20.0)
    twice = counted(once, made=1, merges=3, ms=8.5, warnings=2)
    assert twice == {"made": 2, "given_up": 0, "merges": 8, "ms": 28.5, "longest_ms": 20.0, "warnings": 2}
