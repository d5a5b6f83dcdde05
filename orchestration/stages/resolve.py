"""Decides who settles a conflict that the merge queue could not. The queue goes on meanwhile, and so does its lease.

R1 conflict recorded  R2 decided  R3 given to an agent  R4 claimed  R5 begun with the merge  R6 committed  R7 pinned
R8 handed off and queued, then as in stages/merge.py. What dies between any two is gone on from by the next tick."""

from __future__ import annotations

import logging

from orchestration.domain.errors import AdapterError, InvalidInput
from orchestration.domain.resolving import Rung, Step, next_step
from orchestration.domain.states import SWARM_OVER, EntryStatus, SubtaskStatus
from orchestration.models import MergeEntry, Subtask, Swarm
from orchestration.stages.resolution import Settling, tries_of
from orchestration.stages.rows import store_of
from orchestration.stages.transition import Moves, Superseded, moves

logger = logging.getLogger(__name__)
CLEAN_BY_NOW = "It can be merged by now, and is tried again."


def resolve(swarm_id: int) -> None:
    """Every conflict that nobody has decided about yet. Harmless however often it is called."""
    swarm = Swarm.objects.select_related("repository").get(pk=swarm_id)
    if swarm.status in SWARM_OVER:
        return
    rows = swarm.merge_entries.select_related("subtask", "attempt__handoff", "swarm__repository")
    for entry in rows.filter(status=EntryStatus.CONFLICT, rung="", subtask__status=SubtaskStatus.CONFLICT):
        try:
            _resolve(swarm, entry)
        except (AdapterError, InvalidInput) as error:
            logger.warning("The conflict of %s could not be looked at yet: %s", entry.subtask.name, error)
        except Superseded:
            logger.info("Somebody else decided about the conflict of %s.", entry.subtask.name)


def _resolve(swarm: Swarm, entry: MergeEntry) -> None:
    settling = Settling(entry, store_of(swarm).tip(swarm.branch) or swarm.head_sha)
    if settling.is_settled:
        put_back(entry)
        return
    tries = tries_of(entry)
    step = next_step(settling.look([Rung(one.rung) for one in tries]))
    with moves(swarm) as together:
        climb(entry, step, together)


def put_back(entry: MergeEntry) -> None:
    """The branch has moved, and nothing of the conflict is left."""
    with moves(entry.swarm) as together:
        together.advance(entry, EntryStatus.QUEUED, reason=CLEAN_BY_NOW, conflict_paths=[], rung="")
        together.advance(entry.subtask, SubtaskStatus.HANDED_OFF)


def climb(entry: MergeEntry, step: Step, together: Moves, **fields: str) -> None:
    """To an agent by way of dispatch, as its subtask's next attempt; or to a person, for whom everything waits."""
    if (
        MergeEntry.objects.filter(pk=entry.pk, status=EntryStatus.CONFLICT, rung=entry.rung).update(
            rung=step.rung.value, **fields
        )
        != 1
    ):
        raise Superseded(f"The conflict of {entry.subtask.name} was decided by somebody else.")
    subtask = entry.subtask
    if step.rung is Rung.PERSON:
        where = ", ".join(entry.conflict_paths[:10])
        reason = f"Conflicts with what landed before in {where}. {step.reason}"
        Subtask.objects.filter(pk=subtask.pk, status=SubtaskStatus.CONFLICT).update(status_reason=reason)
    else:
        together.advance(subtask, SubtaskStatus.PENDING, reason="", wait_reason=step.reason, not_before=None)
    facts = {"id": entry.public_id, "subtask": subtask.public_id, "name": subtask.name}
    together.record("merge_entry.resolving", rung=step.rung.value, reason=step.reason, **facts)
