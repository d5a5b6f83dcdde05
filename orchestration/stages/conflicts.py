"""Conflicts that an agent is to settle, as dispatch sees them: which subtasks, and in which files."""

from __future__ import annotations

from django.db.models import Q

from orchestration.domain.resolving import Rung
from orchestration.domain.states import ENTRY_OPEN, EntryStatus
from orchestration.models import MergeEntry, Subtask

BY_DISPATCH = (Rung.REGENERATE, Rung.CONTINUED, Rung.FRESH)


def to_settle(subtask: Subtask) -> MergeEntry | None:
    """The conflict that its next attempt is about; none: it does its own work."""
    return subtask.merge_entries.filter(status=EntryStatus.CONFLICT, rung__in=BY_DISPATCH).first()


def paths_to_settle() -> dict[int, list[str]]:
    """By subtask, until its resolution has landed: two at once in the same file would undo each other."""
    settling = Q(status=EntryStatus.CONFLICT, rung__in=BY_DISPATCH)
    landing = Q(status__in=ENTRY_OPEN, rounds__gt=0)
    rows = MergeEntry.objects.filter(settling | landing).order_by("pk")
    found = rows.values_list("subtask", "conflict_paths", "attempt__resolves__conflict_paths")
    return {subtask: own or before or [] for subtask, own, before in found}
