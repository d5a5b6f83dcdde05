"""What agents shared and made, as the swarm's page and a subtask's page show it: the newest first, bounded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

from django.db.models import QuerySet
from django.utils import timezone

from orchestration.domain.sharing import describe
from orchestration.models import Artifact, SharedResult, Subtask, Swarm
from orchestration.stages.keeping import TRANSCRIPT

MOST = 30
MOST_CHARACTERS = 3000  # of a value


@dataclass(frozen=True)
class Line:
    """One result with its value as people read JSON."""

    row: SharedResult

    @property
    def schema(self) -> str:
        return describe(self.row.schema)

    @property
    def value(self) -> str:
        text = json.dumps(self.row.value, indent=2, ensure_ascii=False)
        more = len(text) - MOST_CHARACTERS
        return text if more <= 0 else f"{text[:MOST_CHARACTERS]}\n… {more:,} more characters"


class Shared:
    """Of a swarm, or of one of its subtasks. Asked for only where it is shown."""

    def __init__(self, swarm: Swarm, subtask: Subtask | None = None) -> None:
        self._swarm = swarm
        self._subtask = subtask

    @cached_property
    def _results(self) -> list[SharedResult]:
        rows = SharedResult.objects.filter(swarm=self._swarm, expires_at__gt=timezone.now())
        rows = rows.filter(subtask=self._subtask) if self._subtask else rows
        return list(rows.select_related("subtask", "attempt").order_by("-updated_at", "-pk")[: MOST + 1])

    @property
    def results(self) -> list[Line]:
        return [Line(row) for row in self._results[:MOST]]

    @property
    def has_more_results(self) -> bool:
        return len(self._results) > MOST

    @cached_property
    def _artifacts(self) -> list[Artifact]:
        rows: QuerySet[Artifact] = Artifact.objects.filter(swarm=self._swarm)
        return list(rows.select_related("attempt__subtask").order_by("-pk")[: MOST + 1])

    @property
    def artifacts(self) -> list[Artifact]:
        return self._artifacts[:MOST]

    @property
    def made(self) -> list[Artifact]:
        """By agents and checks; transcripts come by themselves, one an attempt."""
        return [one for one in self.artifacts if one.type != TRANSCRIPT]

    @property
    def transcripts(self) -> list[Artifact]:
        return [one for one in self.artifacts if one.type == TRANSCRIPT]

    @property
    def has_more_artifacts(self) -> bool:
        return len(self._artifacts) > MOST
