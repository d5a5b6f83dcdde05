"""The life of every row: which statuses exist, which change into which, and which are the end.

Everything that decides a status change is in the table below; who performs it is stages/transition.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from orchestration.domain.errors import SwarmsiteError


class SwarmStatus(StrEnum):
    PLANNING = "planning"  # no plan yet: the first planner call is due or running
    AWAITING_APPROVAL = "awaiting_approval"
    RUNNING = "running"
    PAUSED = "paused"
    FINALIZING = "finalizing"  # nothing left to do but to drain the queue and run the final checks
    SUCCEEDED = "succeeded"
    PARTLY_SUCCEEDED = "partly_succeeded"  # something landed, something did not
    FAILED = "failed"
    CANCELLED = "cancelled"


class SubtaskStatus(StrEnum):
    PENDING = "pending"
    BLOCKED = "blocked"  # a dependency will not come, or the agent said that it cannot go on
    ASSIGNED = "assigned"
    RUNNING = "running"
    WAITING = "waiting"  # for children, an answer or a person
    HANDED_OFF = "handed_off"  # verified, on its way to land
    CONFLICT = "conflict"  # with what landed before: somebody has to settle it
    COMPLETE = "complete"  # verified and landed, or no change was due
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"


class AttemptStatus(StrEnum):
    ASSIGNED = "assigned"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETE = "complete"
    PARTIAL = "partial"
    BLOCKED = "blocked"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"  # its process died: the lease ran out


class EntryStatus(StrEnum):
    QUEUED = "queued"
    MERGING = "merging"
    GATING = "gating"
    CONFLICT = "conflict"
    LANDED = "landed"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"


class GateStatus(StrEnum):
    """Of one run of the repository's checks on a candidate."""

    WAITING = "waiting"  # for a worker
    RUNNING = "running"
    GREEN = "green"
    RED = "red"
    INFRA = "infra"  # the machine failed: no verdict
    CANCELLED = "cancelled"  # its verdict is not needed any more


class PublicationStatus(StrEnum):
    """Of a result on its way out of here: to a pull request, or onto the branch that it is meant for."""

    PENDING = "pending"
    PUSHING = "pushing"  # written down before anything is pushed: whether it arrived is looked up there
    WAITING = "waiting"  # until the remote can be reached again
    REFUSED = "refused"  # until a person did something
    LANDED = "landed"  # and the remote confirmed it
    CANCELLED = "cancelled"  # the branch stays here


