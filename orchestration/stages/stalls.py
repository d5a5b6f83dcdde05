"""Says on a swarm's page that its merge queue stands still, and why. Found by looking at rows and clocks alone."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.utils import timezone

from orchestration.domain.merging import STALLED_S
from orchestration.domain.states import EntryStatus, GateStatus
from orchestration.models import GateRun, Lease, MergeEntry, Swarm
from orchestration.models.prepared import PreparedRows
from orchestration.stages.transition import note

WAITING = (EntryStatus.QUEUED, EntryStatus.MERGING)
BEING_LANDED = frozenset({EntryStatus.MERGING.value, EntryStatus.GATING.value})


def _long_waiting(before: datetime) -> QuerySet[Swarm]:
    waiting = MergeEntry.objects.filter(status__in=WAITING, enqueued_at__lt=before).values("swarm")
    gated = GateRun.objects.filter(status=GateStatus.RUNNING).values("swarm")  # its checks take as long as they take
    return Swarm.objects.filter(pk__in=waiting).exclude(pk__in=gated)


_waiting_since = PreparedRows(_long_waiting)


def tell_of_stalls() -> None:
    """Once for each stall: it ends with the next landing."""
    before = timezone.now() - timedelta(seconds=STALLED_S)
    for swarm in _waiting_since(before=before):
        since = _standing_since(swarm)
        told = swarm.events.filter(kind="swarm.noted", facts__stands_since=since.isoformat())
        if since < before and not told.exists():
            text = f"The merge queue has not moved for {STALLED_S:.0f} seconds. {_reason(swarm)}"
            note(swarm, "swarm.noted", reason=text, stands_since=since.isoformat())


def _standing_since(swarm: Swarm) -> datetime:
    """The last landing, or the arrival of what has waited longest since."""
    first = min(_arrivals(swarm))
    landed = swarm.merge_entries.filter(status=EntryStatus.LANDED, finished_at__isnull=False)
    last = landed.order_by("-finished_at").values_list("finished_at", flat=True).first()
    return max(first, last or first)


def _arrivals(swarm: Swarm) -> list[datetime]:
    """A resolution is as old as its conflict, and was not in the queue for as long. What was about to be landed and is
    queued again has been there all the time."""
    came = {
        facts["id"]: at
        for at, facts in swarm.events.filter(kind="merge_entry.queued").order_by("seq").values_list("at", "facts")
        if facts.get("from") not in BEING_LANDED
    }
    rows = swarm.merge_entries.filter(status__in=WAITING).order_by("pk").values_list("public_id", "enqueued_at")
    return [max(since, came.get(public_id, since)) for public_id, since in rows]


def _reason(swarm: Swarm) -> str:
    told = swarm.merge_entries.filter(status__in=WAITING).exclude(status_reason="").order_by("enqueued_at").first()
    if told:
        return f"{told.subtask.name}: {told.status_reason}"
    writer = Lease.objects.filter(name=f"merge:{swarm.pk}", expires_at__gt=timezone.now()).exclude(token="").exists()
    return "A worker has the branch and is not done." if writer else "No worker looks at it: is the engine running?"
