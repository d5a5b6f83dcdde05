"""Conflicts that are ahead, as the forecast of a swarm saw them, without those that are not true any more."""

from __future__ import annotations

from collections.abc import Iterable

from orchestration.domain.clashes import Clash, from_rows, still_true
from orchestration.domain.states import SWARM_OVER, SubtaskStatus
from orchestration.models import Subtask, Swarm

AT_WORK = frozenset({SubtaskStatus.ASSIGNED, SubtaskStatus.RUNNING, SubtaskStatus.WAITING, SubtaskStatus.HANDED_OFF})


def clashes_ahead(swarm: Swarm, *, of: Subtask | None = None, subtasks: Iterable[Subtask] | None = None) -> list[Clash]:
    """Of a swarm, or of one of its subtasks, whichever side it is on. At most one query, and none where `subtasks` are
    known or nothing is ahead."""
    if not swarm.clashes or swarm.status in SWARM_OVER:
        return []
    clashes = [one for one in from_rows(swarm.clashes) if of is None or of.public_id in {one.subtask, one.other}]
    return still_true(clashes, _at_work(swarm, clashes, subtasks)) if clashes else []


def _at_work(swarm: Swarm, clashes: Iterable[Clash], subtasks: Iterable[Subtask] | None) -> frozenset[str]:
    if subtasks is not None:
        return frozenset(one.public_id for one in subtasks if one.status in AT_WORK)
    named = {name for one in clashes for name in (one.subtask, one.other) if name}
    rows = Subtask.objects.filter(swarm=swarm, public_id__in=named, status__in=AT_WORK)
    return frozenset(rows.values_list("public_id", flat=True))
