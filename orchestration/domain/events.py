"""The swarm's log: what an event is called, and which stage a recorded event wakes.

An event is `noun.what`: for a status change the noun and the new status, otherwise one of `OTHER`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from orchestration.domain.states import (
    AttemptStatus,
    DeliveryStatus,
    EntryStatus,
    GateStatus,
    IterationStatus,
    PublicationStatus,
    QuestionStatus,
    Status,
    SubtaskStatus,
    SwarmStatus,
)

VERSION = 1


class Noun(StrEnum):
    SWARM = "swarm"
    SUBTASK = "subtask"
    ATTEMPT = "attempt"
    ENTRY = "merge_entry"
    GATE = "gate"
    PUBLICATION = "publication"
    PLAN = "plan"
    MESSAGE = "message"
    QUESTION = "question"


class Stage(StrEnum):
    PLAN = "plan"
    SUBPLAN = "subplan"
    DISPATCH = "dispatch"
    EXECUTE = "execute"
    MERGE = "merge"
    GATE = "gate"
    RESOLVE = "resolve"
    FINISH = "finish"
    FORECAST = "forecast"
    MAINTAIN = "maintain"  # of a repository


# Facts that are no status change.
OTHER = frozenset(
    {
        "swarm.submitted",
        "swarm.started",  # the base commit is pinned and the integration branch made
        "swarm.steered",  # a person changed its plan or its limits; who, and what it was before
        "swarm.noted",  # something a person should know, with its sentence
        "swarm.published",  # the branch was put where its requester can see it
        "swarm.queue_paused",  # nothing lands until a person looked, or the machine works again
        "swarm.queue_resumed",
        "swarm.forecast",  # who will conflict with whom is not as it was; the first of them, a sentence each
        "merge_entry.resolving",  # somebody is to settle its conflict: who, and why
        "gate.flaked",  # it was red, and a later green proved it innocent
        "swarm.checked",  # one of the repository's checks ran on the result
        "plan.retrying",
        "attempt.progressed",
        "artifact.saved",
        "message.sent",  # by a person, to agents; who, to whom, and its words
        "result.shared",  # by an agent, for the others of its swarm
    }
)

NOUN_OF: Mapping[type[Status], Noun] = {
    SwarmStatus: Noun.SWARM,
    SubtaskStatus: Noun.SUBTASK,
    AttemptStatus: Noun.ATTEMPT,
    EntryStatus: Noun.ENTRY,
    GateStatus: Noun.GATE,
    PublicationStatus: Noun.PUBLICATION,
    IterationStatus: Noun.PLAN,
    DeliveryStatus: Noun.MESSAGE,
    QuestionStatus: Noun.QUESTION,
}

KINDS = OTHER | {f"{noun}.{status}" for kind, noun in NOUN_OF.items() for status in kind}


def kind_of(status: Status) -> str:
    return f"{NOUN_OF[type(status)]}.{status}"


# Which stages look again after an event. Execute is woken with the attempt, gate with the gate run, subplan with the
# subtask that waits for its parts (itself, or the one that the row is a part of), the others with the swarm.
_COLLECT = (Stage.DISPATCH, Stage.PLAN, Stage.SUBPLAN)
NUDGES: Mapping[str, tuple[Stage, ...]] = {
    "swarm.submitted": (Stage.PLAN,),
    "swarm.planning": (Stage.PLAN,),
    "swarm.running": (Stage.DISPATCH, Stage.PLAN, Stage.MERGE),
    "swarm.steered": (Stage.DISPATCH, Stage.PLAN),
    "swarm.noted": (Stage.DISPATCH,),  # where it is that planning ended, nothing else would wake the end
    "swarm.finalizing": (Stage.FINISH,),
    "plan.done": _COLLECT,
    "plan.failed": _COLLECT,
    "plan.lost": (Stage.PLAN, Stage.SUBPLAN),
    "subtask.pending": (Stage.DISPATCH,),
    "subtask.waiting": (Stage.SUBPLAN,),
    "subtask.complete": _COLLECT,
    "subtask.failed": _COLLECT,
    "subtask.timed_out": _COLLECT,
    "subtask.blocked": _COLLECT,
    "subtask.conflict": (*_COLLECT, Stage.RESOLVE),
    "subtask.cancelled": _COLLECT,
    "attempt.assigned": (Stage.EXECUTE,),
    "attempt.waiting": (Stage.DISPATCH,),  # its place is free
    "message.sent": (Stage.PLAN,),
    "merge_entry.queued": (Stage.MERGE,),
    "publication.pending": (Stage.FINISH,),
    "gate.waiting": (Stage.GATE,),
    "gate.green": (Stage.MERGE,),
    "gate.red": (Stage.MERGE,),
    "gate.infra": (Stage.MERGE,),
    "gate.cancelled": (Stage.MERGE,),
    "merge_entry.landed": (Stage.DISPATCH, Stage.FORECAST),
    "merge_entry.conflict": (Stage.DISPATCH,),
    "merge_entry.rejected": (Stage.DISPATCH,),
}


def group_of(swarm_id: str) -> str:
    """The live channel of one swarm's pages; `swarm_id` is its public id."""
    return f"swarm.{swarm_id}"


def draft_group(subtask_id: str) -> str:
    """Of the pages of one subtask, for what its agent is just saying."""
    return f"draft.{subtask_id}"


BOARD_GROUP = "board"
