"""Finds every row that should be moving and nudges it again: the same code as always, a little later."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from orchestration.adapters import queue
from orchestration.domain.errors import SwarmsiteError
from orchestration.domain.events import Stage
from orchestration.domain.states import (
    ATTEMPT_LIVE,
    ENTRY_OPEN,
    GATE_LIVE,
    PUBLICATION_OPEN,
    SWARM_ACTIVE,
    SWARM_OVER,
    AttemptStatus,
    EntryStatus,
    GateStatus,
    IterationStatus,
    SubtaskStatus,
    SwarmStatus,
)
from orchestration.models import (
    Attempt,
    GateRun,
    Lease,
    MergeEntry,
    PlanIteration,
    Publication,
    Repository,
    Subtask,
    Swarm,
)
from orchestration.models.prepared import PreparedRows
from orchestration.stages import leases
from orchestration.stages.accounting import free_reservations
from orchestration.stages.ask import look_after_questions
from orchestration.stages.gate import lose as lose_gate
from orchestration.stages.handoff import lose
from orchestration.stages.maintain import EVERY
from orchestration.stages.sharing import forget_expired
from orchestration.stages.stalls import tell_of_stalls
from orchestration.stages.tell import expire_unheard
from orchestration.stages.transition import advance

logger = logging.getLogger(__name__)
UNCLAIMED_AFTER = timedelta(seconds=2)
GONE = "The process that ran it is gone."
ENGINE = "engine"  # the lease of whoever does the work
WORKERS = "Celery's worker processes"  # its holder where there is no embedded engine
WORKERS_SECONDS = 30.0  # beat sends a tick every five


def _attempts() -> QuerySet[Attempt]:
    return Attempt.objects.filter(status=AttemptStatus.RUNNING).select_related("subtask__swarm__repository")


def _iterations() -> QuerySet[PlanIteration]:
    return PlanIteration.objects.filter(status=IterationStatus.RUNNING).select_related("swarm")


def _running_gates() -> QuerySet[GateRun]:
    return GateRun.objects.filter(status=GateStatus.RUNNING).select_related("swarm")


_expired = PreparedRows(lambda now: _attempts().filter(lease_expires_at__lt=now))
_expired_iterations = PreparedRows(lambda now: _iterations().filter(lease_expires_at__lt=now))
_expired_gates = PreparedRows(lambda now: _running_gates().filter(lease_expires_at__lt=now))


def tick() -> None:
    """Harmless however often it runs, and wherever."""
    now = timezone.now()
    for attempt in _expired(now=now):
        _give_up(attempt)
    for iteration in _expired_iterations(now=now):
        advance(iteration.swarm, iteration, IterationStatus.LOST, reason=GONE)
    for run in _expired_gates(now=now):
        lose_gate(run)
    free_reservations()
    forget_expired()
    look_after_questions()
    expire_unheard()
    tell_of_stalls()
    _nudge()


def tick_of_many() -> None:
    """The tick that beat sends to worker processes: whoever else looks sees by it that they are the engine."""
    leases.share(ENGINE, WORKERS, WORKERS_SECONDS)
    tick()


def take_over() -> None:
    """A new engine is the only one here: what the last one held ran in it, and nothing else does."""
    Lease.objects.exclude(name=ENGINE).update(token="", expires_at=None)
    for attempt in _attempts():
        _give_up(attempt)
    for iteration in _iterations():
        advance(iteration.swarm, iteration, IterationStatus.LOST, reason=GONE)
    for run in _running_gates():
        lose_gate(run)
    free_reservations()
    _nudge()


def _give_up(attempt: Attempt) -> None:
    """One row that cannot be moved must not keep the others from moving."""
    try:
        lose(attempt, GONE)
    except SwarmsiteError:
        logger.exception("Attempt %s could not be given up.", attempt.public_id)


def _nudge() -> None:
    before = timezone.now() - UNCLAIMED_AFTER
    assigned = Attempt.objects.filter(status=AttemptStatus.ASSIGNED, created_at__lt=before)
    running = assigned.filter(subtask__swarm__status=SwarmStatus.RUNNING)
    for attempt_id in running.values_list("pk", flat=True):
        queue.nudge(Stage.EXECUTE, attempt_id)
    for swarm_id, status in Swarm.objects.active().values_list("pk", "status"):
        for stage in _STAGES.get(SwarmStatus(status), ()):
            queue.nudge(stage, swarm_id)
    split = Subtask.objects.filter(status=SubtaskStatus.WAITING, swarm__status=SwarmStatus.RUNNING)
    for subtask_id in split.exclude(attempts__status__in=ATTEMPT_LIVE).values_list("pk", flat=True):
        queue.nudge(Stage.SUBPLAN, subtask_id)
    _nudge_gates(before)
    late = Publication.objects.filter(status__in=PUBLICATION_OPEN, swarm__status__in=SWARM_OVER)
    for swarm_id in late.values_list("swarm", flat=True):
        queue.nudge(Stage.FINISH, swarm_id)
    waiting = MergeEntry.objects.filter(status__in=ENTRY_OPEN).order_by("swarm")  # its own order would undo distinct
    for swarm_id in waiting.values_list("swarm", flat=True).distinct():
        queue.nudge(Stage.MERGE, swarm_id)
    _nudge_conflicts()
    if settings.SWARM["FORECAST_SECONDS"]:
        _nudge_forecasts()
    neglected = Repository.objects.filter(looked_after_at__lt=timezone.now() - EVERY)
    for repository_id in neglected.values_list("pk", flat=True):
        queue.nudge(Stage.MAINTAIN, repository_id)


def _nudge_conflicts() -> None:
    """Those about which nobody has decided yet who settles them."""
    rows = MergeEntry.objects.filter(status=EntryStatus.CONFLICT, rung="", subtask__status=SubtaskStatus.CONFLICT)
    for swarm_id in rows.filter(swarm__status__in=SWARM_ACTIVE).order_by("swarm").values_list("swarm").distinct():
        queue.nudge(Stage.RESOLVE, swarm_id[0])


def _nudge_forecasts() -> None:
    """Where something has not landed yet, or a forecast was made of what has ended since."""
    running = Attempt.objects.filter(status=AttemptStatus.RUNNING).values("subtask__swarm")
    waiting = MergeEntry.objects.filter(status__in=ENTRY_OPEN).values("swarm")
    going_on = Q(status__in=SWARM_ACTIVE) & (Q(pk__in=running) | Q(pk__in=waiting))
    for swarm_id in Swarm.objects.filter(going_on | ~Q(clashes_at="")).values_list("pk", flat=True):
        queue.nudge(Stage.FORECAST, swarm_id)


def _nudge_gates(before: datetime) -> None:
    """Gates that nobody claimed; and those of swarms that are over, which their writers end."""
    unclaimed = GateRun.objects.filter(status=GateStatus.WAITING, created_at__lt=before)
    for run_id in unclaimed.values_list("pk", flat=True):
        queue.nudge(Stage.GATE, run_id)
    over = GateRun.objects.filter(status__in=GATE_LIVE, swarm__status__in=SWARM_OVER).order_by("swarm")
    for swarm_id in over.values_list("swarm", flat=True).distinct():
        queue.nudge(Stage.MERGE, swarm_id)


_STAGES = {
    SwarmStatus.PLANNING: (Stage.PLAN,),
    SwarmStatus.RUNNING: (Stage.DISPATCH, Stage.PLAN),
    SwarmStatus.FINALIZING: (Stage.FINISH,),
}
