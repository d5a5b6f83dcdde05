"""Lands handed-off commits on the swarm's branch: one writer, intent before effect, effect before record.

0 lease  1 select  2 merge  3 content check  4 commit  5 pin  6 intent in the database  7 compare-and-swap of
the ref  8 landed in the database  9 unpin. A crash between any two is finished or repeated by `_recover`:
the commit is deterministic, so repeating it cannot land anything twice.
"""

from __future__ import annotations

import logging

from django.db.models import F

from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.git.values import CleanMerge
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.merging import MAX_INFRA_FAILURES, Queued, Recovery, landing_message, next_entry, recover
from orchestration.domain.states import EntryStatus, SubtaskStatus, SwarmStatus
from orchestration.models import MergeEntry, Subtask, Swarm
from orchestration.stages.inspection import COMMITTER
from orchestration.stages.leases import Held, hold
from orchestration.stages.rows import store_of
from orchestration.stages.transition import Moves, Superseded, moves, status_of

logger = logging.getLogger(__name__)
PIN = "candidates"
STALE_LOCK_S = 10.0


def merge(swarm_id: int) -> None:
    """Drains the swarm's queue. Does nothing where another writer holds the branch: it drains for us."""
    swarm = Swarm.objects.select_related("repository").get(pk=swarm_id)
    while _waiting(swarm):
        with hold(f"merge:{swarm.pk}") as lease:
            if lease is None:
                return
            _drain(swarm, lease)


def _waiting(swarm: Swarm) -> bool:
    """Asked again after the lease was given back: an entry that came meanwhile found it taken."""
    return swarm.merge_entries.filter(status__in=(EntryStatus.QUEUED, EntryStatus.MERGING)).exists()


def _drain(swarm: Swarm, lease: Held) -> None:
    store = store_of(swarm)
    _recover(swarm, store)
    while lease.renew():
        queued = swarm.merge_entries.filter(status=EntryStatus.QUEUED)
        chosen = next_entry(Queued(*row) for row in queued.values_list("pk", "priority"))
        if chosen is None:
            return
        entry = MergeEntry.objects.select_related("subtask__swarm", "attempt__handoff").get(pk=chosen)
        try:
            if _cancelled(swarm, entry):
                continue
            _land(swarm, entry, store, lease)
        except Superseded:
            logger.info("Merge entry %s was changed by somebody else.", entry.public_id)
        except (AdapterError, InvalidInput) as error:
            _failed(swarm, entry, error)
            raise


def _recover(swarm: Swarm, store: BareRepository) -> None:
    """What a writer that died left: its lock, and its entry between intent and record."""
    store.break_stale_lock(swarm.branch, STALE_LOCK_S)
    for entry in swarm.merge_entries.select_related("subtask__swarm").filter(status=EntryStatus.MERGING):
        tip = store.tip(swarm.branch)
        there = bool(tip and store.contains(entry.intent_new) and store.is_ancestor(entry.intent_new, tip))
        if recover(intent_new=entry.intent_new, intended_is_in_history=there) is Recovery.LANDED:
            _record_landing(swarm, entry, entry.intent_new)
        elif entry.infra_failures >= MAX_INFRA_FAILURES:
            _reject(swarm, entry, f"It could not be merged: {entry.status_reason}")
        else:
            with moves(swarm) as together:
                together.advance(entry, EntryStatus.QUEUED, intent_old="", intent_new="")


def _cancelled(swarm: Swarm, entry: MergeEntry) -> bool:
    """What came back to the queue after its swarm was cancelled does not land any more."""
    swarm.refresh_from_db(fields=["status", "status_reason"])
    if status_of(swarm) is not SwarmStatus.CANCELLED:
        return False
    with moves(swarm) as together:
        together.advance(entry, EntryStatus.CANCELLED, reason=swarm.status_reason)
        _move_subtask(entry.subtask, SubtaskStatus.CANCELLED, together, reason=swarm.status_reason)
    return True


