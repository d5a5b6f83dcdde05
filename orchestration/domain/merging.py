"""The merge queue's rules: who is next, what a landing commit says, what a failure or a crash means for an entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

BATCH = 64  # entries after which the queue is looked at anew, and what conflicted is tried once more
CHAIN = 16  # entries that land under one swap of the branch
AGING_S = 600.0  # waiting this long lifts an entry by one class of priority
PENALTY = 0.5  # of a class, for each time that the machine failed at it
MOST_PENALTY = 2.0
LONGEST_ASIDE_S = 60.0
MAX_INFRA_FAILURES = 20  # times that git refused to merge one entry, for a reason that does not pass
FAILURES_IN_A_ROW = 3  # of different entries: then it is the machine, and the rest is left for later
STALLED_S = 60.0  # with something that waits and no landing: then people are told
PACK_AFTER_LANDINGS = 1_000  # in one repository, since it was packed last
PACK_AFTER_LOOSE = 5_000  # objects that lie in files of their own
TRAILER = "MQ-Request"


@dataclass(frozen=True, slots=True)
class Queued:
    """`owner` is whoever takes turns with others in a class: who asked, or the part of the plan that it belongs to.
    `needs` are the entries that have to land before it or together with it."""

    id: int
    priority: int
    waited_s: float = 0.0
    failures: int = 0
    owner: int = 0
    needs: frozenset[int] = frozenset()

    @property
    def score(self) -> float:
        """Lower is sooner. The penalty is bounded and age is not: nothing waits for ever."""
        return self.priority - self.waited_s / AGING_S + min(self.failures * PENALTY, MOST_PENALTY)

    @property
    def grade(self) -> int:
        """The class that it has reached."""
        return ceil(self.score)


def in_order(queued: Iterable[Queued]) -> list[int]:
    """The most urgent class first; in a class the owners take turns, each with its oldest: newest-first would starve.

    What an entry needs stands before it, as urgent as itself.
    """
    waiting = {one.id: one for one in queued}
    ordered: dict[int, None] = {}
    for one in _in_turns(waiting.values()):
        for each in _with_needs(one.id, waiting):
            ordered.setdefault(each)
    return list(ordered)


def _in_turns(queued: Iterable[Queued]) -> list[Queued]:
    turns: Counter[tuple[int, int]] = Counter()
    places: list[tuple[int, int, float, int, Queued]] = []
    for one in sorted(queued, key=lambda one: (one.score, one.id)):
        turn = turns[one.grade, one.owner]
        turns[one.grade, one.owner] += 1
        places.append((one.grade, turn, one.score, one.id, one))
    return [one for *_, one in sorted(places, key=lambda place: place[:4])]


def _with_needs(wanted: int, waiting: Mapping[int, Queued]) -> list[int]:
    """Itself after all that it needs; a circle is cut where it closes."""
    found: dict[int, None] = {}
    seen: set[int] = set()
    path = [(wanted, False)]
    while path:
        one, ready = path.pop()
        if ready:
            found.setdefault(one)
        elif one in waiting and one not in seen:
            seen.add(one)
            path += [(one, True), *((needed, False) for needed in sorted(waiting[one].needs, reverse=True))]
    return list(found)


def aside_s(failures: int) -> float:
    """How long an entry that the machine failed at is put aside; those behind it go on."""
    return float(min(2 ** min(failures, 10), LONGEST_ASIDE_S))


def landing_message(*, name: str, summary: str, entry_id: str, head_sha: str) -> str:
    """Of the merge commit; the trailers make a landing provable from git alone."""
    body = f"\n{summary.strip()}\n" if summary.strip() else ""
    return f"Land {name}\n{body}\n{TRAILER}: {entry_id}\nMQ-Head: {head_sha}\nMQ-Task: {name}\n"


class Recovery(StrEnum):
    """What to do with an entry that a dead writer left in `merging`."""

    LANDED = "landed"  # the ref had moved: only the record is missing
    REDO = "redo"  # the ref had not moved: merge again, it gives the same commit


def recover(*, intent_new: str, intended_is_in_history: bool) -> Recovery:
    return Recovery.LANDED if intent_new and intended_is_in_history else Recovery.REDO
