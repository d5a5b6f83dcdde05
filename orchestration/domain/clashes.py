"""What work that has not landed will conflict with: whom to merge with whom beforehand, and what follows from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from orchestration.domain import paths as names

MOST_BRANCHES = 100  # in one forecast
MOST_PAIRS = 200  # of them that are merged with each other
MOST_CLASHES = 200  # that are kept
MOST_WARNINGS = 10  # messages to one attempt
MOST_FILES = 5  # of one clash that are told
_WILD = frozenset("*?[{!")
_UNSURE = "?"  # no subtask's id
NO_PATHS: frozenset[str] = frozenset()


class Place(StrEnum):
    LANDED = "landed"
    QUEUED = "queued"  # handed off, and on its way to land
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Branch:
    """Work that has not landed. Without a commit only the names of its files are known, or its scope."""

    subtask: str
    name: str
    place: Place
    base: str
    commit: str = ""
    paths: frozenset[str] = NO_PATHS  # that it changed
    scope: tuple[str, ...] = ()
    landed: frozenset[str] = NO_PATHS  # paths that landed since its base


@dataclass(frozen=True, slots=True)
class Lander:
    """Who landed a change; no subtask: it is not known."""

    subtask: str = ""
    name: str = "what landed"
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Clash:
    """`sure`: git has merged both and could not. Otherwise both have the file, and more is not known yet."""

    subtask: str
    name: str
    other: str
    other_name: str
    place: Place  # the other's
    paths: tuple[str, ...]
    sure: bool

    @property
    def keys(self) -> frozenset[str]:
        """What is told once."""
        return frozenset(_key(self, path) for path in self.paths)

    @property
    def is_told(self) -> bool:
        """Not where two merely have the same file open: git will soon know more."""
        return self.sure or self.place is Place.LANDED

    @property
    def verb(self) -> str:
        return "will conflict" if self.sure else "may conflict"

    @property
    def sentence(self) -> str:
        return f"{self.name} {self.verb} with {self.other_name} in {listed(self.paths)}."


def listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - MOST_FILES} more" if len(paths) > MOST_FILES else ""
    return ", ".join(paths[:MOST_FILES]) + more


def as_row(clash: Clash) -> dict[str, Any]:
    return asdict(clash)


def from_rows(rows: Iterable[Mapping[str, Any]]) -> list[Clash]:
    return [Clash(**{**row, "place": Place(row["place"]), "paths": tuple(row["paths"])}) for row in rows]


def fingerprint(tip: str, branches: Iterable[Branch]) -> str:
    """The same for what gives the same forecast."""
    seen = [(one.subtask, one.place, one.base, one.commit, sorted(one.paths), one.scope) for one in branches]
    return f"{tip}:{hashlib.sha256(json.dumps(sorted(seen)).encode()).hexdigest()[:32]}"


def pairs(branches: Sequence[Branch], most: int = MOST_PAIRS) -> list[tuple[int, int]]:
    """Places of two that have a file in common and can be merged; what comes first in `branches` comes first."""
    holders: dict[str, list[int]] = {}
    found: dict[tuple[int, int], None] = {}
    for at, branch in enumerate(branches):
        for path in sorted(branch.paths) if branch.commit else ():
            for before in holders.setdefault(path, []):
                found[before, at] = None
            holders[path].append(at)
    return sorted(found, key=lambda pair: (pair[1], pair[0]))[:most]


def foresee(
    branches: Sequence[Branch],
    with_tip: Mapping[int, frozenset[str]],
    between: Mapping[tuple[int, int], frozenset[str]],
    landers: Mapping[tuple[str, str], Lander],
) -> list[Clash]:
    """From the paths that conflict: of each with the tip, of each pair; and who landed what, by base and path."""
    found = [*_with_landed(branches, with_tip, landers), *_with_each_other(branches, with_tip, between)]
    return sorted(found, key=lambda one: (not one.sure, one.name, one.place, one.other_name))[:MOST_CLASHES]


def _with_landed(
    branches: Sequence[Branch], with_tip: Mapping[int, frozenset[str]], landers: Mapping[tuple[str, str], Lander]
) -> Iterator[Clash]:
    for at, branch in enumerate(branches):
        by_lander: dict[Lander, list[str]] = {}
        for path in sorted(paths_with_landed(branch, with_tip.get(at))):
            by_lander.setdefault(landers.get((branch.base, path), Lander()), []).append(path)
        for lander, paths in by_lander.items():
            other = (lander.subtask, lander.name, Place.LANDED)
            yield Clash(branch.subtask, branch.name, *other, tuple(paths), sure=bool(branch.commit))


def paths_with_landed(branch: Branch, merged: frozenset[str] | None) -> frozenset[str]:
    """What git found, where it could merge; otherwise the files that both have or are about to have."""
    if branch.commit:
        return merged or NO_PATHS
    return branch.landed & (branch.paths | _files(branch.scope))


def _files(scope: Iterable[str]) -> frozenset[str]:
    """The single files of a scope: a whole directory says too little."""
    plain = (names.parts(glob) for glob in scope if not _WILD & set(glob) and not glob.endswith("/"))
    return frozenset("/".join(one) for one in plain if one)


def _with_each_other(
    branches: Sequence[Branch],
    with_tip: Mapping[int, frozenset[str]],
    between: Mapping[tuple[int, int], frozenset[str]],
) -> Iterator[Clash]:
    for (one, other), paths in between.items():
        left = paths - with_tip.get(one, NO_PATHS) - with_tip.get(other, NO_PATHS)
        yield from _both_ways(branches[one], branches[other], left, sure=True)
    for at, branch in enumerate(branches):
        for before in branches[:at]:
            if not (branch.commit and before.commit):
                yield from _both_ways(before, branch, before.paths & branch.paths, sure=False)


def _both_ways(first: Branch, second: Branch, paths: frozenset[str], *, sure: bool) -> Iterator[Clash]:
    """Of two that are worked on both are told; otherwise the one that lands later."""
    if not paths or first.subtask == second.subtask:
        return
    told = tuple(sorted(paths))
    if second.place is Place.RUNNING or first.place is Place.QUEUED:
        yield Clash(second.subtask, second.name, first.subtask, first.name, first.place, told, sure)
    if first.place is Place.RUNNING:
        yield Clash(first.subtask, first.name, second.subtask, second.name, second.place, told, sure)


def still_true(clashes: Iterable[Clash], at_work: frozenset[str]) -> list[Clash]:
    """Without those whose one side has landed, or will not land, since: `at_work` has not landed yet."""
    return [one for one in clashes if one.subtask in at_work and (one.place is Place.LANDED or one.other in at_work)]


def untold(clashes: Iterable[Clash], subtask: str, warned: Iterable[str]) -> list[Clash]:
    """What its agent is to be told now, each once and with its new files alone."""
    known = set(warned)
    sure = {path for key in known for who, _, path in [key.partition(":")] if who != _UNSURE}
    found = []
    for one in clashes:
        if one.subtask != subtask or not one.is_told:
            continue
        new = tuple(path for path in one.paths if _is_new(one, path, known, sure))
        if new:
            found.append(Clash(one.subtask, one.name, one.other, one.other_name, one.place, new, one.sure))
    return found


def _is_new(clash: Clash, path: str, known: set[str], sure: set[str]) -> bool:
    return _key(clash, path) not in known and (clash.sure or path not in sure)


def _key(clash: Clash, path: str) -> str:
    return f"{clash.other if clash.sure else _UNSURE}:{path}"


def meetings(clashes: Iterable[Clash]) -> int:
    """How many pairs: two that are told of each other are one."""
    return len({frozenset((one.subtask, one.other or one.other_name)) for one in clashes})


_FIGURES = ("made", "given_up", "merges", "ms", "longest_ms", "warnings")


def counted(figures: Mapping[str, float], **more: float) -> dict[str, float]:
    """All forecasts with one more."""
    sums = {key: round(figures.get(key, 0) + more.get(key, 0), 3) for key in _FIGURES}
    return sums | {"longest_ms": round(max(figures.get("longest_ms", 0), more.get("ms", 0)), 3)}


def summed(forecasts: Iterable[Mapping[str, float]]) -> dict[str, float | None]:
    """Of one swarm or of many, for the queue's figures; without any there is nothing to tell."""
    every = [one for one in forecasts if one]
    made = sum(one["made"] + one["given_up"] for one in every)
    return {
        "forecasts": made or None,
        "forecasts_given_up": sum(one["given_up"] for one in every) or None,
        "forecast_merges": sum(one["merges"] for one in every) if made else None,
        "forecast_warnings": sum(one["warnings"] for one in every) if made else None,
        "forecast_ms_mean": round(sum(one["ms"] for one in every) / made, 3) if made else None,
        "forecast_ms_longest": max((one["longest_ms"] for one in every), default=None),
    }
