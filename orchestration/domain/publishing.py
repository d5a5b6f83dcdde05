"""Where a swarm's result goes, what can be in the way, and what is done about it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from orchestration.domain.errors import AdapterError, Failure

MOST_MOVES = 20  # times that the target moved between our look and our push
MOVES_AT_ONCE = 5  # of them without a pause
MOST_TRIES = 500  # of a remote that is down: with the longest pause between them, more than a day
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0


class Landing(StrEnum):
    NONE = "none"
    DIRECT = "direct"
    PULL_REQUEST = "pull_request"


class Trouble(StrEnum):
    """What kept a result from being landed outward."""

    MOVED = "moved"  # the target is not where it was: look again
    DOWN = "down"
    FULL = "full"
    LIMITED = "limited"  # too many requests
    SIGN_IN = "sign_in"
    PROTECTED = "protected"
    CHECKED_OUT = "checked_out"
    REWRITTEN = "rewritten"
    CONFLICT = "conflict"  # what others pushed does not merge, or its checks are red
    OTHER = "other"


PASSES = frozenset({Trouble.DOWN, Trouble.FULL, Trouble.LIMITED})  # waiting may help; everything else needs a person

ADVICE: Mapping[Trouble, str] = {
    Trouble.MOVED: "It is fetched, merged through the same queue and checks, and pushed again.",
    Trouble.DOWN: "It is tried again by itself.",
    Trouble.FULL: "Make room there; it is tried again by itself.",
    Trouble.LIMITED: "It is tried again by itself.",
    Trouble.SIGN_IN: "Let an operator look at the token that the repository names, and at its rights; then try again.",
    Trouble.PROTECTED: (
        "Change the rule or its exceptions there and try again, or choose a pull request, or keep the branch only."
    ),
    Trouble.CHECKED_OUT: "Switch to another branch there and try again, or keep the branch only.",
    Trouble.REWRITTEN: (
        "Start anew from what is there now, or choose a pull request, or keep the branch only: a push would bring back "
        "what was taken out."
    ),
    Trouble.CONFLICT: "Settle it in the merge queue, or try again, or keep the branch only.",
    Trouble.OTHER: "Look at what was said, then try again, or keep the branch only.",
}


class RemoteError(AdapterError):
    """What somebody else's repository, or the way to it, said no to."""

    def __init__(self, trouble: Trouble, message: str) -> None:
        passes = trouble in PASSES or trouble is Trouble.MOVED
        super().__init__(Failure.TRANSIENT if passes else Failure.PERMANENT, message)
        self.trouble = trouble


def pause_s(tries: int) -> float:
    """Before the next look at a remote that could not be reached `tries` times in a row."""
    return float(min(FIRST_PAUSE_S * 2 ** min(tries, 10), LONGEST_PAUSE_S))


def needs_person(trouble: Trouble, tries: int, moves: int) -> bool:
    """Whether trying on by ourselves would be no help, or has been none for long."""
    if trouble is Trouble.MOVED:
        return moves >= MOST_MOVES
    return trouble not in PASSES or tries >= MOST_TRIES
