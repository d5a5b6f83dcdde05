"""Pure geometry of the timeline: a row per subtask, a segment per attempt, all in per cent of the width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ROW = 26.0
BAR = 12.0
HEAD = 20.0
SHORTEST = 0.5
MOST_TICKS = 6
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


@dataclass(frozen=True)
class Run:
    """An attempt: seconds since the swarm's start; `end` is None while it runs."""

    start: float
    end: float | None
    role: str
    title: str
    href: str = ""


@dataclass(frozen=True)
class Row:
    title: str
    href: str
    runs: tuple[Run, ...]
    critical: bool = False


@dataclass(frozen=True)
class Segment:
    run: Run
    x: float
    width: float
    y: float


@dataclass(frozen=True)
class PlacedRow:
    row: Row
    y: float
    segments: tuple[Segment, ...]

    @property
    def middle(self) -> float:
        return self.y + ROW / 2


@dataclass(frozen=True)
class Tick:
    x: float
    seconds: int


@dataclass(frozen=True)
class Timeline:
    height: float
    rows: tuple[PlacedRow, ...]
    ticks: tuple[Tick, ...]
    now: float | None


def layout(rows: Sequence[Row], *, now: float, over: bool) -> Timeline:
    """`now` is the seconds from the start until now, or until the end of a swarm that is over."""
    span = max([now, 1.0, *(run.end or run.start for row in rows for run in row.runs)])
    # Air at the right while it runs, so that the line of now can be seen.
    scale = 100.0 / (span if over else span * 1.04)
    placed = tuple(_row(row, HEAD + index * ROW, scale, now) for index, row in enumerate(rows))
    return Timeline(
        height=HEAD + len(rows) * ROW + 2,
        rows=placed,
        ticks=tuple(_ticks(span, scale)),
        now=None if over else round(now * scale, 2),
    )


def _row(row: Row, y: float, scale: float, now: float) -> PlacedRow:
    spans: list[tuple[Run, float, float]] = []
    free = 0.0
    for run in sorted(row.runs, key=lambda run: run.start):
        start = max(run.start * scale, free)
        free = max((now if run.end is None else run.end) * scale, start + SHORTEST)
        spans.append((run, start, free))
    # Many short attempts, each drawn at its least width, may reach past the end: then all give way.
    squeeze = min(1.0, 100.0 / free) if free else 1.0
    return PlacedRow(
        row,
        y,
        tuple(
            Segment(run, round(start * squeeze, 3), round((end - start) * squeeze, 3), y + (ROW - BAR) / 2)
            for run, start, end in spans
        ),
    )


def step_for(span: float) -> int:
    """The smallest round step that needs no more than MOST_TICKS ticks."""
    return next((step for step in STEPS if span / step <= MOST_TICKS), int(span / MOST_TICKS / 86400 + 1) * 86400)


def _ticks(span: float, scale: float) -> list[Tick]:
    step = step_for(span)
    return [Tick(round(at * scale, 2), at) for at in range(0, int(span) + 1, step) if at * scale <= 97]
