"""Measures the process that it runs in, and condenses many measurements into few."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor seconds: ours, and those of children that have ended."""

    own_s: float
    children_s: float

    @classmethod
    def so_far(cls) -> Self:
        own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return cls(own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime)

    def since(self, start: Spent) -> Spent:
        return Spent(self.own_s - start.own_s, self.children_s - start.children_s)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share lies, by nearest rank; 0 of none."""
    if not values:
        return 0.0
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def most_at_once(spans: Iterable[tuple[float, float]]) -> int:
    """Of intervals (start, end), how many overlap at most; one that ends where another starts does not."""
    changes = sorted(change for start, end in spans for change in ((end, -1), (start, 1)))
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most
