"""What a merge queue's rows say of it: its figures, and when what waits will probably have landed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil
from typing import Any

from orchestration.domain.clashes import summed
from orchestration.domain.gating import GateMode
from orchestration.domain.states import ENTRY_OPEN, AttemptStatus, EntryStatus, GateStatus
from orchestration.domain.stats import quantile

MOST_HOT = 10  # files that are told
UNFAITHFUL = "The merge would change what nobody changed"  # so begins the reason of whom the content check refused
MOVED = "The branch had moved."
FOUND = "Its landing was found on the branch after a crash."
PARTS = ("merge", "check", "commit", "journal", "swap")  # of a landing's time; the last two once for each chain
CAUSES = {"checks": "red alone in its gates", "content": "the merge was not faithful", "other": "could not be merged"}


@dataclass(frozen=True, slots=True)
class Passage:
    """An entry on its way through the queue; times are seconds of one clock."""

    status: EntryStatus
    queued_at: float
    ended_at: float | None = None
    chain_place: int = 0
    moves: bool = True  # its landing moved the branch: it was not contained already
    reason: str = ""
    paths: tuple[str, ...] = ()  # in conflict
    rejected_by_gate: bool = False
    priority: int = 5
    took: Mapping[str, float] = field(default_factory=dict)  # milliseconds of PARTS


@dataclass(frozen=True, slots=True)
class Tried:
    """A run of the checks on a candidate."""

    status: GateStatus
    flake: bool = False
    began_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the log about an entry, in the log's order."""

    entry: str
    status: EntryStatus
    at: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Store:
    """The repository's copy when it was last looked after; and what was removed of killed children since ever."""

    locks_removed: int = 0
    loose_objects: int | None = None
    packs: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that the figures are reckoned from; nothing in there is asked for again."""

    now: float
    passages: Sequence[Passage] = ()
    gates: Sequence[Tried] = ()
    steps: Sequence[Step] = ()
    settlers: Sequence[tuple[str, AttemptStatus]] = ()  # rung and outcome of each try at a conflict
    forecasts: Sequence[Mapping[str, float]] = ()  # domain.clashes.counted, of each swarm
    slots: int = 1  # gates that may run at once
    cap: int = 0
    store: Store = Store()


def figures(seen: Seen) -> dict[str, Any]:
    """Of everything so far. What was not measured is None, never 0."""
    landed = [one for one in seen.passages if one.status is EntryStatus.LANDED and one.ended_at is not None]
    return {
        "depth": _depth(seen.passages),
        "depth_by_priority": _by_priority(seen.passages),
        "oldest_s": _oldest(seen),
        "tip_age_s": _tip_age(seen, landed),
        "landed": len(landed),
        "landed_per_min": _pace(seen, landed),
        **_quantiles("submit_to_landed_s", [(one.ended_at or 0) - one.queued_at for one in landed]),
        **_quantiles("intent_to_recorded_ms", [1000 * each for each in _swaps(seen.steps)]),
        **{f"parts_ms_p{part}": _parts(landed, part / 100) for part in (50, 95)},
        **_chains(landed),
        "chain_cap": seen.cap or None,
        **_gates(seen, len(landed)),
        "evictions": _evictions(seen.passages),
        "content_violations": sum(one.reason.startswith(UNFAITHFUL) for one in seen.passages),
        "conflicts": sum(bool(one.paths) for one in seen.passages),
        "hot_files": _hot(seen.passages),
        "settled_by_rung": _rungs(seen.settlers),
        **_set_backs(seen.steps),
        **asdict(seen.store),
        **summed(seen.forecasts),
    }


def _depth(passages: Iterable[Passage]) -> dict[str, int]:
    counted = Counter(one.status for one in passages)
    return {status.value: counted[status] for status in EntryStatus if counted[status]}


def _by_priority(passages: Iterable[Passage]) -> dict[str, int]:
    """Of what waits; 1 is the most urgent class."""
    counted = Counter(one.priority for one in passages if one.status in ENTRY_OPEN)
    return {str(priority): counted[priority] for priority in sorted(counted)}


def _oldest(seen: Seen) -> float | None:
    waiting = [one.queued_at for one in seen.passages if one.status in ENTRY_OPEN]
    return round(max(0.0, seen.now - min(waiting)), 3) if waiting else None


def _tip_age(seen: Seen, landed: Sequence[Passage]) -> float | None:
    """Only while something waits: a branch that nobody wants to move is not late."""
    waiting = [one.queued_at for one in seen.passages if one.status in ENTRY_OPEN]
    if not waiting:
        return None
    moved = max((one.ended_at or 0 for one in landed), default=min(waiting))
    return round(max(0.0, seen.now - moved), 3)


def _pace(seen: Seen, landed: Sequence[Passage]) -> float | None:
    if not landed:
        return None
    waits = any(one.status in ENTRY_OPEN for one in seen.passages)
    end = seen.now if waits else max(one.ended_at or 0 for one in landed)
    span = end - min(one.queued_at for one in landed)
    return round(60 * len(landed) / span, 2) if span > 0 else None


def _quantiles(name: str, values: Iterable[float]) -> dict[str, float | None]:
    ordered = sorted(values)
    return {f"{name}_p{part}": round(quantile(ordered, part / 100), 3) if ordered else None for part in (50, 95)}


def _swaps(steps: Iterable[Step]) -> list[float]:
    """From the intent, written down, to the landing, recorded: the branch's swap and both transactions."""
    intents: dict[str, float] = {}
    took = []
    for step in steps:
        if step.status is EntryStatus.MERGING:
            intents[step.entry] = step.at
        elif step.status is EntryStatus.LANDED and step.entry in intents:
            took.append(step.at - intents[step.entry])
    return took


