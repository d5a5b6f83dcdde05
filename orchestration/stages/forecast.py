"""Merges beforehand, when the branch has moved, what waits to land and what is worked on; tells who will conflict.

Never on a landing's way: nudged after its commit, at most once in a while for each swarm, in one git child whose
objects are thrown away, and what it finds is written in one short transaction.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from orchestration.adapters.git.foreseeing import landed_since, merge_all
from orchestration.adapters.git.settling import blobs_of, sides_of
from orchestration.adapters.git.values import MergeConflict
from orchestration.domain.clashes import (
    MOST_BRANCHES,
    NO_PATHS,
    Branch,
    Clash,
    Lander,
    Place,
    as_row,
    counted,
    fingerprint,
    foresee,
    pairs,
    paths_with_landed,
)
from orchestration.domain.errors import AdapterError
from orchestration.domain.merging import TRAILER
from orchestration.domain.policies import policy_for, read_policies
from orchestration.domain.states import ENTRY_OPEN, SWARM_OVER, AttemptStatus
from orchestration.domain.texts import first_line
from orchestration.models import Attempt, MergeEntry, Resolution, Swarm
from orchestration.models.prepared import PreparedRead, PreparedRows
from orchestration.stages.due import forecasts_before
from orchestration.stages.rows import store_of, swarm_row
from orchestration.stages.transition import Superseded, moves
from orchestration.stages.warn import Warnings

logger = logging.getLogger(__name__)
LONGEST_S = 10.0  # of git's time
MOST_ASKED = 40  # questions about who landed what
MAX_SUMMARY = 200
MOST_LOGGED = 10
Merged = Mapping[int, frozenset[str]]


def forecast(swarm_id: int) -> None:
    """Harmless however often it is called: the same branches are not merged twice."""
    if not settings.SWARM["FORECAST_SECONDS"] or not _due(pk=swarm_id, before=forecasts_before(timezone.now())):
        return
    swarm = swarm_row(swarm_id)
    branches = _branches(swarm)
    at = fingerprint(swarm.head_sha, branches) if branches else ""
    if at == swarm.clashes_at:
        return
    claim = _claim(swarm)
    if claim is None:
        return
    began = time.monotonic()
    try:
        found = _Outlook(swarm, branches).look()
    except AdapterError as error:
        logger.warning("No forecast for swarm %s this time: %s", swarm.public_id, error)
        figures = counted(swarm.forecasts, given_up=1, ms=_ms(began))
        Swarm.objects.filter(pk=swarm.pk, forecast_at=claim).update(forecasts=figures)
        return
    _record(swarm, claim, at, found, began)


def _claim(swarm: Swarm) -> datetime | None:
    """Who comes too soon after the last one, or beside it, has nothing to do: the tick asks again."""
    now = timezone.now()
    return now if _free(swarm.pk, forecasts_before(now)).update(forecast_at=now) == 1 else None


def _free(pk: int, before: datetime) -> QuerySet[Swarm]:
    return Swarm.objects.filter(Q(forecast_at__isnull=True) | Q(forecast_at__lte=before), pk=pk)


_due = PreparedRead(lambda **which: _free(**which).values_list("pk"))


@dataclass(frozen=True, slots=True)
class _Found:
    clashes: Sequence[Clash]
    warnings: Warnings
    merges: int


def _record(swarm: Swarm, claim: datetime, at: str, found: _Found, began: float) -> None:
    try:
        with moves(swarm) as together:
            told = found.warnings.send(together)
            figures = counted(swarm.forecasts, made=1, merges=found.merges, ms=_ms(began), warnings=told)
            kept = {"clashes": [as_row(one) for one in found.clashes], "clashes_at": at, "forecasts": figures}
            if kept["clashes"] != swarm.clashes:
                together.record("swarm.forecast", conflicts=[one.sentence for one in found.clashes[:MOST_LOGGED]])
            if Swarm.objects.filter(pk=swarm.pk, forecast_at=claim).update(**kept) != 1:
                raise Superseded("A later forecast was faster.")
    except Superseded as error:
        logger.info("The forecast of swarm %s counts for nothing: %s", swarm.public_id, error)


def _ms(began: float) -> float:
    return round(1000 * (time.monotonic() - began), 3)


def _branches(swarm: Swarm) -> list[Branch]:
    """What lands first comes first."""
    if swarm.status in SWARM_OVER:
        return []
    branches = [_queued(entry) for entry in _waiting(swarm=swarm.pk)]
    return (branches + [_running(attempt) for attempt in _changing(swarm=swarm.pk)])[:MOST_BRANCHES]


_waiting = PreparedRows(
    lambda swarm: (
        MergeEntry.objects.filter(swarm=swarm, status__in=ENTRY_OPEN)
        .select_related("subtask", "attempt__handoff")
        .order_by("priority", "enqueued_at", "pk")[:MOST_BRANCHES]
    )
)
_changing = PreparedRows(
    lambda swarm: (
        Attempt.objects.filter(subtask__swarm=swarm, status=AttemptStatus.RUNNING, resolves=None)
        .filter(subtask__kind="change")
        .exclude(base_sha="")
        .select_related("subtask", "draft")
        .order_by("pk")[:MOST_BRANCHES]
    )
)


def _queued(entry: MergeEntry) -> Branch:
    subtask, handoff = entry.subtask, getattr(entry.attempt, "handoff", None)
    paths = frozenset(handoff.files_changed if handoff else ())
    return Branch(subtask.public_id, subtask.name, Place.QUEUED, entry.attempt.base_sha, entry.head_sha, paths)


def _running(attempt: Attempt) -> Branch:
    subtask, draft = attempt.subtask, getattr(attempt, "draft", None)
    commit, paths = (draft.commit, frozenset(draft.paths)) if draft else ("", frozenset[str]())
    scope = tuple(subtask.scope)
    return Branch(subtask.public_id, subtask.name, Place.RUNNING, attempt.base_sha, commit, paths, scope)


class _Outlook:
    """One look at a swarm's branches. Raises AdapterError."""

    def __init__(self, swarm: Swarm, branches: Sequence[Branch]) -> None:
        self._swarm = swarm
        self._tip = swarm.head_sha or swarm.base_sha
        self._store = store_of(swarm)
        landed = landed_since(self._store, {one.base for one in branches if not one.commit}, self._tip)
        self._branches = [replace(one, landed=landed.get(one.base, NO_PATHS)) for one in branches]

    def look(self) -> _Found:
        stale = [at for at, one in enumerate(self._branches) if one.commit and one.base != self._tip]
        both = pairs(self._branches)
        commits = [one.commit for one in self._branches]
        merges = [(self._tip, commits[at]) for at in stale] + [(commits[one], commits[other]) for one, other in both]
        left = self._left(merge_all(self._store, merges, timeout_s=LONGEST_S))
        with_tip = dict(zip(stale, left[: len(stale)], strict=True))
        between = dict(zip(both, left[len(stale) :], strict=True))
        landers = self._landers(with_tip)
        clashes = foresee(self._branches, with_tip, between, landers)
        warnings = Warnings(self._swarm, self._store, self._tip, self._branches, landers)
        return _Found(clashes, warnings.about(clashes), len(merges))

    def _left(self, conflicts: Sequence[MergeConflict | None]) -> list[frozenset[str]]:
        """The paths that no rule of the repository and no earlier resolution settles."""
        rules = read_policies(self._swarm.repository.merge_policies)
        known = self._remembered(conflicts)
        return [
            frozenset(
                path
                for path, sides in zip(one.paths, sides_of(one).values(), strict=True)
                if policy_for(path, rules) is None and blobs_of(sides) not in known
            )
            if one
            else frozenset()
            for one in conflicts
        ]

    def _remembered(self, conflicts: Iterable[MergeConflict | None]) -> set[tuple[str, str, str]]:
        """In one query, however many there are."""
        blobs = {blobs_of(sides) for one in conflicts if one for sides in sides_of(one).values()}
        rows = Resolution.objects.filter(repository=self._swarm.repository_id, base__in={base for base, *_ in blobs})
        return set(rows.values_list("base", "ours", "theirs")) if blobs else set()

    def _landers(self, with_tip: Merged) -> dict[tuple[str, str], Lander]:
        """Who landed each file that conflicts, the latest of them."""
        asked = [
            (one.base, path)
            for at, one in enumerate(self._branches)
            for path in sorted(paths_with_landed(one, with_tip.get(at)))
        ]
        landed = {
            key: found[0][1]
            for key in list(dict.fromkeys(asked))[:MOST_ASKED]
            if (found := self._store.trailers(key[0], self._tip, TRAILER, [key[1]]))
        }
        rows = self._swarm.merge_entries.filter(public_id__in=set(landed.values()))
        by_id = {row.public_id: _lander(row) for row in rows.select_related("subtask", "attempt__handoff")}
        return {key: by_id[entry] for key, entry in landed.items() if entry in by_id}


def _lander(entry: MergeEntry) -> Lander:
    handoff = getattr(entry.attempt, "handoff", None)
    summary = first_line(handoff.summary, MAX_SUMMARY) if handoff else ""
    return Lander(entry.subtask.public_id, entry.subtask.name, summary)
