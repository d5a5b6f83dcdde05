"""What gates mean for the merge queue's panel: which ran, for whom, what they said, and who was innocent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from orchestration.domain.gating import GateMode
from orchestration.models import Artifact, GateRun, MergeEntry, Swarm

MOST_RUNS = 12
INNOCENT = "Stood in a red gate, and was innocent."
FLAKE = "A gate was red by chance: a later green one proved it."
MODES = {
    GateMode.OFF: "Lands at once; the checks run at the end.",
    GateMode.OPTIMISTIC: "Lands at once; the checks run on the branch afterwards.",
    GateMode.GATED: "Lands only what the checks have passed.",
}


@dataclass(frozen=True)
class Run:
    """A gate with the names of whom it tried, and where its whole log is."""

    row: GateRun
    names: tuple[str, ...]
    log: str

    @property
    def whom(self) -> str:
        if not self.names:
            return "the branch itself"
        more = f" and {len(self.names) - 3} more" if len(self.names) > 3 else ""
        return ", ".join(self.names[:3]) + more


class Gates:
    """One query for the runs, one for their logs; entries are those of the panel."""

    def __init__(self, swarm: Swarm, entries: Iterable[MergeEntry]) -> None:
        self._swarm = swarm
        self._entries = {entry.public_id: entry for entry in entries}

    @property
    def gated(self) -> bool:
        return self._mode is GateMode.GATED

    @property
    def mode(self) -> str:
        return MODES[self._mode]

    @property
    def _mode(self) -> GateMode:
        return GateMode(self._swarm.config.get("gate") or GateMode.OFF)

    @cached_property
    def rows(self) -> list[GateRun]:
        return list(GateRun.objects.filter(swarm=self._swarm).order_by("pk"))

    @cached_property
    def latest(self) -> list[Run]:
        rows = self.rows[::-1][:MOST_RUNS]
        artifacts = Artifact.objects.filter(swarm=self._swarm, sha256__in=[row.log_sha256 for row in rows])
        logs = dict(artifacts.values_list("sha256", "public_id")) if rows else {}
        return [Run(row, self._names(row), logs.get(row.log_sha256, "")) for row in rows]

    @property
    def earlier(self) -> int:
        return len(self.rows) - len(self.latest)

    @property
    def cap(self) -> str:
        return f"Up to {self._swarm.gate_cap} entries are tried together."

    def told(self, entry: MergeEntry) -> str:
        """What gates mean for one entry, in a sentence or two; nothing where none tried it."""
        return told(entry, [row for row in self.rows if entry.public_id in row.entries])

    def _names(self, row: GateRun) -> tuple[str, ...]:
        return tuple(self._entries[one].subtask.name for one in row.entries if one in self._entries)


def told(entry: MergeEntry, runs: Sequence[GateRun]) -> str:
    if not runs:
        return ""
    said = [_tried(runs)]
    if entry.status == "landed" and any(row.status == "red" and not row.flake for row in runs):
        said.append(INNOCENT)
    if any(row.flake for row in runs):
        said.append(FLAKE)
    return " ".join(said)


def _tried(runs: Sequence[GateRun]) -> str:
    counts = [(status, sum(row.status == status for row in runs)) for status in ("green", "red")]
    ended = " and ".join(f"{count} {status}" for status, count in counts if count)
    live = sum(row.status in {"waiting", "running"} for row in runs)
    parts = [f"{ended} so far" if ended and live else ended, f"{live} under way" if live else ""]
    return f"Gates: {', '.join(part for part in parts if part) or 'none came to a verdict'}."
