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
LIMITED_PAUSE_S = 60.0  # at least, after too many requests: asking sooner makes a ban of it
LONGEST_WAIT_S = 3600.0  # that a remote may ask for


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
    CLOSED = "closed"  # somebody closed the pull request
    DRAFT = "draft"  # there are none there
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
    Trouble.CLOSED: (
        "Open it there again and then try again, or try again without that: a new one is opened then. Or keep the "
        "branch only."
    ),
    Trouble.DRAFT: "Switch drafts off in the repository's settings here, then try again.",
    Trouble.OTHER: "Look at what was said, then try again, or keep the branch only.",
}


# Of a pull request, whose branch is ours: another way is no way out.
OF_PULL_REQUESTS: Mapping[Trouble, str] = {
    Trouble.PROTECTED: "Let the rules there allow branches that begin with swarm/, then try again, or keep the branch "
    "only.",
    Trouble.REWRITTEN: "Take away there what is not of this swarm, or delete that branch, then try again; or keep the "
    "branch only.",
}


def advice(trouble: Trouble, mode: Landing) -> str:
    """What somebody can do about it."""
    own = OF_PULL_REQUESTS if mode is Landing.PULL_REQUEST else {}
    return own.get(trouble, ADVICE[trouble])


class RemoteError(AdapterError):
    """What somebody else's repository, or the way to it, said no to; `wait_s` is what it asked to wait."""

    def __init__(self, trouble: Trouble, message: str, *, wait_s: float = 0.0) -> None:
        passes = trouble in PASSES or trouble is Trouble.MOVED
        super().__init__(Failure.TRANSIENT if passes else Failure.PERMANENT, message)
        self.trouble = trouble
        self.wait_s = wait_s


def pause_s(tries: int, trouble: Trouble = Trouble.DOWN, asked_s: float = 0.0) -> float:
    """Before the next look at a remote that could not be reached `tries` times in a row: never less than it asked."""
    first = LIMITED_PAUSE_S if trouble is Trouble.LIMITED else FIRST_PAUSE_S
    own = min(first * 2 ** min(tries, 10), LONGEST_PAUSE_S)
    return float(max(own, min(asked_s, LONGEST_WAIT_S)))


def needs_person(trouble: Trouble, tries: int, moves: int) -> bool:
    """Whether trying on by ourselves would be no help, or has been none for long."""
    if trouble is Trouble.MOVED:
        return moves >= MOST_MOVES
    return trouble not in PASSES or tries >= MOST_TRIES
