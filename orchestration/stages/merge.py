"""Lands handed-off commits on the swarm's branch: one writer, intent before effect, effect before record.

0 lease  1 select  2 merge  3 content check  4 commit  5 pin  6 intent in the database  7 compare-and-swap of
the ref  8 landed in the database  9 unpin; 2 to 4 for each entry of a chain, the rest once. A crash between any
two is finished or repeated by `_recover`: commits are deterministic, so repeating them lands nothing twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from django.db.models import F
from django.utils import timezone

from orchestration.adapters.git.keeping import keeper
from orchestration.adapters.git.session import Session
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.merging import (
    BATCH,
    CHAIN,
    FAILURES_IN_A_ROW,
    MAX_INFRA_FAILURES,
    Recovery,
    aside_s,
    in_order,
    recover,
)
from orchestration.domain.policies import Rule, read_policies
from orchestration.domain.states import EntryStatus, SubtaskStatus, SwarmStatus
from orchestration.models import MergeEntry, Subtask, Swarm
from orchestration.stages.landing import Chain, Conflicted, Link, Unfaithful, begin
from orchestration.stages.leases import Held, heartbeat, hold
from orchestration.stages.queueing import due, waiting
from orchestration.stages.rows import store_of
from orchestration.stages.transition import Moves, Superseded, moves, status_of

logger = logging.getLogger(__name__)
PIN = "candidates"
STALE_LOCK_S = 10.0
MOVED = "The branch had moved."


@dataclass(slots=True)
class Writer:
    """The one that may move the branch, for as long as its lease is confirmed."""

    swarm: Swarm
    store: Session
    lease: Held
    rules: tuple[Rule, ...] = ()
    failures: list[AdapterError | InvalidInput] = field(default_factory=list)  # in a row


def merge(swarm_id: int) -> None:
    """Drains the swarm's queue. Does nothing where another writer holds the branch: it drains for us."""
    swarm = Swarm.objects.select_related("repository").get(pk=swarm_id)
    while _waiting(swarm):
        with hold(f"merge:{swarm.pk}") as lease:
            if lease is None:
                return
            with heartbeat.keep_lease(lease):
                _drain(swarm, lease)


def _waiting(swarm: Swarm) -> bool:
    """Asked again after the lease was given back: an entry that came meanwhile found it taken."""
    return due(swarm).exists() or swarm.merge_entries.filter(status=EntryStatus.MERGING).exists()


def _drain(swarm: Swarm, lease: Held) -> None:
    with keeper.session(store_of(swarm).path, swarm.branch) as store:
        writer = Writer(swarm, store, lease, read_policies(swarm.repository.merge_policies))
        store.break_stale_lock(swarm.branch, STALE_LOCK_S)
        try:
            _recover(writer)
            while lease.lasts() and (batch := _batch(swarm)):
                _land_batch(writer, batch)
        except Superseded:
            logger.info("Merge entries of swarm %s were changed by somebody else.", swarm.public_id)


def _recover(writer: Writer, reason: str = "") -> None:
    """What a writer that died left, or a swap that failed: entries between intent and record."""
    swarm, store = writer.swarm, writer.store
    left = swarm.merge_entries.select_related("subtask__swarm").filter(status=EntryStatus.MERGING)
    entries, tip = list(left.order_by("chain_place")), store.tip(swarm.branch)
    for entry in entries:
        there = bool(tip and store.contains(entry.intent_new) and store.is_ancestor(entry.intent_new, tip))
        if recover(intent_new=entry.intent_new, intended_is_in_history=there) is Recovery.LANDED:
            _record_landing(writer, [Link(entry, entry.intent_old, entry.intent_new)])
        else:
            with _verdict(writer) as together:
                together.advance(entry, EntryStatus.QUEUED, reason=reason, intent_old="", intent_new="")


def _batch(swarm: Swarm) -> list[MergeEntry]:
    """Who is to be merged next, in order; what came back to the queue of a cancelled swarm is not."""
    swarm.refresh_from_db(fields=["status", "status_reason"])
    chosen = in_order(waiting(swarm))[:BATCH]
    entries = MergeEntry.objects.select_related("subtask__swarm", "attempt__handoff").in_bulk(chosen)
    return [entries[pk] for pk in chosen if pk in entries]


def _land_batch(writer: Writer, batch: Sequence[MergeEntry]) -> None:
    """What conflicts is put aside, and tried once more when the others have landed."""
    if status_of(writer.swarm) is SwarmStatus.CANCELLED:
        _cancel(writer, batch)
        return
    aside = [one for start in range(0, len(batch), CHAIN) for one in _land(writer, batch[start : start + CHAIN])]
    tip = writer.store.tip(writer.swarm.branch)
    again = [one.entry for one in aside if one.tip != tip]
    for one in [*_land(writer, again), *(one for one in aside if one.tip == tip)]:
        _conflict(writer, one)


