"""What of a swarm waits to land, as the merge queue's order sees it."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q, QuerySet
from django.utils import timezone

from orchestration.domain.merging import Queued
from orchestration.domain.states import EntryStatus
from orchestration.models import MergeEntry, Subtask, Swarm
from orchestration.models.prepared import PreparedRead


def due(swarm: Swarm) -> QuerySet[MergeEntry]:
    """Queued, and not put aside at the moment."""
    return _due_at(swarm.pk, timezone.now())


def _due_at(swarm: int, now: datetime) -> QuerySet[MergeEntry]:
    free = Q(not_before__isnull=True) | Q(not_before__lte=now)
    return MergeEntry.objects.filter(free, swarm=swarm, status=EntryStatus.QUEUED)


_merging_or_due = PreparedRead(
    lambda swarm, now: (
        (_due_at(swarm, now) | MergeEntry.objects.filter(swarm=swarm, status=EntryStatus.MERGING))
        .order_by()
        .values_list("pk")[:1]
    )
)


def is_waiting(swarm: Swarm) -> bool:
    """Whether the queue has something to do now: what is due, or what a writer that died left between two steps."""
    return bool(_merging_or_due(swarm=swarm.pk, now=timezone.now()))


_COLUMNS = ("pk", "subtask", "priority", "enqueued_at", "infra_failures")
_due = PreparedRead(lambda swarm, now: _due_at(swarm, now).values_list(*_COLUMNS))
_parts = PreparedRead(
    lambda swarm: Subtask.objects.filter(swarm=swarm, parent__isnull=False).order_by().values_list("pk", "parent")
)
_pairs = PreparedRead(
    lambda subtasks: Subtask.dependencies.through.objects.filter(
        from_subtask__in=subtasks, to_subtask__in=subtasks
    ).values_list("from_subtask", "to_subtask")
)


def waiting(swarm: Swarm) -> list[Queued]:
    """A branch belongs to one swarm and so to one requester: inside it, the plan's top subtasks take turns, each with
    all the parts that it was split into."""
    now = timezone.now()
    rows = _due(swarm=swarm.pk, now=now)
    trees = _trees(swarm) if len(rows) > 1 else {}
    needs = _needs({subtask: pk for pk, subtask, *_ in rows})
    return [
        Queued(pk, priority, (now - since).total_seconds(), failed, trees.get(subtask, subtask), needs[subtask])
        for pk, subtask, priority, since, failed in rows
    ]


def _trees(swarm: Swarm) -> dict[int, int]:
    """The top of the tree that each part of a split subtask stands in."""
    parents: dict[int, int | None] = dict(_parts(swarm=swarm.pk))
    return {part: _top(part, parents) for part in parents}


def _top(part: int, parents: dict[int, int | None]) -> int:
    while (parent := parents.get(part)) is not None:
        part = parent
    return part


def _needs(entries: dict[int, int]) -> dict[int, frozenset[int]]:
    """For each subtask, the entries of those that it depends on."""
    found: dict[int, set[int]] = {subtask: set() for subtask in entries}
    for subtask, needed in _pairs(subtasks=list(entries)) if len(entries) > 1 else ():
        found[subtask].add(entries[needed])
    return {subtask: frozenset(ids) for subtask, ids in found.items()}
