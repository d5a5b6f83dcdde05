"""Finds every row that should be moving and nudges it again: the same code as always, a little later."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
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
from orchestration.models.prepared import PreparedRead, PreparedRows
from orchestration.stages import leases
from orchestration.stages.accounting import free_reservations
from orchestration.stages.ask import look_after_questions
from orchestration.stages.due import forecasts_before, to_plan
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
    now = timezone.now()
    for stage, rows in _left(now):
        for row_id in dict.fromkeys(pk for (pk,) in rows):
            queue.nudge(stage, row_id)


def _left(now: datetime) -> Iterator[tuple[Stage, Sequence[tuple[int]]]]:
    """What each stage should look at."""
    unclaimed = now - UNCLAIMED_AFTER
    yield Stage.EXECUTE, _assigned(before=unclaimed)
    yield Stage.PLAN, _to_plan()
    yield Stage.DISPATCH, _to_dispatch()
    yield Stage.SUBPLAN, _split()
    yield Stage.GATE, _to_gate(before=unclaimed)
    yield Stage.FINISH, [*_to_finish(), *_to_publish()]
    yield Stage.MERGE, [*_to_merge(), *_gated_of_ended()]
    yield Stage.RESOLVE, _to_resolve()
    if settings.SWARM["FORECAST_SECONDS"]:
        yield Stage.FORECAST, _to_forecast(before=forecasts_before(now))
    yield Stage.MAINTAIN, _neglected(before=now - EVERY)


def _split_alone() -> QuerySet[Subtask]:
    """Whose parts are worked on by themselves."""
    rows = Subtask.objects.filter(status=SubtaskStatus.WAITING, swarm__status=SwarmStatus.RUNNING)
    return rows.exclude(attempts__status__in=ATTEMPT_LIVE)


def _undecided() -> QuerySet[MergeEntry]:
    """Conflicts about which nobody has decided yet who settles them."""
    rows = MergeEntry.objects.filter(status=EntryStatus.CONFLICT, rung="", subtask__status=SubtaskStatus.CONFLICT)
    return rows.filter(swarm__status__in=SWARM_ACTIVE)


def _forecasts(before: datetime) -> QuerySet[Swarm]:
    """Where something has not landed yet, or a forecast was made of what has ended since."""
    running = Attempt.objects.filter(status=AttemptStatus.RUNNING).values("subtask__swarm")
    waiting = MergeEntry.objects.filter(status__in=ENTRY_OPEN).values("swarm")
    going_on = Q(status__in=SWARM_ACTIVE) & (Q(pk__in=running) | Q(pk__in=waiting))
    due = Q(forecast_at__isnull=True) | Q(forecast_at__lte=before)
    return Swarm.objects.filter(due, going_on | ~Q(clashes_at=""))


def _in(status: SwarmStatus) -> PreparedRead:
    return PreparedRead(lambda: Swarm.objects.filter(status=status).order_by().values_list("pk"))


_assigned = PreparedRead(
    lambda before: Attempt.objects.filter(
        status=AttemptStatus.ASSIGNED, created_at__lt=before, subtask__swarm__status=SwarmStatus.RUNNING
    ).values_list("pk")
)
_to_plan = PreparedRead(lambda: to_plan().values_list("pk"))
_to_dispatch = _in(SwarmStatus.RUNNING)
_split = PreparedRead(lambda: _split_alone().values_list("pk"))
_to_gate = PreparedRead(
    lambda before: GateRun.objects.filter(status=GateStatus.WAITING, created_at__lt=before).values_list("pk")
)
_to_finish = _in(SwarmStatus.FINALIZING)
_to_publish = PreparedRead(
    lambda: Publication.objects.filter(status__in=PUBLICATION_OPEN, swarm__status__in=SWARM_OVER).values_list("swarm")
)
_to_merge = PreparedRead(
    lambda: MergeEntry.objects.filter(status__in=ENTRY_OPEN).order_by("swarm").values_list("swarm").distinct()
)
# Those of swarms that are over are ended by their writers.
_gated_of_ended = PreparedRead(
    lambda: GateRun.objects.filter(status__in=GATE_LIVE, swarm__status__in=SWARM_OVER).order_by().values_list("swarm")
)
_to_resolve = PreparedRead(lambda: _undecided().order_by("swarm").values_list("swarm").distinct())
_to_forecast = PreparedRead(lambda before: _forecasts(before).values_list("pk"))
_neglected = PreparedRead(lambda before: Repository.objects.filter(looked_after_at__lt=before).values_list("pk"))
