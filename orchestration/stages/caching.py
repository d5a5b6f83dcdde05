"""Gives what a research or verify subtask found before, where nothing that it depended on has changed.

Asked before a subtask is given to an agent: a hit costs nothing and holds no place. Two alike that run at the same
time both run; the one that ends last is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from orchestration.domain.agents import BUILTIN
from orchestration.domain.caching import (
    HIT,
    KINDS,
    MAX_ENTRY_BYTES,
    MISS,
    OFF,
    PEOPLE,
    WHOLE,
    Depends,
    Kept,
    KeptArtifact,
    KeptResult,
    Model,
    Source,
    from_cache,
    key_of,
    roots,
    told_only_by,
    too_many,
    without_origin,
)
from orchestration.domain.endpoints import ModelRole
from orchestration.domain.errors import AdapterError, InvalidInput
from orchestration.domain.sharing import as_json
from orchestration.domain.states import AttemptStatus, SubtaskStatus
from orchestration.domain.tools import WORKER_TOOLS
from orchestration.models import Artifact, Attempt, CacheEntry, Handoff, ModelEndpoint, SharedResult, Subtask, Swarm
from orchestration.models.prepared import PreparedRead
from orchestration.stages import briefing
from orchestration.stages.leases import new_token
from orchestration.stages.rows import config_of, endpoint_for, store_of
from orchestration.stages.sharing import of_dependencies, put
from orchestration.stages.transition import Superseded, moves

logger = logging.getLogger(__name__)


def unasked(subtask: Subtask) -> bool:
    """Whether the cache is to be asked before it is given to an agent."""
    return subtask.kind in KINDS and not subtask.cache


def to_ask(swarm: int | OuterRef) -> QuerySet[Subtask]:
    """What waits, and is to be asked for."""
    return Subtask.objects.filter(swarm=swarm, status=SubtaskStatus.PENDING, kind__in=KINDS, cache="").order_by()


def recall(swarm_id: int) -> None:
    """Asks once for each subtask that is ready; a hit is complete at once, a miss or no answer goes to an agent."""
    for subtask in _ready(swarm_id):
        try:
            _recall(subtask)
        except Superseded:
            logger.info("Subtask %s was changed while the cache was asked for it.", subtask.public_id)
        except (AdapterError, InvalidInput) as error:
            logger.info("Subtask %s runs, the cache cannot be used for it: %s", subtask.public_id, error)
            _note(subtask, MISS)


def _ready(swarm_id: int) -> QuerySet[Subtask]:
    needs = Subtask.dependencies.through.objects.filter(from_subtask=OuterRef("pk"))
    ready = to_ask(swarm_id).order_by("pk").exclude(Exists(needs.exclude(to_subtask__status=SubtaskStatus.COMPLETE)))
    return ready.select_related("swarm__repository", "swarm__endpoint")


def _recall(subtask: Subtask) -> None:
    swarm = subtask.swarm
    if not _on(swarm) or not _is_ours(swarm) or subtask.deliveries.exists():  # what a person told it counts
        _note(subtask, OFF)
        return
    tip = store_of(swarm).tip(swarm.branch) or swarm.base_sha
    endpoint = endpoint_for(swarm, ModelRole.WORKER)
    model = Model(endpoint.kind, endpoint.base_url, endpoint.model)
    entry = _found(key_of(_depends(subtask, tip, model)))
    if entry:
        _give(subtask, entry, tip)
    else:
        _note(subtask, MISS)


def _on(swarm: Swarm) -> bool:
    return settings.SWARM["CACHE_TTL"] > 0 and config_of(swarm).cache


def _is_ours(swarm: Swarm) -> bool:
    """Of agents that are not ours nobody knows what they look at."""
    return config_of(swarm).agent in {None, BUILTIN}


def _note(subtask: Subtask, said: str) -> None:
    Subtask.objects.filter(pk=subtask.pk, cache="").update(cache=said)


def _found(key: str) -> CacheEntry | None:
    alive = CacheEntry.objects.filter(key=key, expires_at__gt=timezone.now())
    return alive.select_related("attempt__subtask__swarm").first()


def _depends(subtask: Subtask, sha: str, model: Model) -> Depends:
    swarm = subtask.swarm
    store = store_of(swarm)
    under = roots(subtask.scope)
    return Depends(
        repository=swarm.repository.public_id,
        kind=subtask.kind,
        instruction=subtask.instruction,
        acceptance=subtask.acceptance,
        checks=subtask.acceptance_checks,
        scope=subtask.scope,
        request=swarm.request,
        guidance=briefing.worker_system(swarm, subtask, config_of(swarm), store),
        model=model,
        tools=WORKER_TOOLS,
        trees={WHOLE: store.tree(sha)} if under == (WHOLE,) else store.ids_at(sha, under),
        handoffs=[_handoff(one) for one in briefing.handoffs_for(subtask)],
        shared=[[one.key, one.producer, one.value, list(one.tags)] for one in of_dependencies(subtask)],
        network=swarm.repository.network,
    )


def _handoff(one: Handoff) -> list[Any]:
    said = [one.subtask.name, one.ending, without_origin(one.summary), one.concerns, one.suggestions]
    return [*said, one.suspicious, one.files_changed]


# A hit


def _give(subtask: Subtask, entry: CacheEntry, tip: str) -> None:
    """All of it or nothing. A shared key that is somebody else's here makes it a miss."""
    kept, source = Kept.model_validate(entry.content), _source(entry.attempt)
    reason = f"From the cache: {source}."
    now = timezone.now()
    with moves(subtask.swarm) as together:
        together.advance(subtask, SubtaskStatus.ASSIGNED, reason=reason, wait_reason="", not_before=None)
        attempt = Attempt.objects.create(
            subtask=subtask,
            number=subtask.attempts.count() + 1,
            cached_from=entry.attempt.public_id,
            base_sha=tip,
            started_at=now,
        )
        together.created(attempt)
        together.advance(attempt, AttemptStatus.RUNNING, reason=reason, lease_token=new_token())
        together.advance(subtask, SubtaskStatus.RUNNING, reason=reason)
        for result in kept.results:
            put(attempt, result.key, result.value, result.tags, together)
        _copy(attempt, kept, source)
        together.advance(attempt, AttemptStatus.COMPLETE, reason=reason)
        together.advance(subtask, SubtaskStatus.COMPLETE, reason=reason)
        _note(subtask, HIT)
        CacheEntry.objects.filter(pk=entry.pk).update(hits=F("hits") + 1)


