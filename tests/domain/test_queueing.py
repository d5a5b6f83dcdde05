"""The merge queue's figures against examples counted by hand, and when what waits will have landed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.gating import GateMode
from orchestration.domain.queueing import (
    FOUND,
    MOVED,
    UNFAITHFUL,
    Passage,
    Seen,
    Step,
    Store,
    Tried,
    depths,
    expected_s,
    figures,
)
from orchestration.domain.states import AttemptStatus, EntryStatus, GateStatus

E, G, A = EntryStatus, GateStatus, AttemptStatus


def of(**seen: Any) -> dict[str, Any]:
    return figures(Seen(now=1000.0, **seen))


def landed(queued: float, ended: float, **facts: Any) -> Passage:
    return Passage(E.LANDED, queued, ended, **facts)


def test_an_empty_queue_has_counts_and_nothing_made_up():
    empty = of()
    assert empty["depth"] == {}
    assert (empty["landed"], empty["conflicts"], empty["content_violations"]) == (0, 0, 0)
    unknown = ("oldest_s", "tip_age_s", "landed_per_min", "submit_to_landed_s_p50", "gate_utilisation", "chain_mean")
    assert all(empty[name] is None for name in unknown)
    json.dumps(empty)


def test_depth_age_and_pace():
    told = of(passages=[landed(880, 900), landed(880, 940), Passage(E.QUEUED, 950), Passage(E.GATING, 970)])
    assert told["depth"] == {"queued": 1, "gating": 1, "landed": 2}
    assert told["oldest_s"] == 50
    assert told["tip_age_s"] == 60  # 940 was the last landing
    assert told["landed_per_min"] == 1  # two in the 120 s since the first was handed off
    assert (told["submit_to_landed_s_p50"], told["submit_to_landed_s_p95"]) == (40, 58)


def test_the_tip_is_not_old_while_nobody_waits_and_pace_ends_with_the_last_landing():
    told = of(passages=[landed(0, 30), landed(0, 60)])
    assert told["tip_age_s"] is None
    assert told["landed_per_min"] == 2


def test_a_tip_that_never_moved_is_as_old_as_who_waits_for_it():
    assert of(passages=[Passage(E.QUEUED, 900)])["tip_age_s"] == 100


def test_chains_are_counted_by_their_first_link_and_what_was_contained_is_in_none():
    told = of(passages=[landed(0, 1), landed(0, 1, chain_place=1), landed(0, 2), landed(0, 3, moves=False)])
    assert (told["chain_mean"], told["chain_longest"]) == (1.5, 2)


def test_gates():
    runs = [Tried(G.GREEN, began_at=0, ended_at=10), Tried(G.RED, flake=True, began_at=0, ended_at=5)]
    runs += [Tried(G.RED, began_at=10, ended_at=20), Tried(G.INFRA), Tried(G.WAITING), Tried(G.CANCELLED)]
    told = of(gates=runs, passages=[landed(0, 1), landed(0, 2)], slots=2)
    assert (told["gate_runs"], told["gate_reds"], told["gate_flakes"], told["gate_no_verdict"]) == (3, 2, 1, 1)
    assert told["gate_runs_per_landed"] == 1.5
    assert told["gate_utilisation"] == 0.625  # 25 s of two places for 20 s
    assert told["gate_flake_rate"] == 0.3333


def test_a_gate_that_still_runs_takes_its_place_until_now():
    assert of(gates=[Tried(G.RUNNING, began_at=900)])["gate_utilisation"] == 1


def test_evictions_by_cause():
    told = of(
        passages=[
            Passage(E.REJECTED, 0, 1, rejected_by_gate=True, reason="Its gate was red 2 times."),
            Passage(E.REJECTED, 0, 1, reason=f"{UNFAITHFUL}: a.py."),
            Passage(E.REJECTED, 0, 1, reason="It could not be merged: git is gone."),
        ]
    )
    assert told["evictions"] == {"checks": 1, "content": 1, "other": 1}
    assert told["content_violations"] == 1


def test_hot_files_are_counted_once_an_entry():
    rows = [Passage(E.CONFLICT, 0, paths=("b.py", "a.py", "a.py")), Passage(E.CONFLICT, 0, paths=("b.py",))]
    told = of(passages=[*rows, landed(0, 1), landed(0, 2)])
    assert told["conflicts"] == 2
    assert told["hot_files"] == [
        {"path": "b.py", "conflicts": 2, "rate": 0.5},
        {"path": "a.py", "conflicts": 1, "rate": 0.25},
    ]


def test_settlers_by_rung():
    told = of(settlers=[("continued", A.FAILED), ("continued", A.COMPLETE), ("fresh", A.LOST)])
    assert told["settled_by_rung"] == {"continued": {"tries": 2, "settled": 1}, "fresh": {"tries": 1, "settled": 0}}


def test_the_time_from_intent_to_record_and_what_was_set_back():
    steps = [
        Step("a", E.MERGING, 1.0),
        Step("b", E.MERGING, 1.0),
        Step("a", E.LANDED, 1.01),
        Step("b", E.QUEUED, 1.02, MOVED),
        Step("b", E.MERGING, 2.0),
        Step("b", E.GATING, 3.0),
        Step("b", E.MERGING, 4.0),
        Step("b", E.LANDED, 4.03),
        Step("c", E.QUEUED, 5.0),
    ]
    told = of(steps=steps)
    assert (told["swap_rejects"], told["recoveries"]) == (1, {"before_swap": 1})
    assert told["intent_to_recorded_ms_p50"] == pytest.approx(20)


def test_crashes_are_counted_by_the_point_at_which_the_writer_died():
    steps = [
        Step("a", E.MERGING, 1.0),
        Step("b", E.MERGING, 1.0),
        Step("c", E.MERGING, 1.0),
        Step("a", E.LANDED, 2.0, FOUND),
        Step("b", E.LANDED, 2.0, FOUND),
        Step("c", E.GATING, 2.0),
        Step("d", E.GATING, 3.0),
        Step("c", E.MERGING, 4.0),
        Step("c", E.LANDED, 5.0),
    ]
    assert of(steps=steps)["recoveries"] == {"after_swap": 2, "before_swap": 1}
    assert of()["recoveries"] == {}


def test_the_time_of_a_landing_is_split_into_its_parts():
    """The last two of a chain stand with its first; what was contained already was not merged at all."""
    first = landed(0, 1, took={"merge": 4.0, "commit": 1.0, "check": 2.0, "journal": 3.0, "swap": 0.5})
    told = of(passages=[first, landed(0, 1, took={"merge": 8.0, "commit": 1.0, "check": 2.0}), landed(0, 1)])
    assert told["parts_ms_p50"] == {"merge": 6.0, "check": 2.0, "commit": 1.0, "journal": 3.0, "swap": 0.5}
    assert told["parts_ms_p95"]["merge"] == pytest.approx(7.8)
    assert of(passages=[landed(0, 1)])["parts_ms_p50"] == {}


def test_what_waits_is_counted_by_priority_and_what_has_landed_is_not():
    rows = [Passage(E.QUEUED, 0, priority=5), Passage(E.GATING, 0, priority=1), Passage(E.MERGING, 0, priority=5)]
    assert of(passages=[*rows, landed(0, 1, priority=9)])["depth_by_priority"] == {"1": 1, "5": 2}


def test_what_upkeep_found_stands_with_the_rest():
    told = of(store=Store(3, 120, 2))
    assert (told["locks_removed"], told["loose_objects"], told["packs"]) == (3, 120, 2)
    assert of()["loose_objects"] is None, "never looked after"


@given(st.integers(1, 200), st.integers(1, 64), st.floats(0.01, 600), st.floats(0.001, 5))
def test_whoever_stands_further_back_is_not_expected_sooner(position: int, cap: int, gate: float, swap: float):
    for mode in GateMode:
        one = expected_s(position, mode, gate_s=gate, landing_s=swap, cap=cap)
        two = expected_s(position + 1, mode, gate_s=gate, landing_s=swap, cap=cap)
        assert one is not None
        assert two is not None
        assert 0 < one <= two


def test_gated_entries_wait_for_as_many_gates_as_their_place_needs():
    assert expected_s(8, GateMode.GATED, gate_s=10, landing_s=None, cap=8) == 10
    assert expected_s(9, GateMode.GATED, gate_s=10, landing_s=0.5, cap=8) == 24.5
    assert expected_s(3, GateMode.OFF, gate_s=10, landing_s=0.5, cap=8) == 1.5


def test_what_is_not_known_is_not_guessed():
    assert expected_s(1, GateMode.GATED, gate_s=None, landing_s=1, cap=8) is None
    assert expected_s(1, GateMode.OPTIMISTIC, gate_s=1, landing_s=None, cap=8) is None


def test_the_search_for_who_is_red_is_a_tree():
    candidates = [("a", "b", "c", "d"), ("a", "b"), ("a",), ("a", "b", "c"), ("x",)]
    assert depths(candidates, [True, True, False, False, False]) == [0, 1, 2, 1, 0]
    assert depths(candidates, [False] * 5) == [0] * 5
