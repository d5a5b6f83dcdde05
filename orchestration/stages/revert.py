"""Takes back what a subtask landed, with what rests on it: one commit, through the same queue and checks.

The commit is made of objects on the branch's tip, so the same request on the same tip gives the same one. A revert is
a subtask of its own, and taking it back in turn is reverting that.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestration.adapters.git.values import MergeConflict
from orchestration.domain.errors import InvalidInput
from orchestration.domain.rights import Action
from orchestration.domain.states import ENTRY_OPEN, SWARM_OVER, EntryStatus, SubtaskStatus, SwarmStatus
from orchestration.models import MergeEntry, Subtask, Swarm, User
from orchestration.stages.inspection import COMMITTER
from orchestration.stages.publish import look_again
from orchestration.stages.rows import store_of
from orchestration.stages.taking import REVERT, free_name, queue_commit
from orchestration.stages.transition import Superseded, status_of

GOING_ON = frozenset({SwarmStatus.RUNNING, SwarmStatus.PAUSED, SwarmStatus.FINALIZING})
MAY_OPEN_AGAIN = SWARM_OVER - {SwarmStatus.CANCELLED}


def is_reverted(subtask: Subtask) -> bool:
    """Taken back, and that not taken back in turn."""
    landed = subtask.reverted_by.filter(status=SubtaskStatus.COMPLETE)
    return any(not is_reverted(one) for one in landed)


def may_revert(swarm: Swarm) -> bool:
    """While it goes on, and afterwards: then it opens again, and ends once what it lands outward is up to date."""
    return status_of(swarm) in GOING_ON | MAY_OPEN_AGAIN


def rests_on(subtask: Subtask) -> list[Subtask]:
    """What landed after it and needs it, or changed the same files: it goes with it. In the order of landing."""
    landed = [entry for entry in _landings(subtask.swarm) if not is_reverted(entry.subtask)]
    mine = next((entry for entry in landed if entry.subtask_id == subtask.pk), None)
    if mine is None:
        return []
    taken, paths = {subtask.pk}, _paths(mine)
    for entry in landed[landed.index(mine) + 1 :]:
        needs = set(entry.subtask.dependencies.values_list("pk", flat=True))
        touched = _paths(entry)
        if needs & taken or touched & paths:
            taken.add(entry.subtask_id)
            paths |= touched
    return [entry.subtask for entry in landed if entry.subtask_id in taken - {subtask.pk}]


def revert(subtask: Subtask, person: User) -> Subtask:
    """The subtask that takes it back, on its way. Raises InvalidInput with a sentence for the person."""
    swarm = subtask.swarm
    if not person.may(Action.CONFIGURE, swarm.repository.team):
        raise InvalidInput("Only maintainers of the repository's team may take back what has landed.")
    if not may_revert(swarm):
        raise InvalidInput(f"The swarm is {swarm.status.replace('_', ' ')}: nothing more lands on its branch.")
    if swarm.subtasks.filter(origin=REVERT, merge_entries__status__in=ENTRY_OPEN).exists():
        raise InvalidInput("A revert is on its way already; wait until it has landed.")
    together = [subtask, *rests_on(subtask)]
    entries = [entry for entry in _landings(swarm) if entry.subtask in together and not is_reverted(entry.subtask)]
    if all(entry.subtask_id != subtask.pk for entry in entries):
        raise InvalidInput(f"Nothing of {subtask.name} is on the branch, so there is nothing to take back.")
    head = _commit(swarm, entries)
    names = ", ".join(one.name for one in together)
    taking_back = Subtask(
        swarm=swarm,
        name=free_name(swarm, f"revert-{subtask.name}"),
        instruction=f"Take back what was landed by {names}. Keep everything else.",
        origin=REVERT,
        priority=1,
    )
    try:
        queue_commit(taking_back, head=head, reason=f"{person.username} takes back {names}.", reverts=together)
    except Superseded:
        raise InvalidInput("The swarm changed in this moment; look again.") from None
    look_again(swarm, f"{names} is taken back.")
    return taking_back


def _landings(swarm: Swarm) -> list[MergeEntry]:
    """In the order in which they landed, those that moved the branch."""
    rows = swarm.merge_entries.filter(status=EntryStatus.LANDED).select_related("subtask")
    return [entry for entry in rows.order_by("finished_at", "pk") if entry.landed_sha != entry.intent_old]


def _paths(entry: MergeEntry) -> set[str]:
    changes = store_of(entry.swarm).changed_paths(entry.intent_old, entry.landed_sha)
    return {path for one in changes for path in (one.path, one.old_path) if path}


def _commit(swarm: Swarm, entries: Sequence[MergeEntry]) -> str:
    """Each landing undone on the tip, the latest first; together one commit with the tip as its parent."""
    store = store_of(swarm)
    tip = current = swarm.head_sha
    when = entries[-1].enqueued_at
    message = "".join(f"MQ-Reverts: {entry.public_id}\n" for entry in entries)
    names = ", ".join(entry.subtask.name for entry in entries)
    for entry in reversed(entries):
        undone = store.commit(
            store.tree(entry.intent_old), [entry.landed_sha], "undo\n", author=COMMITTER, committer=COMMITTER, when=when
        )
        merged = store.merge(current, undone)
        if isinstance(merged, MergeConflict):
            raise InvalidInput(
                f"{entry.subtask.name} cannot be taken back alone: what landed later is mixed with it in "
                f"{', '.join(merged.paths[:5])}."
            )
        current = store.commit(
            merged.tree, [tip], f"Revert {names}\n\n{message}", author=COMMITTER, committer=COMMITTER, when=when
        )
    return current
