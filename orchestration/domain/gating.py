"""The prefix ladder: which cumulative candidates of the merge queue are gated, which of them lands, who is evicted.

A chain of candidates grows from the tip: prefix k is the tip with the first k entries merged one after another, and
prefix 0 the tip itself. Decisions follow from one look at what is known of them; nothing is remembered here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

FIRST_CAP, LEAST_CAP, MOST_CAP = 8, 2, 64
GROWTH = 1.5
REDS_OF_A_CULPRIT = 2  # of the entry alone on the tip: one may be a flake
TROUBLE_IN_A_ROW = 3  # gates that the machine failed: then the queue pauses and says so


class GateMode(StrEnum):
    OFF = "off"
    OPTIMISTIC = "optimistic"
    GATED = "gated"


class Why(StrEnum):
    """Why a gate runs; the page and the log say it in these words."""

    PROVE = "to land these together"
    SEARCH = "to find who is red"
    CONFIRM = "to confirm that it is red alone"
    TIP = "to see whether the branch itself is green"
    AFTER = "to see whether what landed is green"


@dataclass(frozen=True, slots=True)
class Known:
    """What gates have said about one candidate so far. One green outweighs every red: those were flakes."""

    running: bool = False
    green: bool = False
    reds: int = 0

    @property
    def red(self) -> bool:
        return self.reds > 0 and not self.green

    @property
    def surely_red(self) -> bool:
        return self.reds >= REDS_OF_A_CULPRIT and not self.green

    @property
    def untried(self) -> bool:
        return not (self.running or self.green or self.reds)


UNKNOWN = Known()


@dataclass(frozen=True, slots=True)
class Trouble:
    """Gates in a row that came to no verdict because of the machine. It evicts nobody."""

    in_a_row: int = 0
    resting: bool = False  # the next try is not due yet
    last: str = ""


@dataclass(frozen=True, slots=True)
class View:
    length: int  # of the chain
    known: Mapping[int, Known] = field(default_factory=dict)  # by prefix
    cap: int = FIRST_CAP
    slots: int = 1
    stray: int = 0  # gates that still run on candidates which are not in the chain any more
    strict: bool = False  # every landed commit must be green itself
    trouble: Trouble = Trouble()

    def of(self, prefix: int) -> Known:
        return self.known.get(prefix, UNKNOWN)

    @property
    def running(self) -> int:
        return self.stray + sum(known.running for known in self.known.values())

    @property
    def free(self) -> int:
        """Gates that may start now; in trouble one after another, to see whether it has passed."""
        if self.trouble.resting:
            return 0
        return max(0, (1 if self.trouble.in_a_row else self.slots) - self.running)

    @property
    def first_red(self) -> int | None:
        return next((prefix for prefix in range(1, self.length + 1) if self.of(prefix).red), None)

    @property
    def reach(self) -> int:
        """How far a prefix goes while nothing is red."""
        return min(self.cap, self.length)


@dataclass(frozen=True, slots=True)
class Start:
    prefix: int
    why: Why


@dataclass(frozen=True, slots=True)
class Land:
    prefix: int
    flakes: tuple[int, ...] = ()  # red prefixes that this green one proves innocent


@dataclass(frozen=True, slots=True)
class Evict:
    """The chain's first entry: alone on a tip that is green, and red each time."""

    reds: int


@dataclass(frozen=True, slots=True)
class Wait:
    reason: str
    paused: bool = False  # nothing goes on by itself: a person should look


Decision = Start | Land | Evict | Wait


def decide(view: View) -> tuple[Decision, ...]:
    """What to do now: one landing, or one eviction, or gates to start, or the reason why there is nothing to do."""
    prefix = _longest_green(view)
    if prefix:
        flakes = tuple(k for k in range(1, prefix + 1) if view.of(k).reds)
        return (Land(prefix, flakes),)
    first = view.of(1)
    if view.length and first.surely_red and not first.running and view.of(0).green:
        return (Evict(first.reds),)
    starts = _wanted(view)[: view.free]
    return tuple(starts) or (_wait(view),)


def wants_gate_after(tip: Known, *, live: bool, resting: bool) -> bool:
    """Optimistic mode: one gate at a time on the branch's tip; a red one is run once more."""
    return not (live or resting or tip.running or tip.green or tip.surely_red)


def grown(cap: int) -> int:
    """After a landing, short or long: measured better than growing by a quarter, or after long ones only."""
    return min(MOST_CAP, max(cap + 1, int(cap * GROWTH)))


def halved(cap: int) -> int:
    """After a culprit."""
    return max(LEAST_CAP, cap // 2)


def _longest_green(view: View) -> int:
    greens = [prefix for prefix in range(1, view.length + 1) if view.of(prefix).green]
    if not view.strict:
        return max(greens, default=0)
    return next((done for done, prefix in enumerate(greens) if prefix != done + 1), len(greens))


def _wanted(view: View) -> list[Start]:
    """Gates that would help, the most helpful first."""
    red = view.first_red
    if red == 1 and view.of(0).surely_red:  # then the entry is not to blame, and a later one may be the cure
        return [Start(k, Why.PROVE) for k in _untried(view, range(view.length, 0, -1))]
    if red == 1:
        return _confirming(view)
    if view.strict:
        why = Why.SEARCH if red else Why.PROVE
        return [Start(k, why) for k in _untried(view, range(1, red or view.reach + 1))]
    if red:
        return [Start(k, Why.SEARCH) for k in _between(view, red)]
    whole = [view.reach] if view.length and view.of(view.reach).untried else []
    return [Start(k, Why.PROVE) for k in (*whole, *_between(view, view.reach, len(whole)))]


def _confirming(view: View) -> list[Start]:
    wanted = ((1, Why.CONFIRM), (0, Why.TIP))
    return [
        Start(prefix, why)
        for prefix, why in wanted
        if not (view.of(prefix).running or view.of(prefix).green or view.of(prefix).surely_red)
    ]


def _untried(view: View, prefixes: Iterable[int]) -> list[int]:
    return [prefix for prefix in prefixes if view.of(prefix).untried]


def _between(view: View, end: int, taken: int = 0) -> list[int]:
    """Prefixes below `end` that split what lies between the tried ones as evenly as the free gates allow."""
    tried = [0, *(prefix for prefix in range(1, end) if not view.of(prefix).untried), end]
    cuts = dict.fromkeys(pairwise(tried), 0)  # how often each gap is cut
    for _ in range(max(0, view.free - taken)):
        low, high = max(cuts, key=lambda gap: ((gap[1] - gap[0]) / (cuts[gap] + 1), -gap[0]), default=(0, 0))
        if (high - low) <= cuts[low, high] + 1:
            break
        cuts[low, high] += 1
    return [low + (high - low) * cut // (n + 1) for (low, high), n in cuts.items() for cut in range(1, n + 1)]


def _wait(view: View) -> Wait:
    trouble = view.trouble
    if trouble.in_a_row:
        paused = trouble.in_a_row >= TROUBLE_IN_A_ROW
        tried = (
            f"The gate could not be run {trouble.in_a_row} times in a row" if paused else "The gate could not be run"
        )
        return Wait(f"{tried}; it is tried again: {trouble.last}", paused=paused)
    if view.running:
        return Wait("Gates are running.")
    if view.length and view.of(0).surely_red:
        return Wait("The gate is red on the branch itself, so nobody who waits is to blame.", paused=True)
    return Wait("Nothing waits to land.")
