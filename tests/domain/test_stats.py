"""A swarm's figures, against examples counted by hand."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.states import ATTEMPT_LIVE, AttemptStatus, EntryStatus
from orchestration.domain.stats import (
    COMPARISON,
    AttemptFacts,
    Executed,
    MergeFacts,
    PlanFacts,
    Usage,
    executed_chain,
    quantile,
    statistics,
)


def attempt(subtask: str, start: float = 0.0, end: float = 1.0, **facts: Any) -> AttemptFacts:
    plain = AttemptFacts(subtask, 1, 0, AttemptStatus.COMPLETE, steps=1, tool_calls=1, start=start, end=end, plan=1)
    return dataclasses.replace(plain, **facts)


def chain(executed: Executed) -> list[tuple[str, int]]:
    return [(link.name or "planner", link.number) for link in executed_chain(executed)]


def test_nothing_has_happened_yet():
    assert statistics(Executed(wall_s=0.0)) == {
        "subagents_spawned": 0,
        "subagents_completed": 0,
        "subagents_failed": 0,
        "subagents_stopped": 0,
        "total_tool_calls": 0,
        "critical_path": [],
        "critical_chain": [],
        "critical_path_steps": 0,
        "critical_path_s": 0.0,
        "wall_s": 0.0,
        "sequential_estimate_s": 0.0,
        "speedup": 0.0,
        "comparison": COMPARISON,
        "levels": [],
        "cache_hits": 0,
        "cache_misses": 0,
        "usage": [],
        "rate_limit": {"calls": 0, "retries": 0, "refused": 0, "waited_s": 0.0},
        "merges": {"landed": 0, "conflicted": 0, "rejected": 0},
    }


FIRST_PLAN = PlanFacts(1, steps=2, start=0.0, end=6.0)
DIAMOND = Executed(
    wall_s=40.0,
    plans=[FIRST_PLAN],
    attempts=[
        attempt("base", 6.0, 11.0, landed=12.0, steps=4, tool_calls=5),
        attempt("left", 12.0, 22.0, landed=23.0, level=1, steps=3, tool_calls=6),
        attempt("right", 12.0, 18.0, level=1, steps=5, status=AttemptStatus.FAILED),
        attempt("right", 19.0, 26.0, number=2, landed=27.0, level=1, steps=2, tool_calls=2),
        attempt("end", 27.0, 29.0, landed=30.0, level=2, tool_calls=0),
    ],
    needs={"base": [], "left": ["base"], "right": ["base"], "end": ["left", "right"]},
)


def test_a_diamond_counted_by_hand():
    """`right` needed a second attempt, so it and not `left` is what `end` really waited for."""
    figures = statistics(DIAMOND)
    assert chain(DIAMOND) == [("planner", 1), ("base", 1), ("right", 1), ("right", 2), ("end", 1)]
    assert figures["critical_path"] == ["base", "right", "end"]
    assert figures["critical_path_steps"] == 2 + 4 + 5 + 2 + 1
    assert figures["critical_path_s"] == 6.0 + 5.0 + 6.0 + 7.0 + 2.0
    assert figures["sequential_estimate_s"] == 6.0 + 5.0 + 10.0 + 6.0 + 7.0 + 2.0
    assert figures["speedup"] == 0.9
    assert figures["critical_chain"][0] == {"kind": "plan", "name": "", "number": 1, "steps": 2, "seconds": 6.0}
    counts = [figures[f"subagents_{word}"] for word in ("spawned", "completed", "failed")]
    assert counts == [5, 4, 1]
    assert figures["total_tool_calls"] == 14
    assert figures["levels"] == [
        {"level": 0, "subagents": 1, "max_steps": 4, "total_steps": 4, "seconds": 5.0},
        {"level": 1, "subagents": 3, "max_steps": 5, "total_steps": 10, "seconds": 10.0},
        {"level": 2, "subagents": 1, "max_steps": 1, "total_steps": 1, "seconds": 2.0},
    ]


def test_what_only_waited_for_its_turn_did_no_work():
    """Three at once at a service that takes one at a time are no faster than one alone."""
    attempts = [dataclasses.replace(attempt(name, 1.0, 10.0), waited=6.0) for name in ("a", "b", "c")]
    figures = statistics(Executed(10.0, attempts, [PlanFacts(1, 1, 0.0, 1.0, waited=0.5)]))
    assert figures["sequential_estimate_s"] == 3 * 3.0 + 0.5
    assert figures["speedup"] == 0.95
    assert figures["critical_path_s"] == 3.0 + 0.5
    assert figures["levels"][0]["seconds"] == 3.0


def test_waits_that_overlapped_take_no_more_than_the_time_itself():
    busy = dataclasses.replace(attempt("a", 0.0, 5.0), waited=12.0)
    assert statistics(Executed(10.0, [busy]))["sequential_estimate_s"] == 0.0


def test_the_chain_ends_with_the_last_landing_not_with_the_last_to_run():
    late = attempt("late", 6.0, 39.0, status=AttemptStatus.FAILED)
    assert chain(dataclasses.replace(DIAMOND, attempts=[*DIAMOND.attempts, late]))[-1] == ("end", 1)


def test_where_nothing_landed_it_ends_with_the_last_to_run():
    executed = Executed(wall_s=9.0, plans=[FIRST_PLAN], attempts=[attempt("a", 6.0, 9.0), attempt("b", 6.0, 7.0)])
    assert chain(executed) == [("planner", 1), ("a", 1)]


def test_a_dependency_that_was_there_long_before_did_not_decide():
    """`late` was asked for by the second planner call, long after `base` had landed: it waited for the planner."""
    plans = [FIRST_PLAN, PlanFacts(2, steps=1, start=15.0, end=25.0)]
    attempts = [
        attempt("base", 6.0, 8.0, landed=9.0),
        attempt("other", 6.0, 14.0, landed=16.0),
        attempt("late", 25.0, 30.0, landed=31.0, plan=2),
    ]
    executed = Executed(40.0, attempts, plans, needs={"late": ["base"]})
    # The planner read the handoff of `other` before its change had landed.
    assert chain(executed) == [("planner", 1), ("other", 1), ("planner", 2), ("late", 1)]


def test_a_dependent_waits_for_the_landing_not_for_the_handoff():
    attempts = [
        attempt("slow-to-land", 6.0, 7.0, landed=20.0),
        attempt("slow-to-run", 6.0, 15.0, landed=16.0),
        attempt("end", 20.0, 22.0, landed=23.0),
    ]
    executed = Executed(30.0, attempts, [FIRST_PLAN], needs={"end": ["slow-to-run", "slow-to-land"]})
    assert chain(executed) == [("planner", 1), ("slow-to-land", 1), ("end", 1)]


def test_a_chain_runs_through_the_parts_of_a_split_subtask():
    plans = [
        FIRST_PLAN,
        PlanFacts(2, steps=1, start=9.0, end=10.0, parent="big"),
        PlanFacts(3, steps=1, start=15.0, end=16.0, parent="big"),
    ]
    attempts = [
        attempt("before", 6.0, 8.0, landed=9.0),
        attempt("big-1", 10.0, 14.0, landed=15.0, plan=2),
        attempt("big-2", 16.0, 19.0, landed=20.0, plan=3),
        attempt("stranger", 6.0, 14.5, landed=14.9),
        attempt("after", 20.0, 22.0, landed=23.0),
    ]
    needs = {"big": ["before"], "after": ["big"]}
    executed = Executed(30.0, attempts, plans, needs=needs, parents={"big-1": "big", "big-2": "big"})
    names = [("planner", 1), ("before", 1), ("big", 2), ("big-1", 1), ("big", 3), ("big-2", 1), ("after", 1)]
    assert chain(executed) == names


@pytest.mark.parametrize("status", AttemptStatus)
def test_an_attempt_is_completed_failed_stopped_or_still_going(status: AttemptStatus):
    figures = statistics(Executed(wall_s=1.0, attempts=[attempt("a", status=status)]))
    counted = [figures[f"subagents_{end}"] for end in ("completed", "failed", "stopped")]
    stopped = status in {AttemptStatus.CANCELLED, AttemptStatus.LOST}
    if status is AttemptStatus.COMPLETE:
        assert counted == [1, 0, 0]
    else:
        assert counted == ([0, 0, 0] if status in ATTEMPT_LIVE else [0, not stopped, stopped])


def test_a_planners_looks_are_tool_calls_too():
    plans = [PlanFacts(1, 2, 0.0, 1.0, tool_calls=3), PlanFacts(2, 1, 1.0, 2.0, parent="a", tool_calls=1)]
    assert statistics(Executed(wall_s=2.0, attempts=[attempt("a")], plans=plans))["total_tool_calls"] == 5


def test_merges_are_counted_and_their_waits_measured():
    landed = [MergeFacts(EntryStatus.LANDED, conflicted=False, waited=float(wait)) for wait in range(1, 22)]
    others = [
        MergeFacts(EntryStatus.CONFLICT, conflicted=True),
        MergeFacts(EntryStatus.SUPERSEDED, conflicted=True),
        MergeFacts(EntryStatus.REJECTED, conflicted=False),
        MergeFacts(EntryStatus.QUEUED, conflicted=False),
    ]
    assert statistics(Executed(wall_s=1.0, merges=[*others, *landed]))["merges"] == {
        "landed": 21,
        "conflicted": 2,
        "rejected": 1,
        "handoff_to_landed_p50_s": 11.0,
        "handoff_to_landed_p95_s": 20.0,
    }


def test_usage_is_told_by_role_and_endpoint():
    usage = Usage("worker", "large", 3, 1000, 50, 0.25, 1)
    assert statistics(Executed(wall_s=1.0, usage=[usage]))["usage"] == [
        {
            "role": "worker",
            "endpoint": "large",
            "calls": 3,
            "input_tokens": 1000,
            "output_tokens": 50,
            "cost_usd": 0.25,
            "estimated_calls": 1,
        }
    ]


@pytest.mark.parametrize(("part", "value"), [(0.0, 1.0), (0.5, 2.5), (1.0, 4.0), (0.25, 1.75)])
def test_a_quantile_lies_between_its_neighbours(part: float, value: float):
    assert quantile([1.0, 2.0, 3.0, 4.0], part) == value
    assert quantile([7.0], part) == 7.0


NAMES = st.sampled_from(["a", "b", "c", "part"])
MOMENTS = st.integers(-20, 200).map(lambda tenths: tenths / 10)
ATTEMPTS = st.lists(
    st.builds(
        AttemptFacts,
        subtask=NAMES,
        number=st.integers(1, 3),
        level=st.integers(0, 2),
        status=st.sampled_from(AttemptStatus),
        steps=st.integers(0, 9),
        tool_calls=st.integers(0, 9),
        start=MOMENTS,
        end=MOMENTS,
        landed=st.none() | MOMENTS,
        waited=st.integers(0, 9).map(float),
        plan=st.integers(0, 3),
    ),
    max_size=10,
)
PLANS = st.lists(
    st.builds(
        PlanFacts,
        number=st.integers(1, 3),
        steps=st.integers(0, 9),
        start=MOMENTS,
        end=MOMENTS,
        parent=st.sampled_from(["", "b"]),
        waited=st.integers(0, 9).map(float),
    ),
    max_size=4,
)


@given(ATTEMPTS, PLANS, st.integers(0, 150).map(lambda tenths: tenths / 10))
def test_the_critical_path_is_never_longer_than_the_wall_or_than_all_work(
    attempts: list[AttemptFacts], plans: list[PlanFacts], wall: float
):
    """Whatever clocks say: overlapping, reversed, before the start or after the end."""
    needs = {"a": [], "b": ["a"], "c": ["a", "b"]}
    executed = Executed(wall, attempts, plans, needs=needs, parents={"part": "b"})
    figures = statistics(executed)
    assert figures["critical_path_s"] <= figures["wall_s"]
    assert figures["critical_path_s"] <= figures["sequential_estimate_s"]
    assert sum(level["subagents"] for level in figures["levels"]) == len(attempts)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


@given(ATTEMPTS, PLANS)
def test_no_two_pieces_of_the_chain_ran_at_the_same_time(attempts: list[AttemptFacts], plans: list[PlanFacts]):
    """That is why it cannot be longer than the wall, before anything is capped."""
    executed = Executed(100.0, attempts, plans, needs={"b": ["a"], "c": ["a", "b"]}, parents={"part": "b"})
    links = executed_chain(executed)
    assert sum(link.seconds for link in links) <= 20.0 + 1e-9
    assert len(links) <= len(attempts) + len(plans)
