"""The sum of a split subtask's parts."""

from __future__ import annotations

import pytest

from orchestration.domain.aggregation import MAX_REMARKS, Piece, aggregate
from orchestration.domain.handoffs import Claim
from orchestration.domain.states import SubtaskStatus as S


def test_the_figures_are_summed_and_the_files_united():
    found = aggregate(
        [
            Piece("a", S.COMPLETE, "Did a.\nAnd more.", ("creaks",), ("oil it",), ("x", "y"), 3, 1, 100),
            Piece("b", S.COMPLETE, "Did b.", (), (), ("y", "z"), 2, 0, 50),
        ],
        ["The whole leans."],
    )
    assert (found.claim, found.reason) == (Claim.COMPLETE, "")
    assert (found.files, found.insertions, found.deletions, found.duration_ms) == (["x", "y", "z"], 5, 1, 150)
    assert (found.concerns, found.suggestions) == (["The whole leans.", "a: creaks"], ["a: oil it"])
    assert found.summary == (
        "Split into 2 parts; 2 of them are complete.\n- a (complete): Did a.\n- b (complete): Did b."
    )


@pytest.mark.parametrize(
    ("statuses", "claim", "reason"),
    [
        ((S.COMPLETE,), Claim.COMPLETE, ""),
        ((S.COMPLETE, S.TIMED_OUT), Claim.PARTIAL, "1 of its 2 parts did not complete: p1 (timed out)."),
        ((S.BLOCKED, S.CANCELLED), Claim.FAILED, "2 of its 2 parts did not complete: p0 (blocked), p1 (cancelled)."),
        ((), Claim.FAILED, "It was to be split, and no part was planned."),
    ],
)
def test_it_is_complete_only_where_every_part_is(statuses: tuple[S, ...], claim: Claim, reason: str):
    found = aggregate([Piece(f"p{n}", status) for n, status in enumerate(statuses)])
    assert (found.claim, found.reason) == (claim, reason)


def test_many_are_named_by_number():
    found = aggregate([Piece(f"p{n}", S.FAILED, concerns=("c",) * 30) for n in range(10)])
    assert found.reason.endswith("p4 (failed) and 5 more.")
    assert len(found.concerns) == MAX_REMARKS + 1
    assert found.concerns[-1] == "And 100 more, with the parts themselves."
