"""What agents publish to each other: taken once, owned by the subtask that was first, read by everybody."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from orchestration.adapters.secrets import clean
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.sharing import (
    MAX_RESULTS,
    MAX_RESULTS_OF_SUBTASK,
    MAX_TOLD,
    Shared,
    check_key,
    check_tags,
    schema_of,
    size_of,
    told,
)
from orchestration.domain.states import AttemptStatus
from orchestration.models import Attempt, SharedResult, Subtask, Swarm
from orchestration.models.prepared import PreparedRead
from orchestration.stages.family import descendants
from orchestration.stages.transition import Moves, moves

GONE = "It was cancelled or taken over by another worker."
MOST_NAMED = 20


def share(attempt: Attempt, key: str, value: Any, tags: Sequence[str]) -> str:
    """What the agent is told. Raises InvalidInput where the key is another's or a limit is reached, and
    AdapterError(CANCELLED) where the attempt is no longer the one: a straggler overwrites nothing."""
    check_key(clean(key))
    subtask = attempt.subtask
    with transaction.atomic():
        with moves(subtask.swarm) as together:
            _require_live(attempt)
            row = put(attempt, key, value, tags, together)
        _require_room(row)  # the swarm's row is locked by its event: nobody counts beside us
    again = f", version {row.version}" if row.version > 1 else ""
    return f"Shared {row.key} ({row.size:,} bytes{again}). Everybody in this swarm can read it."


def put(attempt: Attempt, key: str, value: Any, tags: Sequence[str], together: Moves) -> SharedResult:
    """Writes the row and its event. Raises InvalidInput where the key is somebody else's."""
    subtask, value = attempt.subtask, clean(value)
    now = timezone.now()
    fields = {
        "value": value,
        "schema": schema_of(value),
        "tags": clean(check_tags(tags)),
        "subtask": subtask,
        "attempt": attempt,
        "size": size_of(value),
        "updated_at": now,
        "expires_at": now + timedelta(seconds=settings.SWARM["RESULT_TTL"]),
    }
    if not (_rewrite(subtask, key, fields) or _take(subtask.swarm, key, fields) or _rewrite(subtask, key, fields)):
        owner = SharedResult.objects.select_related("subtask").get(swarm=subtask.swarm, key=key).subtask
        raise InvalidInput(
            f"The key {key} belongs to {owner.name}, which shared it first; choose a key of your own, "
            f"such as {subtask.name}/{key}."[:400]
        )
    row = SharedResult.objects.get(swarm=subtask.swarm, key=key)
    together.record("result.shared", key=key, name=subtask.name, version=row.version, size=row.size)
    return row


def _rewrite(subtask: Subtask, key: str, fields: dict[str, Any]) -> bool:
    """One statement decides: the row is its subtask's own, or nobody's any more."""
    rows = SharedResult.objects.filter(swarm=subtask.swarm, key=key)
    if rows.filter(subtask=subtask).update(version=F("version") + 1, **fields):
        return True
    return bool(rows.filter(expires_at__lte=fields["updated_at"]).update(version=1, **fields))


def _take(swarm: Swarm, key: str, fields: dict[str, Any]) -> bool:
    try:
        with transaction.atomic():
            SharedResult.objects.create(swarm=swarm, key=key, **fields)
    except IntegrityError:  # somebody was first
        return False
    return True


def _require_live(attempt: Attempt) -> None:
    mine = Attempt.objects.filter(pk=attempt.pk, status=AttemptStatus.RUNNING, lease_token=attempt.lease_token)
    if not mine.select_for_update(no_key=True).values_list("pk"):
        raise AdapterError(Failure.CANCELLED, GONE)


def _require_room(row: SharedResult) -> None:
    """Counted with the new one: raising takes it back."""
    rows = SharedResult.objects.filter(swarm=row.swarm)
    if row.version == 1 and rows.count() > MAX_RESULTS:
        raise InvalidInput(f"The swarm has shared {MAX_RESULTS} results; no more are kept.")
    if row.version == 1 and rows.filter(subtask=row.subtask).count() > MAX_RESULTS_OF_SUBTASK:
        raise InvalidInput(f"This subtask has shared {MAX_RESULTS_OF_SUBTASK} results; no more are kept.")


def find(
    swarm: Swarm, *, key: str = "", tags: Collection[str] = (), prefix: str = "", producer: str = ""
) -> list[Shared]:
    """Those that fit every condition, by key; of several tags, one is enough. No more are read than can be told."""
    wanted, chosen, room = set(tags), [], 4 * MAX_TOLD
    rows = alive(swarm).order_by("key").values_list("pk", "key", "tags", "subtask__name", "size")
    for pk, its_key, its_tags, its_producer, size in rows:
        fits = key in {"", its_key} and its_key.startswith(prefix) and producer in {"", its_producer}
        if fits and room > 0 and (not wanted or wanted & set(its_tags)):
            chosen.append(pk)
            room -= size
    return _loaded(chosen)


def tell(swarm: Swarm, **wanted: Any) -> str:
    """What the agent is told that asked."""
    return told(find(swarm, **wanted)) or f"No shared result fits. {_known(swarm)}"


def _known(swarm: Swarm) -> str:
    keys = list(alive(swarm).order_by("key").values_list("key", flat=True)[: MOST_NAMED + 1])
    more = " and more" if len(keys) > MOST_NAMED else ""
    return f"There are {', '.join(keys[:MOST_NAMED])}{more}." if keys else "Nothing has been shared yet."


_anything = PreparedRead(lambda swarm: SharedResult.objects.filter(swarm=swarm).order_by().values_list("pk")[:1])


def of_dependencies(subtask: Subtask) -> list[Shared]:
    """What the subtasks shared that this one builds on, and their parts."""
    if not _anything(swarm=subtask.swarm_id):
        return []
    needed = list(subtask.dependencies.all())
    producers = {row.pk for one in needed for row in (one, *descendants(one))}
    return _loaded(alive(subtask.swarm).filter(subtask__in=producers).values_list("pk", flat=True))


def alive(swarm: Swarm) -> QuerySet[SharedResult]:
    return SharedResult.objects.filter(swarm=swarm, expires_at__gt=timezone.now())


def forget_expired() -> None:
    """Nobody is given them any more; the tick takes them away."""
    SharedResult.objects.filter(expires_at__lte=timezone.now()).delete()


def _loaded(chosen: Iterable[int]) -> list[Shared]:
    rows = SharedResult.objects.filter(pk__in=list(chosen)).select_related("subtask").order_by("key")
    return [Shared(row.key, row.subtask.name, row.value, row.schema, row.tags, row.size) for row in rows]
