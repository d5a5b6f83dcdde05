"""Conflicts that an agent is to settle, as dispatch sees them: which subtasks, and in which files."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from orchestration.domain.resolving import Rung
from orchestration.domain.states import ENTRY_OPEN, EntryStatus
from orchestration.models import MergeEntry, Subtask
from orchestration.models.prepared import PreparedRead

BY_DISPATCH = (Rung.REGENERATE, Rung.CONTINUED, Rung.FRESH)


def _to_settle(subtask: int) -> QuerySet[MergeEntry]:
    return MergeEntry.objects.filter(subtask=subtask, status=EntryStatus.CONFLICT, rung__in=BY_DISPATCH)


_conflicts = PreparedRead(lambda subtask: _to_settle(subtask).values_list("pk")[:1])
_paths = PreparedRead(
    lambda: (
        MergeEntry.objects.filter(
            Q(status=EntryStatus.CONFLICT, rung__in=BY_DISPATCH) | Q(status__in=ENTRY_OPEN, rounds__gt=0)
        )
        .order_by("pk")
        .values_list("subtask", "conflict_paths", "attempt__resolves__conflict_paths")
    )
)


def to_settle(subtask: Subtask) -> MergeEntry | None:
    """The conflict that its next attempt is about; none: it does its own work."""
    if not _conflicts(subtask=subtask.pk):
        return None
    return _to_settle(subtask.pk).first()


def paths_to_settle() -> dict[int, list[str]]:
    """By subtask, until its resolution has landed: two at once in the same file would undo each other."""
    return {subtask: own or before or [] for subtask, own, before in _paths()}
