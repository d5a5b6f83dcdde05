"""Whether a swarm stands still until a person answers."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Count, QuerySet

from orchestration.domain.resolving import Rung
from orchestration.domain.states import (
    ATTEMPT_HOLDS_SLOT,
    ENTRY_OPEN,
    EntryStatus,
    IterationStatus,
    QuestionStatus,
    SubtaskStatus,
    SwarmStatus,
)
from orchestration.models import Attempt, MergeEntry, Swarm

HELD = "Its scope "  # how dispatch says that somebody else's change is in the way


def only_answers_help(swarm: Swarm) -> bool:
    """A question is open or a conflict undecided, nobody works, plans or lands, and nothing that waits could begin
    without a person."""
    asks = swarm.questions.filter(status=QuestionStatus.OPEN).exists() or conflicts_for_people(swarm).exists()
    if swarm.status != SwarmStatus.RUNNING or not asks:
        return False
    works = Attempt.objects.filter(subtask__swarm=swarm, status__in=ATTEMPT_HOLDS_SLOT).exists()
    plans = swarm.iterations.filter(status=IterationStatus.RUNNING).exists() or swarm.plan_not_before is not None
    lands = swarm.merge_entries.filter(status__in=ENTRY_OPEN).exists()
    return not (works or plans or lands or _could_begin(swarm))


def conflicts_for_people(swarm: Swarm) -> QuerySet[MergeEntry]:
    """That no agent could settle."""
    return _for_people().filter(swarm=swarm).select_related("subtask")


def conflicts_by_swarm(swarms: Collection[int]) -> dict[int, int]:
    """How many there are in each that has some."""
    rows = _for_people().filter(swarm__in=swarms).order_by().values_list("swarm")
    return dict(rows.annotate(count=Count("pk")))


def _for_people() -> QuerySet[MergeEntry]:
    return MergeEntry.objects.filter(
        status=EntryStatus.CONFLICT, rung=Rung.PERSON, subtask__status=SubtaskStatus.CONFLICT
    )


def _could_begin(swarm: Swarm) -> bool:
    pending = swarm.subtasks.filter(status=SubtaskStatus.PENDING).exclude(wait_reason__startswith=HELD)
    return pending.exclude(dependencies__in=swarm.subtasks.exclude(status=SubtaskStatus.COMPLETE)).exists()
