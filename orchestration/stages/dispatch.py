"""Gives ready subtasks to agents: a snapshot, a decision, one transaction. Never waits for a model.

Decisions are taken one at a time in the whole installation (the lease row is locked first), so that no limit
can be overshot by two of them at once.
"""

from __future__ import annotations

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from orchestration.domain.scheduling import Block, Room, Start, Wait, Waiting, decide
from orchestration.domain.states import (
    ATTEMPT_HOLDS_SLOT,
    ENTRY_OPEN,
    SUBTASK_SETTLED,
    IterationStatus,
    SubtaskStatus,
    SwarmStatus,
)
from orchestration.models import Attempt, Lease, Subtask, Swarm
from orchestration.stages.rows import config_of
from orchestration.stages.transition import Moves, Superseded, moves

LOCK = "dispatch"


def dispatch(swarm_id: int) -> None:
    """Starts what may start, says why the rest waits, and sends the swarm to its end when nothing is left."""
    swarm = Swarm.objects.get(pk=swarm_id)
    if swarm.status != SwarmStatus.RUNNING:
        return
    Lease.objects.get_or_create(name=LOCK)
    try:
        with transaction.atomic():
            Lease.objects.select_for_update().get(name=LOCK)
            swarm.refresh_from_db()
            if swarm.status == SwarmStatus.RUNNING:
                with moves(swarm) as together:
                    _dispatch(swarm, together)
    except Superseded:
        return  # whoever was first has nudged us again


def _dispatch(swarm: Swarm, together: Moves) -> None:
    pending = list(swarm.subtasks.filter(status=SubtaskStatus.PENDING).prefetch_related("dependencies"))
    rows = {row.pk: row for row in pending}
    room = Room(swarm=config_of(swarm).slots - _busy(swarm), everywhere=settings.SWARM["MAX_AGENTS"] - _busy(None))
    blocked = False
    for decision in decide([_waiting(row) for row in pending], room, timezone.now()):
        row = rows[decision.id]
        match decision:
            case Start():
                _start(row, together)
            case Wait(reason=reason):
                if row.wait_reason != reason:
                    Subtask.objects.filter(pk=row.pk).update(wait_reason=reason)
            case Block(reason=reason):
                together.advance(row, SubtaskStatus.BLOCKED, reason=reason)
                blocked = True
    if not blocked and _nothing_left(swarm):
        together.advance(swarm, SwarmStatus.FINALIZING)


def _busy(swarm: Swarm | None) -> int:
    attempts = Attempt.objects.filter(status__in=ATTEMPT_HOLDS_SLOT)
    return (attempts.filter(subtask__swarm=swarm) if swarm else attempts).count()


def _waiting(row: Subtask) -> Waiting:
    needed = {one.name: SubtaskStatus(one.status) for one in row.dependencies.all()}
    return Waiting(row.pk, row.name, row.priority, needed, row.not_before)


def _start(row: Subtask, together: Moves) -> None:
    together.advance(row, SubtaskStatus.ASSIGNED, wait_reason="", not_before=None)
    attempt = Attempt.objects.create(subtask=row, number=row.attempts.count() + 1)
    together.created(attempt)


def _nothing_left(swarm: Swarm) -> bool:
    """The planner is done, every subtask is settled, and nothing is on its way to land."""
    return (
        swarm.planning_done
        and not swarm.iterations.filter(status=IterationStatus.RUNNING).exists()
        and not swarm.subtasks.exclude(status__in=SUBTASK_SETTLED).exists()
        and not swarm.merge_entries.filter(status__in=ENTRY_OPEN).exists()
    )