class IterationStatus(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"


class DeliveryStatus(StrEnum):
    """Of a message to one listener."""

    WAITING = "waiting"
    DELIVERED = "delivered"  # it was in a request that was sent
    ANSWERED = "answered"  # and the model has answered that request
    EXPIRED = "expired"  # what it was for has ended


class QuestionStatus(StrEnum):
    OPEN = "open"
    ANSWERED = "answered"
    EXPIRED = "expired"  # nobody answered in time
    WITHDRAWN = "withdrawn"  # nobody waits for the answer any more


Status = (
    SwarmStatus
    | SubtaskStatus
    | AttemptStatus
    | EntryStatus
    | GateStatus
    | PublicationStatus
    | IterationStatus
    | DeliveryStatus
    | QuestionStatus
)

S, T, A, E, I = SwarmStatus, SubtaskStatus, AttemptStatus, EntryStatus, IterationStatus  # noqa: E741
D, Q, G, P = DeliveryStatus, QuestionStatus, GateStatus, PublicationStatus

# One table a kind: words of different kinds that read the same are equal in Python, and would fall together.
_SWARM: Mapping[Status, frozenset[Status]] = {
    S.PLANNING: frozenset({S.AWAITING_APPROVAL, S.RUNNING, S.PAUSED, S.FINALIZING, S.FAILED, S.CANCELLED}),
    S.AWAITING_APPROVAL: frozenset({S.RUNNING, S.FAILED, S.CANCELLED}),
    S.RUNNING: frozenset({S.PAUSED, S.FINALIZING, S.FAILED, S.CANCELLED}),
    S.PAUSED: frozenset({S.PLANNING, S.RUNNING, S.FAILED, S.CANCELLED}),
    S.FINALIZING: frozenset({S.RUNNING, S.SUCCEEDED, S.PARTLY_SUCCEEDED, S.FAILED, S.CANCELLED}),
    # Over, unless a person takes back what landed: that goes the same way once more.
    S.SUCCEEDED: frozenset({S.FINALIZING}),
    S.PARTLY_SUCCEEDED: frozenset({S.FINALIZING}),
    S.FAILED: frozenset({S.FINALIZING}),
    S.CANCELLED: frozenset(),
}
_SUBTASK: Mapping[Status, frozenset[Status]] = {
    T.PENDING: frozenset({T.ASSIGNED, T.BLOCKED, T.WAITING, T.CANCELLED}),
    T.BLOCKED: frozenset({T.PENDING, T.CANCELLED}),
    T.ASSIGNED: frozenset({T.RUNNING, T.PENDING, T.FAILED, T.CANCELLED}),
    T.RUNNING: frozenset(
        {
            T.PENDING,
            T.BLOCKED,
            T.WAITING,
            T.HANDED_OFF,
            T.CONFLICT,  # its conflict could not be settled
            T.COMPLETE,
            T.FAILED,
            T.TIMED_OUT,
            T.CANCELLED,
        }
    ),
    T.WAITING: frozenset({T.PENDING, T.RUNNING, T.HANDED_OFF, T.COMPLETE, T.FAILED, T.TIMED_OUT, T.CANCELLED}),
    T.HANDED_OFF: frozenset({T.PENDING, T.WAITING, T.COMPLETE, T.CONFLICT, T.FAILED, T.CANCELLED}),
    T.CONFLICT: frozenset({T.PENDING, T.HANDED_OFF, T.COMPLETE, T.FAILED, T.CANCELLED}),
    T.FAILED: frozenset({T.PENDING, T.CANCELLED}),
    T.TIMED_OUT: frozenset({T.PENDING, T.CANCELLED}),
    T.COMPLETE: frozenset(),
    T.CANCELLED: frozenset(),
}
_ATTEMPT: Mapping[Status, frozenset[Status]] = {
    A.ASSIGNED: frozenset({A.RUNNING, A.FAILED, A.CANCELLED, A.LOST}),
    A.RUNNING: frozenset({A.WAITING, A.COMPLETE, A.PARTIAL, A.BLOCKED, A.FAILED, A.TIMED_OUT, A.CANCELLED, A.LOST}),
    A.WAITING: frozenset({A.ASSIGNED, A.FAILED, A.TIMED_OUT, A.CANCELLED, A.LOST}),
    A.COMPLETE: frozenset(),
    A.PARTIAL: frozenset(),
    A.BLOCKED: frozenset(),
    A.FAILED: frozenset(),
    A.TIMED_OUT: frozenset(),
    A.CANCELLED: frozenset(),
    A.LOST: frozenset(),
}
_ENTRY: Mapping[Status, frozenset[Status]] = {
    E.QUEUED: frozenset({E.MERGING, E.GATING, E.CONFLICT, E.REJECTED, E.SUPERSEDED, E.CANCELLED}),
    E.MERGING: frozenset({E.QUEUED, E.GATING, E.LANDED, E.CONFLICT, E.REJECTED}),
    E.GATING: frozenset({E.QUEUED, E.MERGING, E.CONFLICT, E.REJECTED, E.SUPERSEDED, E.CANCELLED}),
    E.CONFLICT: frozenset({E.QUEUED, E.REJECTED, E.SUPERSEDED, E.CANCELLED}),
    E.LANDED: frozenset(),
    E.REJECTED: frozenset(),
    E.SUPERSEDED: frozenset(),
    E.CANCELLED: frozenset(),
}
_GATE: Mapping[Status, frozenset[Status]] = {
    G.WAITING: frozenset({G.RUNNING, G.CANCELLED}),
    G.RUNNING: frozenset({G.GREEN, G.RED, G.INFRA, G.CANCELLED}),
    G.GREEN: frozenset(),
    G.RED: frozenset(),
    G.INFRA: frozenset(),
    G.CANCELLED: frozenset(),
}
_PUBLICATION: Mapping[Status, frozenset[Status]] = {
    P.PENDING: frozenset({P.PUSHING, P.WAITING, P.REFUSED, P.LANDED, P.CANCELLED}),
    P.PUSHING: frozenset({P.PENDING, P.WAITING, P.REFUSED, P.LANDED, P.CANCELLED}),
    P.WAITING: frozenset({P.PENDING, P.CANCELLED}),
    P.REFUSED: frozenset({P.PENDING, P.CANCELLED}),
    P.LANDED: frozenset({P.PENDING}),  # something landed on the swarm's branch afterwards
    P.CANCELLED: frozenset(),
}
_ITERATION: Mapping[Status, frozenset[Status]] = {
    I.RUNNING: frozenset({I.DONE, I.FAILED, I.LOST}),
    I.DONE: frozenset(),
    I.FAILED: frozenset(),
    I.LOST: frozenset(),
}
# A conversation may end before its subtask does: the next one is told again.
_DELIVERY: Mapping[Status, frozenset[Status]] = {
    D.WAITING: frozenset({D.DELIVERED, D.EXPIRED}),
    D.DELIVERED: frozenset({D.WAITING, D.ANSWERED}),
    D.ANSWERED: frozenset({D.WAITING}),
    D.EXPIRED: frozenset(),
}
_QUESTION: Mapping[Status, frozenset[Status]] = {
    Q.OPEN: frozenset({Q.ANSWERED, Q.EXPIRED, Q.WITHDRAWN}),
    Q.ANSWERED: frozenset(),
    Q.EXPIRED: frozenset(),
    Q.WITHDRAWN: frozenset({Q.OPEN}),  # somebody asks it again
}

TRANSITIONS: Mapping[type[Status], Mapping[Status, frozenset[Status]]] = {
    SwarmStatus: _SWARM,
    SubtaskStatus: _SUBTASK,
    AttemptStatus: _ATTEMPT,
    EntryStatus: _ENTRY,
    GateStatus: _GATE,
    PublicationStatus: _PUBLICATION,
    IterationStatus: _ITERATION,
    DeliveryStatus: _DELIVERY,
    QuestionStatus: _QUESTION,
}

# Where a row of each kind begins.
INITIAL: Mapping[type[Status], Status] = {
    SwarmStatus: S.PLANNING,
    SubtaskStatus: T.PENDING,
    AttemptStatus: A.ASSIGNED,
    EntryStatus: E.QUEUED,
    GateStatus: G.WAITING,
    PublicationStatus: P.PENDING,
    IterationStatus: I.RUNNING,
    DeliveryStatus: D.WAITING,
    QuestionStatus: Q.OPEN,
}

SWARM_OVER = frozenset({S.SUCCEEDED, S.PARTLY_SUCCEEDED, S.FAILED, S.CANCELLED})
SWARM_ACTIVE = frozenset(S) - SWARM_OVER
ATTEMPT_LIVE = frozenset({A.ASSIGNED, A.RUNNING, A.WAITING})
ATTEMPT_HOLDS_SLOT = frozenset({A.ASSIGNED, A.RUNNING})
GATE_LIVE = frozenset({G.WAITING, G.RUNNING})
PUBLICATION_OPEN = frozenset({P.PENDING, P.PUSHING, P.WAITING, P.REFUSED})
ENTRY_OPEN = frozenset({E.QUEUED, E.MERGING, E.GATING})
# Nothing will happen to it any more unless a person or the planner does something.
SUBTASK_SETTLED = frozenset({T.BLOCKED, T.COMPLETE, T.FAILED, T.TIMED_OUT, T.CANCELLED})
# A dependency in one of these will not be met.
SUBTASK_LOST = frozenset({T.BLOCKED, T.FAILED, T.TIMED_OUT, T.CANCELLED})


class IllegalTransition(SwarmsiteError):
    """The table has no such change: a bug in the caller, never something a user can cause."""


def may(old: Status, new: Status) -> bool:
    return type(old) is type(new) and new in TRANSITIONS[type(old)][old]


def require(old: Status, new: Status) -> None:
    """Raises IllegalTransition where the table does not know the change."""
    if not may(old, new):
        raise IllegalTransition(f"{type(old).__name__}: {old} does not become {new}.")


def is_final(status: Status) -> bool:
    return not TRANSITIONS[type(status)][status]


def diagram(kind: type[Status]) -> str:
    """The kind's table as a Mermaid state diagram; docs/states.md is made of these."""
    lines = ["stateDiagram-v2", f"    [*] --> {INITIAL[kind]}"]
    for old, news in TRANSITIONS[kind].items():
        lines += [f"    {old} --> {new}" for new in sorted(news)]
        lines += [] if news else [f"    {old} --> [*]"]
    return "\n".join(lines)
