"""The timeline's drawing: attempts of a row never overlap, and nothing leaves the width."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.web.timeline import HEAD, MOST_TICKS, ROW, SHORTEST, Row, Run, layout, step_for


def run(start: float, end: float | None, role: str = "done") -> Run:
    return Run(start, end, role, "attempt")


def row(*runs: Run, title: str = "survey") -> Row:
    return Row(title, "/", tuple(runs))


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    found = []
    for index in range(draw(st.integers(0, 6))):
        marks = sorted(draw(st.lists(st.floats(0, 10_000), max_size=12)))
        pairs = [run(start, end) for start, end in zip(marks[::2], marks[1::2], strict=False)]
        if marks and draw(st.booleans()):
            pairs.append(run(marks[-1], None, "running"))
        found.append(row(*pairs, title=str(index)))
    return found


@given(rows(), st.floats(0, 10_000), st.booleans())
def test_no_attempt_overlaps_another_and_all_lie_inside(given_rows: list[Row], now: float, over: bool):
    timeline = layout(given_rows, now=now, over=over)
    for placed in timeline.rows:
        ends = 0.0
        for segment in placed.segments:
            assert segment.x >= ends - 0.01
            ends = segment.x + segment.width
            assert segment.width > 0
        assert ends <= 100.01
        assert placed.y >= HEAD
        assert placed.y + ROW <= timeline.height


@given(st.floats(1, 10_000_000))
def test_there_are_never_more_ticks_than_can_be_read(span: float):
    assert span / step_for(span) <= MOST_TICKS


def test_a_running_attempt_ends_at_now():
    timeline = layout([row(run(0, None, "running"))], now=50, over=False)
    segment = timeline.rows[0].segments[0]
    assert segment.x + segment.width == pytest.approx(timeline.now, abs=0.01)


def test_a_swarm_that_is_over_fills_the_width_and_has_no_line_of_now():
    timeline = layout([row(run(0, 80))], now=80, over=True)
    assert timeline.now is None
    assert timeline.rows[0].segments[0].width == 100


def test_a_short_attempt_can_still_be_seen():
    timeline = layout([row(run(0, 0.001), run(900, 1000))], now=1000, over=True)
    assert timeline.rows[0].segments[0].width == SHORTEST


def test_a_subtask_that_never_ran_has_a_row_without_segments():
    assert layout([row()], now=10, over=False).rows[0].segments == ()


def test_a_swarm_of_this_moment_has_a_picture():
    timeline = layout([], now=0, over=False)
    assert timeline.rows == ()
    assert timeline.ticks[0].seconds == 0
