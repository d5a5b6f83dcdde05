"""A swarm's figures, against examples counted by hand."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.states import ATTEMPT_LIVE, AttemptStatus
from orchestration.domain.stats import AttemptFacts, Planning, statistics

NO_PLANNING = Planning(steps=0, seconds=0.0)


def attempt(subtask: str, level: int = 0, **facts: Any) -> AttemptFacts:
    plain = AttemptFacts(subtask, level, AttemptStatus.COMPLETE, steps=1, tool_calls=1, seconds=1.0)
    return dataclasses.replace(plain, **facts)


def test_nothing_has_happened_yet():
    assert statistics([], {}, NO_PLANNING, wall_s=0.0) == {
        "subagents_spawned": 0,
        "subagents_completed": 0,
        "subagents_failed": 0,
        "total_tool_calls": 0,
        "critical_path": [],
        "critical_path_steps": 0,
        "critical_path_s": 0.0,
        "wall_s": 0.0,
        "sequential_estimate_s": 0.0,
        "speedup": 0.0,
        "levels": [],
    }


def test_a_diamond_counted_by_hand():
    """base (5 s) before left (10 s) and right (3 s, at the second try after 4 s), both before end (2 s)."""
    attempts = [
        attempt("base", 0, steps=4, tool_calls=5, seconds=5.0),
        attempt("left", 1, steps=3, tool_calls=6, seconds=10.0),
        attempt("right", 1, steps=5, tool_calls=1, seconds=4.0, status=AttemptStatus.FAILED),
        attempt("right", 1, steps=2, tool_calls=2, seconds=3.0),
        attempt("end", 2, steps=1, tool_calls=0, seconds=2.0),
    ]
    needs = {"base": [], "left": ["base"], "right": ["base"], "end": ["left", "right"]}
    figures = statistics(attempts, needs, Planning(steps=2, seconds=6.0), wall_s=20.0)
    assert figures == {
        "subagents_spawned": 5,
        "subagents_completed": 4,
        "subagents_failed": 1,
        "total_tool_calls": 14,
        "critical_path": ["base", "right", "end"],  # the most turns: 4 + 7 + 1
        "critical_path_steps": 14,
        "critical_path_s": 23.0,  # the longest time: 6 + 5 + 10 + 2
        "wall_s": 20.0,
        "sequential_estimate_s": 30.0,
        "speedup": 1.5,
        "levels": [
            {"level": 0, "subagents": 1, "max_steps": 4, "total_steps": 4, "seconds": 5.0},
            {"level": 1, "subagents": 3, "max_steps": 5, "total_steps": 10, "seconds": 10.0},
            {"level": 2, "subagents": 1, "max_steps": 1, "total_steps": 1, "seconds": 2.0},
        ],
    }


@pytest.mark.parametrize("status", AttemptStatus)
def test_an_attempt_is_completed_failed_or_still_going(status: AttemptStatus):
    figures = statistics([attempt("a", status=status)], {"a": []}, NO_PLANNING, wall_s=1.0)
    counted = (figures["subagents_completed"], figures["subagents_failed"])
    if status is AttemptStatus.COMPLETE:
        assert counted == (1, 0)
    else:
        assert counted == ((0, 0) if status in ATTEMPT_LIVE else (0, 1))


def test_a_subtask_that_never_ran_adds_nothing():
    figures = statistics([attempt("a", steps=2)], {"a": [], "b": ["a"]}, NO_PLANNING, wall_s=4.0)
    assert figures["critical_path"] == ["a"]
    assert figures["speedup"] == 0.25


ATTEMPTS = st.lists(
    st.builds(
        AttemptFacts,
        st.sampled_from("abc"),
        st.integers(0, 2),
        st.sampled_from(AttemptStatus),
        st.integers(0, 9),
        st.integers(0, 9),
        st.integers(0, 900).map(float),
    ),
    max_size=8,
)


@given(ATTEMPTS, st.integers(0, 100).map(float))
def test_a_chain_is_never_longer_than_everything_one_after_another(attempts: list[AttemptFacts], wall: float):
    figures = statistics(attempts, {"a": [], "b": ["a"], "c": ["a"]}, Planning(3, 2.0), wall_s=wall)
    assert figures["critical_path_s"] <= figures["sequential_estimate_s"]
    assert 3 <= figures["critical_path_steps"] <= 3 + sum(one.steps for one in attempts)
    assert sum(level["subagents"] for level in figures["levels"]) == len(attempts)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
