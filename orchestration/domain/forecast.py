"""What a plan will probably cost and take before anything is spent, and where it may get in its own way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import takewhile

from orchestration.domain import graph, paths, scopes
from orchestration.domain.estimates import NOTHING, Estimate, Range

MOST_PAIRS = 50
_PATTERN = frozenset("*?[{\\")


@dataclass(frozen=True, slots=True)
class Planned:
    """A subtask that is still to be done."""

    name: str
    kind: str
    scope: tuple[str, ...]
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two that may change the same files at the same time, with the scopes that meet."""

    one: str
    other: str
    glob: str
    other_glob: str


@dataclass(frozen=True)
class Forecast:
    """For one attempt of each subtask; retries come on top."""

    by_name: Mapping[str, Estimate]
    tokens: Range
    cost_usd: Range
    work_s: Range
    wall_s: Range
    chain: tuple[str, ...]
    slots: int
    limited_by: str  # chain, slots
    pairs: tuple[Pair, ...]
    more_pairs: bool
    unknown: tuple[str, ...]


def forecast(plan: Sequence[Planned], by_kind: Mapping[str, Estimate], slots: int) -> Forecast:
    """The wall time is the larger of the longest chain and of all work divided among the agents allowed."""
    by_name = {one.name: by_kind[one.kind] for one in plan}
    needs = _needs(plan)
    work = sum((one.seconds for one in by_name.values()), NOTHING)
    chain, low = graph.longest_chain(needs, {name: one.seconds.low for name, one in by_name.items()})
    slow_chain, high = graph.longest_chain(needs, {name: one.seconds.high for name, one in by_name.items()})
    pairs = list(_take(_pairs(plan, needs)))
    return Forecast(
        by_name=by_name,
        tokens=sum((one.tokens for one in by_name.values()), NOTHING),
        cost_usd=sum((one.cost_usd for one in by_name.values()), NOTHING),
        work_s=work,
        wall_s=Range(max(low, work.low / slots), max(high, work.high / slots)),
        chain=slow_chain or chain,
        slots=slots,
        limited_by="chain" if high >= work.high / slots else "slots",
        pairs=tuple(pairs[:MOST_PAIRS]),
        more_pairs=len(pairs) > MOST_PAIRS,
        unknown=tuple(one.name for one in plan if one.kind == "change" and not one.scope),
    )


def _needs(plan: Sequence[Planned]) -> dict[str, list[str]]:
    """Among these alone: what is done already costs no more time."""
    names = {one.name for one in plan}
    return {one.name: [name for name in one.needs if name in names] for one in plan}


def _take(pairs: Iterator[Pair]) -> Iterator[Pair]:
    """One more than are told, so that the rest is known to exist; finding all of a large plan would take long."""
    for _, pair in zip(range(MOST_PAIRS + 1), pairs, strict=False):
        yield pair


def _pairs(plan: Sequence[Planned], needs: Mapping[str, Sequence[str]]) -> Iterator[Pair]:
    before = _all_before(needs)
    changes = [one for one in plan if one.kind == "change"]
    near = _Neighbours([one.scope for one in changes])
    for at, one in enumerate(changes):
        for other in (changes[index] for index in near.after(at)):
            if one.name in before[other.name] or other.name in before[one.name]:
                continue
            met = _meeting(one.scope, other.scope)
            if met:
                yield Pair(one.name, other.name, *met)


class _Neighbours:
    """Scopes by the directories that they begin with: only where one lies in the other's can two meet. Asking of
    every pair of a large plan whether they do would take the page half a minute."""

    def __init__(self, found: Sequence[Sequence[str]]) -> None:
        self._begins = [{_beginning(glob) for glob in scope} for scope in found]
        self._at: dict[tuple[str, ...], set[int]] = defaultdict(set)
        self._under: dict[tuple[str, ...], set[int]] = defaultdict(set)
        for index, begins in enumerate(self._begins):
            for begin in begins:
                self._at[begin].add(index)
                for depth in range(len(begin) + 1):
                    self._under[begin[:depth]].add(index)

    def after(self, index: int) -> list[int]:
        """Those behind it that it may meet, in order."""
        near: set[int] = set()
        for begin in self._begins[index]:
            near |= self._under[begin].union(*(self._at.get(begin[:depth], set()) for depth in range(len(begin))))
        return sorted(other for other in near if other > index)


def _beginning(glob: str) -> tuple[str, ...]:
    """The names before the first that is a pattern; none where the whole is one and means every depth."""
    names = paths.parts(glob)
    if not names or glob.startswith("!"):
        return ()
    return tuple(takewhile(lambda name: not _PATTERN & set(name), names))


def _meeting(mine: Sequence[str], theirs: Sequence[str]) -> tuple[str, str] | None:
    return next(((a, b) for a in mine for b in theirs if scopes.overlap(a, b)), None)


def _all_before(needs: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """Every name with all that must land before it starts."""
    found: dict[str, set[str]] = {}
    for name in TopologicalSorter(needs).static_order():
        found[name] = {*needs[name]}.union(*(found[need] for need in needs[name]))
    return found