def _land(writer: Writer, entries: Sequence[MergeEntry]) -> list[Conflicted]:
    """Those that conflict; the others have come to an end, or are queued again."""
    if not entries:
        return []
    chain, conflicted = _chain(writer), list[Conflicted]()
    for entry in entries:
        try:
            found = chain.add(entry)
        except (AdapterError, InvalidInput) as error:
            _put_aside(writer, entry, error)
            if len(writer.failures) >= FAILURES_IN_A_ROW:
                break
            continue
        writer.failures.clear()
        if isinstance(found, Conflicted):
            conflicted.append(found)
        elif isinstance(found, Unfaithful):
            _reject(writer, entry, f"The merge would change what nobody changed: {', '.join(found.paths[:5])}.")
    if chain.links:
        _swap(writer, chain)
    if len(writer.failures) >= FAILURES_IN_A_ROW:
        raise writer.failures[-1]
    return conflicted


def _chain(writer: Writer) -> Chain:
    swarm = writer.swarm
    tip = writer.store.tip(swarm.branch)
    if tip is None:
        raise AdapterError(Failure.PERMANENT, f"The branch {swarm.branch} is gone from the store.")
    return begin(writer.store, tip, swarm.base_sha, writer.rules)


def _swap(writer: Writer, chain: Chain) -> None:
    swarm, store = writer.swarm, writer.store
    if chain.tip == chain.start:  # all of it was contained already
        _intend(writer, chain.links)
        _record_landing(writer, chain.links)
        return
    pin = chain.links[-1].entry.public_id
    store.pin(PIN, pin, chain.tip)
    _intend(writer, chain.links)
    try:
        swapped = store.swap(swarm.branch, chain.tip, chain.start)
    except AdapterError as error:
        ids = [link.entry.pk for link in chain.links]
        MergeEntry.objects.filter(pk__in=ids, status=EntryStatus.MERGING).update(status_reason=str(error))
        raise
    if swapped:
        _record_landing(writer, chain.links)
    else:
        _recover(writer, MOVED)
    _let_go(store, pin)


def _let_go(store: Session, pin: str) -> None:
    """What fails here keeps nobody from landing: maintenance lets go of it later."""
    try:
        store.unpin(PIN, pin)
    except AdapterError as error:
        logger.warning("The candidate %s is still pinned: %s", pin, error)


@contextmanager
def _verdict(writer: Writer) -> Iterator[Moves]:
    """One transaction of a writer that still is the one: where its lease was taken over it stops here."""
    with moves(writer.swarm) as together:
        if not writer.lease.confirm():
            raise Superseded("The branch has another writer.")
        yield together


def _intend(writer: Writer, links: Sequence[Link]) -> None:
    """Durable before the ref moves, for the whole chain or for none of it."""
    with _verdict(writer) as together:
        for place, link in enumerate(links):
            together.advance(
                link.entry, EntryStatus.MERGING, intent_old=link.old, intent_new=link.new, chain_place=place
            )


def _record_landing(writer: Writer, links: Sequence[Link]) -> None:
    """A fact whoever found it: no lease is asked for."""
    with moves(writer.swarm) as together:
        subtasks = Subtask.objects.in_bulk([link.entry.subtask_id for link in links])
        for link in links:
            together.advance(link.entry, EntryStatus.LANDED, landed_sha=link.new)
            _move_subtask(subtasks[link.entry.subtask_id], SubtaskStatus.COMPLETE, together)
        Swarm.objects.filter(pk=writer.swarm.pk).update(head_sha=links[-1].new)


def _conflict(writer: Writer, found: Conflicted) -> None:
    reason = f"Conflicts with what landed before in {', '.join(found.paths[:10])}."
    with _verdict(writer) as together:
        together.advance(found.entry, EntryStatus.CONFLICT, reason=reason, conflict_paths=list(found.paths))
        _move_subtask(_fresh(found.entry), SubtaskStatus.CONFLICT, together, reason=reason)


def _reject(writer: Writer, entry: MergeEntry, reason: str) -> None:
    with _verdict(writer) as together:
        together.advance(entry, EntryStatus.REJECTED, reason=reason)
        _move_subtask(_fresh(entry), SubtaskStatus.FAILED, together, reason=reason)


def _cancel(writer: Writer, entries: Sequence[MergeEntry]) -> None:
    reason = writer.swarm.status_reason
    with _verdict(writer) as together:
        for entry in entries:
            together.advance(entry, EntryStatus.CANCELLED, reason=reason)
            _move_subtask(_fresh(entry), SubtaskStatus.CANCELLED, together, reason=reason)


def _fresh(entry: MergeEntry) -> Subtask:
    return Subtask.objects.get(pk=entry.subtask_id)


def _move_subtask(subtask: Subtask, to: SubtaskStatus, together: Moves, reason: str = "") -> None:
    """A subtask that was cancelled while its commit was landing stays cancelled; the landing is a fact."""
    if subtask.status == SubtaskStatus.HANDED_OFF:
        together.advance(subtask, to, reason=reason)


def _put_aside(writer: Writer, entry: MergeEntry, error: AdapterError | InvalidInput) -> None:
    """The machine's failures evict nobody; what git refuses to merge for good ends after many tries."""
    writer.failures.append(error)
    until = timezone.now() + timedelta(seconds=aside_s(entry.infra_failures))
    queued = MergeEntry.objects.filter(pk=entry.pk, status=EntryStatus.QUEUED)
    queued.update(infra_failures=F("infra_failures") + 1, not_before=until, status_reason=str(error))
    transient = isinstance(error, AdapterError) and error.transient
    if not transient and entry.infra_failures + 1 >= MAX_INFRA_FAILURES:
        _reject(writer, entry, f"It could not be merged: {error}")
