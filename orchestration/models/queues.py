"""The merge queue of a swarm, or of all swarms of a repository, as its figures are reckoned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from orchestration.domain.queueing import Passage, Seen, Step, Store, Tried, figures
from orchestration.domain.states import AttemptStatus, EntryStatus, GateStatus
from orchestration.models.events import Event
from orchestration.models.gates import GateRun
from orchestration.models.merges import MergeEntry
from orchestration.models.repositories import Repository
from orchestration.models.swarms import Swarm
from orchestration.models.work import Attempt

MOST_ROWS = 2000  # of each kind, the newest: a repository's queue has no end
MOST_DURATIONS = 50
_KINDS = {
    f"merge_entry.{status}": status
    for status in (EntryStatus.QUEUED, EntryStatus.GATING, EntryStatus.MERGING, EntryStatus.LANDED)
}


@dataclass(frozen=True)
class QueueRows:
    """Four queries, however long the queue is. Oldest first."""

    entries: Sequence[MergeEntry]
    gates: Sequence[GateRun]
    steps: Sequence[Step]
    settlers: Sequence[Attempt]  # tries at a conflict

    def seen(self, repository: Repository, *, cap: int, now: datetime | None = None) -> Seen:
        alone = {
            run.entries[0] for run in self.gates if run.status == GateStatus.RED and len(run.entries) == 1
        }  # red with nobody else in it
        return Seen(
            now=(now or timezone.now()).timestamp(),
            passages=[_passage(entry, rejected_by_gate=entry.public_id in alone) for entry in self.entries],
            gates=[_tried(run) for run in self.gates],
            steps=self.steps,
            forecasts=list({entry.swarm_id: entry.swarm.forecasts for entry in self.entries}.values()),
            settlers=[(one.rung, AttemptStatus(one.status)) for one in self.settlers if one.finished_at],
            slots=repository.gates_at_once,
            cap=cap,
            store=Store(repository.locks_removed, repository.loose_objects, repository.packs),
        )


def queue_rows(scope: Swarm | Repository, *, logs: bool = False) -> QueueRows:
    of = {"swarm": scope} if isinstance(scope, Swarm) else {"swarm__repository": scope}
    entries = MergeEntry.objects.filter(**of).select_related("subtask", "swarm", "attempt").order_by("-pk")
    entries = entries.defer("subtask__instruction", "subtask__acceptance", "subtask__scope", "swarm__request")
    gates = GateRun.objects.filter(**of).order_by("-pk")
    gates = gates if logs else gates.defer("log_tail", "results")
    events = Event.objects.filter(**of, kind__in=_KINDS).order_by("-pk")
    tries = Attempt.objects.filter(**{f"subtask__{key}": value for key, value in of.items()}).exclude(rung="")
    return QueueRows(
        list(entries[:MOST_ROWS])[::-1],
        list(gates[:MOST_ROWS])[::-1],
        [_step(*row) for row in events.values_list("kind", "facts", "at")[: 4 * MOST_ROWS]][::-1],
        list(tries.select_related("subtask").order_by("-pk")[:MOST_ROWS])[::-1],
    )


def queue_figures(swarm: Swarm) -> dict[str, object]:
    """Of one swarm, for scripts."""
    return figures(queue_rows(swarm).seen(swarm.repository, cap=swarm.gate_cap))


def gate_durations(repository: Repository) -> list[float]:
    """Seconds of the newest gates with a verdict, of all swarms of the repository, in order of size."""
    done = GateRun.objects.filter(swarm__repository=repository, status__in=[GateStatus.GREEN, GateStatus.RED])
    return sorted(one / 1000 for one in done.order_by("-pk").values_list("duration_ms", flat=True)[:MOST_DURATIONS])


def _passage(entry: MergeEntry, *, rejected_by_gate: bool) -> Passage:
    return Passage(
        EntryStatus(entry.status),
        entry.enqueued_at.timestamp(),
        entry.finished_at.timestamp() if entry.finished_at else None,
        chain_place=entry.chain_place,
        moves=entry.intent_new != entry.intent_old,
        reason=entry.status_reason,
        paths=tuple(entry.conflict_paths),
        rejected_by_gate=rejected_by_gate,
        priority=entry.priority,
        took=entry.took,
    )


def _tried(run: GateRun) -> Tried:
    began, ended = run.started_at, run.finished_at
    return Tried(
        GateStatus(run.status), run.flake, began.timestamp() if began else None, ended.timestamp() if ended else None
    )


def _step(kind: str, facts: dict[str, str], at: datetime) -> Step:
    return Step(str(facts.get("id", "")), _KINDS[kind], at.timestamp(), str(facts.get("reason", "")))