def _parts(landed: Sequence[Passage], part: float) -> dict[str, float]:
    """Only of what was measured: an entry that was contained already was not merged."""
    took = {name: sorted(one.took[name] for one in landed if name in one.took) for name in PARTS}
    return {name: round(quantile(each, part), 3) for name, each in took.items() if each}


def _chains(landed: Iterable[Passage]) -> dict[str, float | int | None]:
    places = [one.chain_place for one in landed if one.moves]
    if not places:
        return {"chain_mean": None, "chain_longest": None}
    return {"chain_mean": round(len(places) / max(1, places.count(0)), 2), "chain_longest": max(places) + 1}


def _gates(seen: Seen, landed: int) -> dict[str, float | int | None]:
    runs = [one for one in seen.gates if one.status in {GateStatus.GREEN, GateStatus.RED}]
    reds = [one for one in runs if one.status is GateStatus.RED]
    flakes = sum(one.flake for one in reds)
    return {
        "gate_runs": len(runs),
        "gate_runs_per_landed": round(len(runs) / landed, 3) if runs and landed else None,
        "gate_utilisation": _utilisation(seen),
        "gate_reds": len(reds),
        "gate_flakes": flakes,
        "gate_flake_rate": round(flakes / len(runs), 4) if runs else None,
        "gate_no_verdict": sum(one.status is GateStatus.INFRA for one in seen.gates),
    }


def _utilisation(seen: Seen) -> float | None:
    """Share of the places that were taken, from the first gate to the last."""
    began = [(one.began_at, one.ended_at or seen.now) for one in seen.gates if one.began_at is not None]
    if not began:
        return None
    span = max(end for _, end in began) - min(start for start, _ in began)
    busy = sum(end - start for start, end in began)
    return round(min(1.0, busy / (span * seen.slots)), 3) if span > 0 else None


def cause_of(passage: Passage) -> str:
    if passage.reason.startswith(UNFAITHFUL):
        return "content"
    return "checks" if passage.rejected_by_gate else "other"


def _evictions(passages: Iterable[Passage]) -> dict[str, int]:
    return dict(Counter(cause_of(one) for one in passages if one.status is EntryStatus.REJECTED))


def _hot(passages: Sequence[Passage]) -> list[dict[str, Any]]:
    counted = Counter(path for one in passages for path in set(one.paths))
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:MOST_HOT]
    return [{"path": path, "conflicts": count, "rate": round(count / len(passages), 4)} for path, count in ordered]


def _rungs(settlers: Iterable[tuple[str, AttemptStatus]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for rung, status in settlers:
        one = found.setdefault(rung, {"tries": 0, "settled": 0})
        one["tries"] += 1
        one["settled"] += status is AttemptStatus.COMPLETE
    return found


def _set_backs(steps: Iterable[Step]) -> dict[str, Any]:
    """Of entries between intent and record: where another writer had moved the branch, and where a writer had died
    before the branch was swapped (they are landed anew) or after it (only the record was missing)."""
    merging: set[str] = set()
    rejects, points = 0, Counter[str]()
    for step in steps:
        if step.status in {EntryStatus.QUEUED, EntryStatus.GATING} and step.entry in merging:
            rejects += step.reason == MOVED
            points["before_swap"] += step.reason != MOVED
        elif step.status is EntryStatus.LANDED:
            points["after_swap"] += step.reason == FOUND
        merging.discard(step.entry)
        if step.status is EntryStatus.MERGING:
            merging.add(step.entry)
    return {"swap_rejects": rejects, "recoveries": {point: count for point, count in points.items() if count}}


def expected_s(
    position: int, mode: GateMode, *, gate_s: float | None, landing_s: float | None, cap: int
) -> float | None:
    """Seconds until the entry at this position (1 is next) has probably landed; None where nothing is known yet."""
    swaps = position * landing_s if landing_s is not None else None
    if mode is not GateMode.GATED:
        return swaps
    return None if gate_s is None else ceil(position / max(1, cap)) * gate_s + (swaps or 0.0)


def depths(candidates: Sequence[tuple[str, ...]], reds: Sequence[bool]) -> list[int]:
    """How deep each gate stands in the search for who is red: below the latest red one that held all of its entries.

    `candidates` are the entries of each gate on one tip, in the order in which they ran.
    """
    found: list[int] = []
    for at, entries in enumerate(candidates):
        above = [one for one in range(at) if reds[one] and _holds(candidates[one], entries)]
        found.append(found[above[-1]] + 1 if above else 0)
    return found


def _holds(candidate: tuple[str, ...], entries: tuple[str, ...]) -> bool:
    return candidate[: len(entries)] == entries
