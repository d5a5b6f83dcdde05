"""Resolutions that landed, for the same conflict another time: by the three contents, whatever the path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import F
from django.utils import timezone

from orchestration.adapters.git.settling import GONE, blobs_of, entries_at, is_plain, sides_of
from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.git.values import MergeConflict
from orchestration.domain.policies import Rule, policy_for
from orchestration.models import MergeEntry, Repository, Resolution


class Remembered:
    """Of one repository. `used` are those that were found since it was made."""

    def __init__(self, repository: Repository | int) -> None:
        self._repository = repository
        self.used: list[Resolution] = []

    def __call__(self, base: str, ours: str, theirs: str) -> str | None:
        rows = Resolution.objects.filter(repository=self._repository, base=base, ours=ours, theirs=theirs)
        found: Resolution | None = rows.first()
        if found is None:
            return None
        self.used.append(found)
        return f"{found.mode} {found.blob}" if found.blob else GONE

    def count(self) -> None:
        """They settled what is about to land."""
        ids = [one.pk for one in self.used]
        if not ids:
            return
        Resolution.objects.filter(pk__in=ids).update(uses=F("uses") + 1, used_at=timezone.now())


def what_was_settled(
    store: BareRepository, conflict: MergeConflict, commit: str, rules: Sequence[Rule]
) -> list[dict[str, Any]]:
    """To be kept once it has landed. What a policy settles or a command makes needs no memory."""
    sides = sides_of(conflict)
    paths = [path for path in sides if is_plain(path) and policy_for(path.decode(), rules) is None]
    made = entries_at(store, commit, paths)
    found = []
    for path in paths:
        base, ours, theirs = blobs_of(sides[path])
        mode, _, blob = made.get(path, " ").partition(" ")
        sums = {"base": base, "ours": ours, "theirs": theirs, "mode": mode, "blob": blob}
        found.append({"path": path.decode()} | sums)
    return found


def keep_landed(entries: Iterable[MergeEntry]) -> None:
    """In the transaction that records the landing."""
    rows = [
        Resolution(repository_id=entry.swarm.repository_id, entry=entry, **one)
        for entry in entries
        for one in entry.resolved
    ]
    if rows:
        Resolution.objects.bulk_create(rows, ignore_conflicts=True)