def _land(swarm: Swarm, entry: MergeEntry, store: BareRepository, lease: Held) -> None:
    tip = store.tip(swarm.branch)
    if tip is None:
        raise AdapterError(Failure.PERMANENT, f"The branch {swarm.branch} is gone from the store.")
    if store.is_ancestor(entry.head_sha, tip):
        _intend(swarm, entry, tip, tip, lease)
        _record_landing(swarm, entry, tip)
        return
    merged = store.merge(tip, entry.head_sha)
    if not isinstance(merged, CleanMerge):
        _conflict(swarm, entry, merged.paths)
        return
    commit = store.commit(
        merged.tree,
        (tip, entry.head_sha),
        _message(entry),
        author=COMMITTER,
        committer=COMMITTER,
        when=entry.enqueued_at,
    )
    broken = store.merge_is_faithful(entry.attempt.base_sha, tip, entry.head_sha, commit)
    if broken:
        _reject(swarm, entry, f"The merge would change what nobody changed: {', '.join(broken[:5])}.")
        return
    store.pin(PIN, entry.public_id, commit)
    _intend(swarm, entry, tip, commit, lease)
    if store.swap(swarm.branch, commit, tip):
        _record_landing(swarm, entry, commit)
    else:
        with moves(swarm) as together:
            together.advance(entry, EntryStatus.QUEUED, reason="The branch had moved.", intent_old="", intent_new="")
    store.unpin(PIN, entry.public_id)


def _message(entry: MergeEntry) -> str:
    handoff = getattr(entry.attempt, "handoff", None)
    return landing_message(
        name=entry.subtask.name,
        summary=handoff.summary if handoff else "",
        entry_id=entry.public_id,
        head_sha=entry.head_sha,
    )


def _intend(swarm: Swarm, entry: MergeEntry, old: str, new: str, lease: Held) -> None:
    """Durable before the ref moves. A writer whose lease was taken over stops here."""
    with moves(swarm) as together:
        if not lease.confirm():
            raise Superseded("The branch has another writer.")
        together.advance(entry, EntryStatus.MERGING, intent_old=old, intent_new=new)


def _record_landing(swarm: Swarm, entry: MergeEntry, sha: str) -> None:
    with moves(swarm) as together:
        together.advance(entry, EntryStatus.LANDED, landed_sha=sha)
        _move_subtask(entry.subtask, SubtaskStatus.COMPLETE, together)
        Swarm.objects.filter(pk=swarm.pk).update(head_sha=sha)


def _conflict(swarm: Swarm, entry: MergeEntry, paths: tuple[str, ...]) -> None:
    reason = f"Conflicts with what landed before in {', '.join(paths[:10])}."
    with moves(swarm) as together:
        together.advance(entry, EntryStatus.CONFLICT, reason=reason, conflict_paths=list(paths))
        _move_subtask(entry.subtask, SubtaskStatus.CONFLICT, together, reason=reason)


def _reject(swarm: Swarm, entry: MergeEntry, reason: str) -> None:
    with moves(swarm) as together:
        together.advance(entry, EntryStatus.REJECTED, reason=reason)
        _move_subtask(entry.subtask, SubtaskStatus.FAILED, together, reason=reason)


def _move_subtask(subtask: Subtask, to: SubtaskStatus, together: Moves, reason: str = "") -> None:
    """A subtask that was cancelled while its commit was landing stays cancelled; the landing is a fact."""
    subtask.refresh_from_db()
    if subtask.status == SubtaskStatus.HANDED_OFF:
        together.advance(subtask, to, reason=reason)


def _failed(swarm: Swarm, entry: MergeEntry, error: AdapterError | InvalidInput) -> None:
    """An infrastructure error evicts nobody, until it has proved to be for ever."""
    MergeEntry.objects.filter(pk=entry.pk).update(infra_failures=F("infra_failures") + 1, status_reason=str(error))
    entry.refresh_from_db()
    if entry.infra_failures >= MAX_INFRA_FAILURES and entry.status == EntryStatus.QUEUED:
        _reject(swarm, entry, f"It could not be merged: {error}")
