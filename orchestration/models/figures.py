"""A swarm's figures and a repository's experience, read from their rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Count, Q, Sum
from django.utils import timezone

from orchestration.domain.caching import HIT, MISS
from orchestration.domain.estimates import Past, Prices
from orchestration.domain.states import AttemptStatus, EntryStatus
from orchestration.domain.stats import AttemptFacts, Executed, MergeFacts, PlanFacts, Usage, statistics
from orchestration.models.merges import MergeEntry
from orchestration.models.repositories import ModelEndpoint, Repository
from orchestration.models.swarms import PlanIteration, Swarm
from orchestration.models.work import Attempt, Subtask


def statistics_of(swarm: Swarm) -> dict[str, Any]:
    """The figures so far; `wall_s` runs to the swarm's end, or to now."""
    subtasks = list(swarm.subtasks.prefetch_related("dependencies"))
    needs = {row.name: [needed.name for needed in row.dependencies.all()] for row in subtasks}
    return statistics(
        executed(
            swarm,
            subtasks,
            list(Attempt.objects.filter(subtask__swarm=swarm).order_by("pk")),
            needs=needs,
            entries=list(swarm.merge_entries.all()),
            iterations=list(swarm.iterations.all()),
            now=timezone.now(),
        )
    )


def executed(
    swarm: Swarm,
    subtasks: Sequence[Subtask],
    attempts: Sequence[Attempt],
    *,
    needs: dict[str, list[str]],
    entries: Sequence[MergeEntry],
    iterations: Sequence[PlanIteration],
    now: datetime,
) -> Executed:
    """From all rows of the swarm; what still runs has lasted until `now`. Asks the database only for its usage."""
    clock = _Clock(swarm, now)
    by_id = {row.pk: row for row in subtasks}
    numbers = {one.pk: one.number for one in iterations}
    landed = {entry.attempt_id: entry.finished_at for entry in entries if entry.status == EntryStatus.LANDED}
    return Executed(
        wall_s=max(0.0, clock.at(swarm.finished_at)),
        attempts=[
            _attempt(one, by_id[one.subtask_id], clock, landed.get(one.pk), numbers)
            for one in attempts
            if not one.cached_from and (one.started_at or not by_id[one.subtask_id].origin)
        ],
        plans=[_plan(one, by_id, clock) for one in iterations],
        merges=[_merge(entry) for entry in entries],
        usage=usage_of(swarm),
        needs=needs,
        parents={row.name: by_id[row.parent_id].name for row in subtasks if row.parent_id},
        cache_hits=sum(row.cache == HIT for row in subtasks),
        cache_misses=sum(row.cache == MISS for row in subtasks),
    )


class _Clock:
    def __init__(self, swarm: Swarm, now: datetime) -> None:
        self._start = swarm.created_at
        self._now = now

    def at(self, when: datetime | None) -> float:
        return ((when or self._now) - self._start).total_seconds()


def _attempt(
    attempt: Attempt, subtask: Subtask, clock: _Clock, landed: datetime | None, numbers: dict[int, int]
) -> AttemptFacts:
    return AttemptFacts(
        subtask=subtask.name,
        number=attempt.number,
        level=subtask.level,
        status=AttemptStatus(attempt.status),
        steps=attempt.steps,
        tool_calls=attempt.tool_calls,
        start=clock.at(attempt.started_at or attempt.finished_at),
        end=clock.at(attempt.finished_at),
        landed=clock.at(landed) if landed else None,
        plan=numbers.get(subtask.iteration_id, 0),
        waited=_waited(attempt, clock),
    )


def _waited(attempt: Attempt, clock: _Clock) -> float:
    """For people, also while it still does, and for its turn at a model service."""
    now = clock.at(attempt.finished_at) - clock.at(attempt.waiting_since) if attempt.waiting_since else 0.0
    return (attempt.waited_ms + attempt.queued_ms) / 1000 + max(0.0, now)


def _plan(one: PlanIteration, by_id: dict[int, Subtask], clock: _Clock) -> PlanFacts:
    parent = by_id[one.parent_id].name if one.parent_id else ""
    start, end = clock.at(one.started_at), clock.at(one.finished_at)
    return PlanFacts(one.number, one.steps, start, end, parent, one.tool_calls, one.queued_ms / 1000)


def _merge(entry: MergeEntry) -> MergeFacts:
    waited = None
    if entry.status == EntryStatus.LANDED and entry.finished_at:
        waited = max(0.0, (entry.finished_at - entry.enqueued_at).total_seconds())
    return MergeFacts(
        EntryStatus(entry.status), entry.status == EntryStatus.CONFLICT or bool(entry.conflict_paths), waited
    )


def usage_of(swarm: Swarm) -> list[Usage]:
    """What the model services were asked, by role and endpoint."""
    rows = swarm.model_calls.order_by("purpose", "endpoint__name").values("purpose", "endpoint__name")
    summed = rows.annotate(
        calls=Count("pk"),
        sent=Sum("input_tokens"),
        got=Sum("output_tokens"),
        cost=Sum("cost_usd"),
        guessed=Count("pk", filter=Q(estimated=True)),
        tried=Sum("retries"),
        too_many=Sum("refused"),
        waited=Sum("waited_ms"),
    )
    return [
        Usage(
            role=row["purpose"],
            endpoint=row["endpoint__name"],
            calls=row["calls"],
            input_tokens=row["sent"],
            output_tokens=row["got"],
            cost_usd=float(row["cost"]),
            estimated_calls=row["guessed"],
            retries=row["tried"],
            refused=row["too_many"],
            waited_s=row["waited"] / 1000,
        )
        for row in summed
    ]


MOST_REMEMBERED = 200  # the latest: what a repository was like long ago says little
RAN_TO_AN_END = (AttemptStatus.COMPLETE, AttemptStatus.PARTIAL, AttemptStatus.BLOCKED, AttemptStatus.TIMED_OUT)


def experience_of(repository: Repository) -> list[Past]:
    """What its latest attempts took. One that failed or was stopped half-way says nothing about a whole one."""
    rows = Attempt.objects.filter(
        subtask__swarm__repository=repository, status__in=RAN_TO_AN_END, cached_from="", started_at__isnull=False
    )
    told = rows.order_by("-pk").values_list(
        "subtask__kind", "started_at", "finished_at", "waited_ms", "tokens", "cost_usd"
    )
    return [
        Past(kind, max(0.0, (end - start).total_seconds() - waited_ms / 1000), float(tokens), float(cost))
        for kind, start, end, waited_ms, tokens, cost in told[:MOST_REMEMBERED]
        if start and end
    ]


def prices_of(endpoint: ModelEndpoint) -> Prices:
    return Prices(float(endpoint.input_price), float(endpoint.output_price))
