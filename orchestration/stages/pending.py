"""What a decision needs of pending subtasks. Hundreds are read after every landing, and few of them change: of those
that wait for others only that is read which says for whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from orchestration.domain.states import SubtaskStatus
from orchestration.models import Subtask, Swarm
from orchestration.models.prepared import PreparedRead

_STATUSES = {status.value: status for status in SubtaskStatus}
Needed = tuple[str, SubtaskStatus, datetime | None]  # of a dependency: its name, its status, its end


@dataclass(frozen=True, slots=True)
class Pending:
    swarm: Swarm
    pk: int
    swarm_id: int
    parent_id: int | None
    name: str
    priority: int
    wait_reason: str


@dataclass(frozen=True, slots=True)
class Ready(Pending):
    """With what decides whether it starts now: all that it depends on is complete."""

    kind: str
    scope: list[str]
    depth: int
    decompose: bool
    created_at: datetime
    not_before: datetime | None


_COLUMNS = tuple(field.name for field in fields(Pending))[1:]
_ALL_COLUMNS = tuple(field.name for field in fields(Ready))[1:]


def pending(swarm: Swarm) -> list[Pending]:
    return [Pending(swarm, *values) for values in _pending(swarm=swarm.pk)]


def with_terms(rows: Collection[Pending], needs: Mapping[int, Sequence[Needed]]) -> list[Pending]:
    """The same, and of those that need nothing more all there is to know; without those that were changed meanwhile."""
    free = [row for row in rows if all(status is SubtaskStatus.COMPLETE for _, status, _ in needs.get(row.pk, ()))]
    found = {pk: values for pk, *values in _ready(pks=[row.pk for row in free])} if free else {}
    ready = {row.pk: Ready(row.swarm, row.pk, *found[row.pk]) if row.pk in found else None for row in free}
    return [one for row in rows if (one := ready.get(row.pk, row))]


def read(rows: QuerySet[Subtask], swarms: Mapping[int, Swarm]) -> list[Ready]:
    """In the order in which they were planned; each of them knows the very swarm that is given."""
    return [Ready(swarms[swarm], *values) for swarm, *values in _rows(rows, "swarm_id", *_ALL_COLUMNS)]


def _rows(subtasks: QuerySet[Subtask], *columns: str) -> QuerySet[Subtask, tuple[Any, ...]]:
    return subtasks.filter(status=SubtaskStatus.PENDING).order_by("pk").values_list(*columns)


_pending = PreparedRead(lambda swarm: _rows(Subtask.objects.filter(swarm=swarm), *_COLUMNS))
_ready = PreparedRead(lambda pks: _rows(Subtask.objects.filter(pk__in=pks), *_ALL_COLUMNS))
_needs = PreparedRead(
    lambda swarms: (
        Subtask.dependencies.through.objects.filter(
            from_subtask__swarm__in=swarms, from_subtask__status=SubtaskStatus.PENDING
        )
        .order_by("to_subtask")
        .values_list("from_subtask", "to_subtask__name", "to_subtask__status", "to_subtask__finished_at")
    )
)


def needs_of(swarms: Collection[int]) -> Mapping[int, Sequence[Needed]]:
    """Of all that is pending in these swarms: to name each of hundreds in the question takes longer than its answer."""
    found: dict[int, list[Needed]] = defaultdict(list)
    for pk, name, status, finished_at in _needs(swarms=list(swarms)):
        found[pk].append((name, _STATUSES[status], finished_at))
    return found
