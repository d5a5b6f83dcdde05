"""A split subtask, what it is a part of, and its parts."""

from __future__ import annotations

from orchestration.models import Subtask


def descendants(subtask: Subtask) -> list[Subtask]:
    """Its parts and theirs, in the order in which they were planned."""
    found: dict[int, Subtask] = {}
    layer = [subtask.pk]
    while layer:
        rows = Subtask.objects.filter(parent__in=layer).exclude(pk__in=found).select_related("swarm")
        fresh = {row.pk: row for row in rows}
        found |= fresh
        layer = list(fresh)
    return [found[pk] for pk in sorted(found)]


def ancestors(subtask: Subtask) -> list[Subtask]:
    """What it is a part of, the nearest first."""
    found = []
    while subtask.parent:
        subtask = subtask.parent
        found.append(subtask)
    return found