def _source(attempt: Attempt) -> Source:
    return Source(attempt.subtask.swarm.public_id, attempt.subtask.name, attempt.number)


def _copy(attempt: Attempt, kept: Kept, source: Source) -> None:
    """The rows are its own, the content is stored once."""
    Artifact.objects.bulk_create(
        Artifact(swarm=attempt.subtask.swarm, attempt=attempt, **one.model_dump()) for one in kept.artifacts
    )
    Handoff.objects.create(
        attempt=attempt,
        status=AttemptStatus.COMPLETE,
        summary=from_cache(source, kept.summary),
        concerns=kept.concerns,
        suggestions=kept.suggestions,
    )


# What is kept


_missed = PreparedRead(
    lambda attempt: Attempt.objects.filter(
        pk=attempt, status=AttemptStatus.COMPLETE, agent="", cached_from="", subtask__cache=MISS
    ).values_list("pk")
)


def remember(attempt_id: int) -> None:
    """Keeps what a complete attempt found; not where it was suspicious, or depended on what no key can hold."""
    if not _missed(attempt=attempt_id):
        return
    rows = Attempt.objects.select_related("subtask__swarm__repository", "subtask__swarm__endpoint", "handoff")
    attempt = rows.get(pk=attempt_id)
    if attempt.handoff.suspicious:
        return
    try:
        _remember(attempt)
    except (AdapterError, InvalidInput) as error:
        logger.info("What attempt %s found is not kept: %s", attempt.public_id, error)


def _remember(attempt: Attempt) -> None:
    model = _only_model(attempt)
    if model is None or not _repeatable(attempt):
        return
    content = _kept(attempt).model_dump(mode="json")
    size = len(as_json(content).encode("utf-8", "replace"))
    if size > MAX_ENTRY_BYTES:
        return
    now = timezone.now()
    CacheEntry.objects.update_or_create(
        key=key_of(_depends(attempt.subtask, attempt.base_sha, model)),
        defaults={
            "repository": attempt.subtask.swarm.repository,
            "attempt": attempt,
            "content": content,
            "size": size,
            "created_at": now,
            "expires_at": now + timedelta(seconds=settings.SWARM["CACHE_TTL"]),
        },
    )
    forget()


def _only_model(attempt: Attempt) -> Model | None:
    """The one that answered every call; where several did, nothing can be said about who found it."""
    endpoints = ModelEndpoint.objects.filter(calls__attempt=attempt).distinct()
    found = {Model(row.kind, row.base_url.rstrip("/"), row.model) for row in endpoints}
    return found.pop() if len(found) == 1 else None


def _repeatable(attempt: Attempt) -> bool:
    """No person had a say, and of what others shared it read only what is part of the key."""
    if attempt.heard.exists() or attempt.questions.exists():
        return False
    steps = attempt.transcript.filter(Q(tool="get_results") | Q(tool__in=PEOPLE))
    asked: Sequence[dict[str, Any]] = [step.arguments for step in steps if step.tool == "get_results"]
    if len(asked) < len(steps):
        return False
    return told_only_by(asked, (one.key for one in of_dependencies(attempt.subtask)))


def _kept(attempt: Attempt) -> Kept:
    handoff = attempt.handoff
    shared = SharedResult.objects.filter(subtask=attempt.subtask)
    return Kept(
        summary=handoff.summary,
        concerns=handoff.concerns,
        suggestions=handoff.suggestions,
        results=[KeptResult(key=row.key, value=row.value, tags=row.tags) for row in shared],
        artifacts=[
            KeptArtifact(type=row.type, name=row.name, mime=row.mime, sha256=row.sha256, size=row.size)
            for row in attempt.artifacts.all()
        ],
    )


def forget() -> None:
    """What is expired, and the oldest of what is too much."""
    CacheEntry.objects.filter(expires_at__lte=timezone.now()).delete()
    newest = list(CacheEntry.objects.order_by("-created_at", "-pk").values_list("pk", "size"))
    bounds = settings.SWARM
    gone = too_many(newest, entries=bounds["CACHE_ENTRIES"], size=bounds["CACHE_MEGABYTES"] * 1_000_000)
    CacheEntry.objects.filter(pk__in=gone).delete()
