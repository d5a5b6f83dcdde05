"""A swarm's figures, read from its rows."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from orchestration.domain.states import AttemptStatus, IterationStatus
from orchestration.domain.stats import AttemptFacts, Planning, statistics
from orchestration.models.swarms import Swarm
from orchestration.models.work import Attempt


def statistics_of(swarm: Swarm) -> dict[str, Any]:
    """The figures so far; `wall_s` runs to the swarm's end, or to now."""
    attempts = Attempt.objects.filter(subtask__swarm=swarm).select_related("subtask")
    subtasks = swarm.subtasks.prefetch_related("dependencies")
    first = swarm.iterations.filter(status=IterationStatus.DONE).first()  # the later ones run beside the work
    return statistics(
        [_facts(one) for one in attempts],
        {row.name: [needed.name for needed in row.dependencies.all()] for row in subtasks},
        Planning(first.steps, (first.finished_at - first.started_at).total_seconds())
        if first and first.finished_at
        else Planning(0, 0.0),
        wall_s=((swarm.finished_at or timezone.now()) - swarm.created_at).total_seconds(),
    )


def _facts(attempt: Attempt) -> AttemptFacts:
    end = attempt.finished_at or timezone.now()
    return AttemptFacts(
        subtask=attempt.subtask.name,
        level=attempt.subtask.level,
        status=AttemptStatus(attempt.status),
        steps=attempt.steps,
        tool_calls=attempt.tool_calls,
        seconds=(end - attempt.started_at).total_seconds() if attempt.started_at else 0.0,
    )
