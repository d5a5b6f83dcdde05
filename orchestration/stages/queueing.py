"""What of a swarm waits to land, as the merge queue's order sees it."""

from __future__ import annotations

from django.db.models import Q, QuerySet
from django.utils import timezone

from orchestration.domain.merging import Queued
from orchestration.domain.states import EntryStatus
from orchestration.models import MergeEntry, Subtask, Swarm


def due(swarm: Swarm) -> QuerySet[MergeEntry]:
    """Queued, and not put aside at the moment."""
    free = Q(not_before__isnull=True) | Q(not_before__lte=timezone.now())
    return swarm.merge_entries.filter(free, status=EntryStatus.QUEUED)


def waiting(swarm: Swarm) -> list[Queued]:
    """A branch belongs to one swarm and so to one requester: inside it, the plan's top subtasks take turns, each with
    all the parts that it was split into."""
    now, trees = timezone.now(), _trees(swarm)
    rows = list(due(swarm).values_list("pk", "subtask", "priority", "enqueued_at", "infra_failures"))
    needs = _needs({subtask: pk for pk, subtask, *_ in rows})
    return [
        Queued(pk, priority, (now - since).total_seconds(), failed, trees.get(subtask, subtask), needs[subtask])
        for pk, subtask, priority, since, failed in rows
    ]


def _trees(swarm: Swarm) -> dict[int, int]:
    """The top of the tree that each part of a split subtask stands in."""
    parents = dict(swarm.subtasks.filter(parent__isnull=False).values_list("pk", "parent"))
    return {part: _top(part, parents) for part in parents}


def _top(part: int, parents: dict[int, int | None]) -> int:
    while (parent := parents.get(part)) is not None:
        part = parent
    return part


def _needs(entries: dict[int, int]) -> dict[int, frozenset[int]]:
    """For each subtask, the entries of those that it depends on."""
    pairs = Subtask.dependencies.through.objects.filter(from_subtask__in=entries, to_subtask__in=entries)
    found: dict[int, set[int]] = {subtask: set() for subtask in entries}
    for subtask, needed in pairs.values_list("from_subtask", "to_subtask"):
        found[subtask].add(entries[needed])
    return {subtask: frozenset(ids) for subtask, ids in found.items()}
