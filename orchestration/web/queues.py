"""The merge queue explained: who waits for what, what was tried on whom, who was innocent, and when it will land."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.utils import timezone
from typing_extensions import override

from orchestration.domain.gating import GateMode
from orchestration.domain.merging import Queued, in_order
from orchestration.domain.queueing import Seen, expected_s, figures
from orchestration.domain.resolving import Rung
from orchestration.domain.states import ENTRY_OPEN, GATE_LIVE, EntryStatus, GateStatus
from orchestration.domain.stats import quantile
from orchestration.models import Artifact, Attempt, MergeEntry, Repository, Swarm
from orchestration.models.queues import QueueRows, gate_durations, queue_rows
from orchestration.stages.queueing import waiting
from orchestration.web.clashes import Ahead, ahead
from orchestration.web.gate_rounds import Round, rounds_of
from orchestration.web.gates import MODES, Run, told
from orchestration.web.now import names_of
from orchestration.web.queue_words import SETTLERS, Figure, figures_in_words
from orchestration.web.words import duration

MOST_SETTLED = 50
MOST_ROUNDS = 20
MOST_UNFOLDED = 20
MOST_OF_SWARM = 10  # in the repository's queue
RANK = {EntryStatus.MERGING: 0, EntryStatus.GATING: 1}  # before what is queued


@dataclass(frozen=True)
class Try:
    """An attempt at a conflict of the entry."""

    attempt: Attempt

    @property
    def who(self) -> str:
        return SETTLERS[self.attempt.rung]


@dataclass(frozen=True)
class Explained:
    """One entry with everything that is known of it."""

    entry: MergeEntry
    position: int | None = None
    reason: str = ""
    lands_at: datetime | None = None
    gates: str = ""
    runs: tuple[Run, ...] = ()
    tries: tuple[Try, ...] = ()

    @property
    def candidate(self) -> str:
        """The commit that it is to become, or that holds it in the newest gate."""
        if self.entry.status == EntryStatus.LANDED:
            return ""
        return self.entry.intent_new or (self.runs[-1].row.commit if self.runs else "")

    @property
    def innocent(self) -> bool:
        reds = any(run.row.status == GateStatus.RED and not run.row.flake for run in self.runs)
        return reds and self.entry.status == EntryStatus.LANDED


class _Measured(ABC):
    """What both pages tell in figures."""

    @abstractmethod
    def _seen(self) -> Seen: ...

    @cached_property
    def _figures(self) -> dict[str, Any]:
        return figures(self._seen())

    @property
    def figures(self) -> list[Figure]:
        return figures_in_words(self._figures)

    @property
    def hot_files(self) -> list[dict[str, Any]]:
        return list(self._figures["hot_files"])


class SwarmQueue(_Measured):
    """Of one swarm: nine queries, however long the queue is."""

    def __init__(self, swarm: Swarm, *, now: datetime | None = None) -> None:
        self.swarm = swarm
        self.now = now or timezone.now()

    @cached_property
    def rows(self) -> QueueRows:
        return queue_rows(self.swarm, logs=True)

    @property
    def _mode(self) -> GateMode:
        return GateMode(self.swarm.config.get("gate") or GateMode.OFF)

    @property
    def mode(self) -> str:
        return MODES[self._mode]

    @cached_property
    def _runs(self) -> list[Run]:
        hashes = [row.log_sha256 for row in self.rows.gates if row.log_sha256]
        artifacts = Artifact.objects.filter(swarm=self.swarm, sha256__in=hashes[-100:])
        logs = dict(artifacts.values_list("sha256", "public_id")) if hashes else {}
        names = {entry.public_id: entry.subtask.name for entry in self.rows.entries}
        return [
            Run(row, tuple(names[one] for one in row.entries if one in names), logs.get(row.log_sha256, ""))
            for row in self.rows.gates
        ]

    @cached_property
    def _queued(self) -> dict[int, Queued]:
        return {one.id: one for one in waiting(self.swarm)}

    @cached_property
    def _ordered(self) -> list[MergeEntry]:
        """As they will land: what is being landed, what is being checked, then the queue's own order."""
        turns = {pk: at for at, pk in enumerate(in_order(self._queued.values()))}
        rows = [entry for entry in self.rows.entries if entry.status in ENTRY_OPEN]
        last = len(turns)
        return sorted(
            rows,
            key=lambda one: (
                RANK.get(EntryStatus(one.status), len(RANK)),
                one.chain_place if one.status != EntryStatus.QUEUED else turns.get(one.pk, last),
                one.pk,
            ),
        )

    @cached_property
    def waiting(self) -> list[Explained]:
        return [self._waiting(entry, at) for at, entry in enumerate(self._ordered, start=1)]

    def _waiting(self, entry: MergeEntry, position: int) -> Explained:
        return self._explained(
            entry, position=position, reason=self._reason(entry, position), lands_at=self._lands_at(entry, position)
        )

    def _lands_at(self, entry: MergeEntry, position: int) -> datetime | None:
        """None where nothing can be promised; whoever is put aside is not before its time."""
        seconds = expected_s(position, self._mode, cap=self.swarm.gate_cap, **self._pace)
        if seconds is None or self.stands_still or entry.status == EntryStatus.MERGING:
            return None
        return max(self.now, entry.not_before or self.now) + timedelta(seconds=seconds)

    @property
    def ends_only(self) -> bool:
        return self._mode is GateMode.OFF

    @property
    def stands_still(self) -> bool:
        """Only where gates decide does a reason of the queue keep anything from landing."""
        return self._mode is GateMode.GATED and bool(self.swarm.queue_reason)

    @property
    def first(self) -> list[Explained]:
        return self.waiting[:MOST_UNFOLDED]

    @property
    def rest(self) -> list[Explained]:
        return self.waiting[MOST_UNFOLDED:]

    @cached_property
    def ahead(self) -> list[Ahead]:
        return ahead(self.swarm)

    @cached_property
    def settled(self) -> list[Explained]:
        """What needs somebody first, then what landed or left, the newest first."""
        rows = [entry for entry in self.rows.entries if entry.status not in ENTRY_OPEN][::-1]
        rows.sort(key=lambda one: (one.status != EntryStatus.CONFLICT, one.rung != Rung.PERSON))
        return [self._explained(entry, reason=entry.status_reason) for entry in rows[:MOST_SETTLED]]

    @property
    def more_settled(self) -> int:
        gone = sum(entry.status not in ENTRY_OPEN for entry in self.rows.entries)
        return max(0, gone - MOST_SETTLED)

    def _explained(self, entry: MergeEntry, **known: Any) -> Explained:
        runs = tuple(run for run in self._runs if entry.public_id in run.row.entries)
        said = told(entry, [run.row for run in runs])
        return Explained(entry, gates=said, runs=runs, tries=tuple(map(Try, self._tries[entry.pk])), **known)

    @cached_property
    def _tries(self) -> dict[int, list[Attempt]]:
        found: dict[int, list[Attempt]] = defaultdict(list)
        for attempt in self.rows.settlers:
            found[attempt.resolves_id or 0].append(attempt)
        return found

    def _reason(self, entry: MergeEntry, position: int) -> str:
        """Why it has not landed yet."""
        if entry.status == EntryStatus.MERGING:
            return "It is being put on the branch."
        if entry.status == EntryStatus.GATING:
            return self._gating(entry)
        if entry.not_before and entry.not_before > self.now:
            rest = duration((entry.not_before - self.now).total_seconds())
            return f"Put aside for {rest}, because the machine failed: {entry.status_reason}"
        if self.stands_still and position == 1:
            return "It is next, once anything lands again."
        return entry.status_reason or self._behind(entry, position)

    def _gating(self, entry: MergeEntry) -> str:
        live = [run for run in self._runs if entry.public_id in run.row.entries and run.row.status in GATE_LIVE]
        if not live:
            return "The next gate that holds it is about to start."
        others = [name for name in live[0].names if name != entry.subtask.name]
        together = f", together with {names_of(others)}" if others else ""
        verb = "run on it" if live[0].row.status == GateStatus.RUNNING else "wait for a free place to run on it"
        return f"The checks {verb}{together}."

    def _behind(self, entry: MergeEntry, position: int) -> str:
        needs = self._queued[entry.pk].needs if entry.pk in self._queued else frozenset()
        needed = names_of(other.subtask.name for other in self._ordered if other.pk in needs)
        if needed:
            return f"After {needed}, which it builds on."
        if position <= 2:
            return "It is next." if position == 1 else "After the one before it."
        return f"After the {position - 1} before it."

    @cached_property
    def _pace(self) -> dict[str, float | None]:
        """Medians: of this repository's gates, and of this swarm's landings."""
        gates = gate_durations(self.swarm.repository)
        landing = self._figures["intent_to_recorded_ms_p50"]
        return {
            "gate_s": quantile(gates, 0.5) if gates else None,
            "landing_s": landing / 1000 if landing is not None else None,
        }

    @property
    def rounds(self) -> list[Round]:
        return rounds_of(self._runs, MOST_ROUNDS)

    @override
    def _seen(self) -> Seen:
        cap = self.swarm.gate_cap if self._mode is GateMode.GATED else 0
        return self.rows.seen(self.swarm.repository, cap=cap, now=self.now)


