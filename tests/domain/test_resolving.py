"""Who settles a conflict: each rung in its turn, with its own budget, and a person at the end."""

from __future__ import annotations

import pytest

from orchestration.domain.resolving import (
    MAX_LINES,
    MAX_ROUNDS,
    Conflict,
    Place,
    Rung,
    labelled,
    lines_between_markers,
    next_step,
    places,
)

R, C, F, P = Rung.REGENERATE, Rung.CONTINUED, Rung.FRESH, Rung.PERSON


@pytest.mark.parametrize(
    ("tried", "rung"),
    [((), C), ((C,), C), ((C, C), F), ((C, C, F), P), ((C, C, C, F), P), ((R,), C), ((F,), C)],
)
def test_each_rung_in_its_turn(tried: tuple[Rung, ...], rung: Rung):
    assert next_step(Conflict(tried=tried, lines=3)).rung is rung


def test_a_command_goes_first_and_once():
    assert next_step(Conflict(made=True)).rung is R
    assert next_step(Conflict(made=True, tried=(R,))).rung is C


@pytest.mark.parametrize(("lines", "rung"), [(MAX_LINES, F), (MAX_LINES + 1, P)])
def test_another_agent_is_asked_up_to_a_size(lines: int, rung: Rung):
    step = next_step(Conflict(tried=(C, C), lines=lines))
    assert step.rung is rung
    assert (f"{lines} lines are more than another agent is given" in step.reason) is (rung is P)


def test_what_is_no_text_is_for_a_person():
    step = next_step(Conflict(binary=True))
    assert (step.rung, step.reason) == (P, "What conflicts is no text, so no agent can put it together. It needs you.")


@pytest.mark.parametrize(("rounds", "rung"), [(MAX_ROUNDS - 1, C), (MAX_ROUNDS, P)])
def test_nobody_runs_after_a_moving_branch_for_ever(rounds: int, rung: Rung):
    assert next_step(Conflict(rounds=rounds)).rung is rung


def test_the_reason_says_who_and_which_try():
    assert next_step(Conflict(tried=(C,))).reason == "In conflict: the subtask's agent settles it (try 2 of 2)."


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (b"", 0),
        (b"a\n<<<<<<< x\nb\nc\n=======\nd\n>>>>>>> y\ne\n", 3),
        (b"<<<<<<< x\n=======\n>>>>>>> y\n<<<<<<< x\n1\n=======\n2\n>>>>>>> y\n", 2),
        (b"no markers\n=======\n", 0),
    ],
)
def test_only_the_lines_between_markers_count(text: bytes, count: int):
    assert lines_between_markers(text) == count


# Where it conflicts, for a reader.

MERGED = "a\nb\nc\nd\n<<<<<<< x\nO1\n=======\nT1\nT2\n>>>>>>> y\ne\nf\n<<<<<<< x\n=======\nT3\n>>>>>>> y\ng\n"


def test_each_place_is_shown_with_the_lines_around_it_and_none_twice_as_its_own():
    first, second = places(MERGED)
    assert first == Place("b\nc\nd\n", "O1\n", "T1\nT2\n", "e\nf\n")
    assert second == Place("e\nf\n", "", "T3\n", "g\n\n")


@pytest.mark.parametrize("text", ["", "a\n", "<<<<<<< x\na\n", "<<<<<<< x\na\n=======\nb\n", "=======\n>>>>>>> y\n"])
def test_what_does_not_end_is_no_place(text: str):
    assert places(text) == []


def test_markers_are_told_in_words_and_the_rest_is_left_alone():
    sha = "1234567890" * 4
    text = f"<<<<<<< {sha}\na\n=======\nb\n>>>>>>> {sha}:old.txt\nx <<<<<<< {sha}\n<<<<<<< mine\n"
    assert labelled(text) == (
        f"<<<<<<< what landed\na\n=======\nb\n>>>>>>> this subtask:old.txt\nx <<<<<<< {sha}\n<<<<<<< mine\n"
    )
