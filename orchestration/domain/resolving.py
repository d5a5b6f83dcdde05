"""Who settles a conflict that the queue could not: a command, an agent, another agent, a person. A step at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_LINES = 400  # that conflict: more than an agent without the subtask's memory is asked to take on
MAX_ROUNDS = 10  # conflicts of the same work that were settled before: by then it runs after a moving branch
AROUND = 3  # lines that are shown before and after a place in conflict
MOST_TOLD = 24_000  # characters of each side of a file, in an agent's task
MOST_TOLD_TOGETHER = 90_000


_LABEL = re.compile(r"^(<<<<<<<|>>>>>>>) [0-9a-f]{40}(?=:|\r?$)", re.MULTILINE)
LABELS = {"<<<<<<<": "what landed", ">>>>>>>": "this subtask"}


class Rung(StrEnum):
    REGENERATE = "regenerate"  # the repository's command makes the file anew
    CONTINUED = "continued"  # the same subtask's agent goes on
    FRESH = "fresh"  # an agent that knows both sides and is on neither
    PERSON = "person"


TRIES = {Rung.REGENERATE: 1, Rung.CONTINUED: 2, Rung.FRESH: 1}
WORDS = {
    Rung.REGENERATE: "the repository's command makes it anew",
    Rung.CONTINUED: "the subtask's agent settles it",
    Rung.FRESH: "an agent that knows both sides settles it",
    Rung.PERSON: "a person decides",
}


@dataclass(frozen=True, slots=True)
class Conflict:
    """`tried` are the rungs of the tries that came to nothing, `lines` those between markers in what is left."""

    tried: Sequence[Rung] = ()
    lines: int = 0
    made: bool = False  # every path that is left is one that a command makes
    binary: bool = False
    rounds: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    rung: Rung
    reason: str


def next_step(conflict: Conflict) -> Step:
    """The first rung with a try left. A person has no budget."""
    if conflict.rounds >= MAX_ROUNDS:
        return _person(f"It was settled {conflict.rounds} times, and conflicted again each time.")
    if conflict.made and _left(Rung.REGENERATE, conflict):
        return _step(Rung.REGENERATE, conflict)
    if conflict.binary:
        return _person("What conflicts is no text, so no agent can put it together.")
    if _left(Rung.CONTINUED, conflict):
        return _step(Rung.CONTINUED, conflict)
    if _left(Rung.FRESH, conflict) and conflict.lines <= MAX_LINES:
        return _step(Rung.FRESH, conflict)
    too_much = (
        f", and {conflict.lines} lines are more than another agent is given" if conflict.lines > MAX_LINES else ""
    )
    return _person(f"{len(conflict.tried)} tries came to nothing{too_much}.")


def _left(rung: Rung, conflict: Conflict) -> int:
    return max(0, TRIES[rung] - list(conflict.tried).count(rung))


def _step(rung: Rung, conflict: Conflict) -> Step:
    number = list(conflict.tried).count(rung) + 1
    return Step(rung, f"In conflict: {WORDS[rung]} (try {number} of {TRIES[rung]}).")


def _person(why: str) -> Step:
    return Step(Rung.PERSON, f"{why} It needs you.")


def lines_between_markers(text: bytes) -> int:
    """Of both sides, in a file as git leaves it."""
    count, inside = 0, False
    for line in text.split(b"\n"):
        if line.startswith(b"<<<<<<<"):
            inside = True
        elif line.startswith(b">>>>>>>"):
            inside = False
        elif inside and not line.startswith(b"======="):
            count += 1
    return count


@dataclass(frozen=True, slots=True)
class Place:
    """Of a file as git leaves it: what stands on both sides of the middle line, with the lines around."""

    before: str
    ours: str
    theirs: str
    after: str


def places(text: str) -> list[Place]:
    """Where it conflicts; of what has no end there is none."""
    lines = text.split("\n")
    starts = [at for at, line in enumerate(lines) if line.startswith("<<<<<<<")]
    found, free = [], 0
    for number, start in enumerate(starts):
        middle = _next(lines, "=======", start)
        end = _next(lines, ">>>>>>>", middle)
        if end == len(lines):
            break
        until = min([end + 1 + AROUND, *starts[number + 1 : number + 2]])
        found.append(
            Place(
                _joined(lines[max(free, start - AROUND) : start]),
                _joined(lines[start + 1 : middle]),
                _joined(lines[middle + 1 : end]),
                _joined(lines[end + 1 : until]),
            )
        )
        free = end + 1
    return found


def _next(lines: Sequence[str], marker: str, since: int) -> int:
    return next((at for at in range(since, len(lines)) if lines[at].startswith(marker)), len(lines))


def _joined(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def labelled(text: str) -> str:
    """With words instead of commits beside the markers."""
    return _LABEL.sub(lambda found: f"{found[1]} {LABELS[found[1]]}", text)