@dataclass(frozen=True)
class Share:
    """What one swarm has in its repository's queue."""

    swarm: Swarm
    entries: tuple[MergeEntry, ...]

    @property
    def shown(self) -> tuple[MergeEntry, ...]:
        return self.entries[:MOST_OF_SWARM]

    @property
    def more(self) -> int:
        return max(0, len(self.entries) - MOST_OF_SWARM)


def _turn(entry: MergeEntry) -> tuple[int, int, int, int]:
    status = EntryStatus(entry.status)
    place = entry.chain_place if status in RANK else 0
    return RANK.get(status, len(RANK)), place, entry.priority, entry.pk


class RepositoryQueue(_Measured):
    """Of all swarms of a repository: each has a branch and a queue of its own, and they share the gates' places."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository

    @cached_property
    def rows(self) -> QueueRows:
        return queue_rows(self.repository)

    @cached_property
    def waiting(self) -> list[MergeEntry]:
        return [entry for entry in self.rows.entries if entry.status in ENTRY_OPEN]

    @property
    def shares(self) -> list[Share]:
        """Each swarm's, as far as its turns are known without looking at it: whoever waits longest first."""
        found: dict[int, list[MergeEntry]] = defaultdict(list)
        for entry in self.waiting:
            found[entry.swarm_id].append(entry)
        return [Share(rows[0].swarm, tuple(sorted(rows, key=_turn))) for rows in found.values()]

    @property
    def stuck(self) -> list[MergeEntry]:
        rows = [entry for entry in self.rows.entries if entry.status == EntryStatus.CONFLICT]
        return rows[::-1][:MOST_SETTLED]

    @override
    def _seen(self) -> Seen:
        return self.rows.seen(self.repository, cap=0)
