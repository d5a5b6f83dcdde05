"""Which nudges are worth their price: a stage that surely finds nothing to do is not asked to look."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from orchestration.domain.events import Stage
from orchestration.domain.states import SUBTASK_SETTLED, DeliveryStatus, IterationStatus, SwarmStatus
from orchestration.models import Delivery, Subtask, Swarm
from orchestration.models.prepared import PreparedRead

PLANS_IN = (SwarmStatus.PLANNING, SwarmStatus.RUNNING)
NOT_KEPT = frozenset({IterationStatus.FAILED, IterationStatus.LOST})  # what these heard, nobody has heard


def may_be_due(stage: Stage, swarm: Swarm) -> bool:
    """Of the rows as they are after the commit. Where `swarm` was read before it, that costs at most a vain nudge."""
    if stage is Stage.FORECAST:
        return bool(settings.SWARM["FORECAST_SECONDS"]) and (
            swarm.forecast_at is None or swarm.forecast_at <= forecasts_before(timezone.now())
        )
    return stage is not Stage.PLAN or not swarm.planning_done or bool(_to_plan(swarm=swarm.pk))


def forecasts_before(now: datetime) -> datetime:
    """A swarm whose last forecast began later than this has to wait for its next one."""
    return now - timedelta(seconds=settings.SWARM["FORECAST_SECONDS"])


def to_plan() -> QuerySet[Swarm]:
    """Their planner is not done, or has to hear something: what a person said, or what became of its subtasks."""
    active = Subtask.objects.filter(swarm=OuterRef("pk"), parent=None).exclude(status__in=SUBTASK_SETTLED)
    said = Delivery.objects.filter(message__swarm=OuterRef("pk"), subtask=None).exclude(status=DeliveryStatus.EXPIRED)
    unheard = said.filter(Q(iteration=None) | Q(iteration__status__in=NOT_KEPT))
    return Swarm.objects.filter(Q(planning_done=False) | ~Exists(active) | Exists(unheard), status__in=PLANS_IN)


_to_plan = PreparedRead(lambda swarm: to_plan().filter(pk=swarm).values_list("pk"))
