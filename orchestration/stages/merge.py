"""Lands handed-off commits on the swarm's branch.

0 lease  1 select  2 merge  3 content check  4 commit  and 5 to 9 as in stages/branch.py; 2 to 4 for each entry of a
chain, the rest once. Commits are deterministic, so repeating them after a crash lands nothing twice.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from orchestration.adapters.git.keeping import keeper
from orchestration.domain.errors import AdapterError, InvalidInput
from orchestration.domain.gating import GateMode
from orchestration.domain.merging import BATCH, CHAIN, FAILURES_IN_A_ROW, in_order
from orchestration.domain.policies import read_policies
from orchestration.domain.states import SwarmStatus
from orchestration.models import MergeEntry, Swarm
from orchestration.models.prepared import PreparedRead, PreparedRows
from orchestration.stages.after import look_after
from orchestration.stages.branch import Writer, cancel, conflict, land, put_aside, recover_left, reject
from orchestration.stages.gated import News, look, news
from orchestration.stages.landing import Conflicted, Unfaithful, begin
from orchestration.stages.leases import Held, heartbeat, hold
from orchestration.stages.maintain import count_locks
from orchestration.stages.queueing import is_waiting, waiting
from orchestration.stages.rows import gate_mode, store_of, swarm_row
from orchestration.stages.transition import Superseded

logger = logging.getLogger(__name__)
STALE_LOCK_S = 10.0
NOTHING: News = ()


def merge(swarm_id: int) -> None:
    """Drains the swarm's queue. Does nothing where another writer holds the branch: it drains for us."""
    swarm = swarm_row(swarm_id)
    gated, seen = gate_mode(swarm) is GateMode.GATED, NOTHING
    while (there := news(swarm) if gated else _waiting(swarm)) and there != seen:
        with hold(f"merge:{swarm.pk}") as lease:
            if lease is None:
                return
            with heartbeat.keep_lease(lease):
                seen = _drain(swarm, lease, gated=gated)
    if not gated:
        look_after(swarm)


def _waiting(swarm: Swarm) -> News:
    """Asked again after the lease was given back: an entry that came meanwhile found it taken."""
    return (True,) if is_waiting(swarm) else NOTHING


def _drain(swarm: Swarm, lease: Held, *, gated: bool) -> News:
    """In gated mode, what was looked at last: the rest is for gates to say."""
    with keeper.session(store_of(swarm).path, swarm.branch) as store:
        writer = Writer(swarm, store, lease, read_policies(swarm.repository.merge_policies), gated)
        if store.break_stale_lock(swarm.branch, STALE_LOCK_S):
            count_locks(swarm.repository_id, 1)
        try:
            recover_left(writer)
            if gated:
                return look(writer)
            while (batch := _batch(swarm)) and lease.lasts():
                _land_batch(writer, batch)
        except Superseded:
            logger.info("Merge entries of swarm %s were changed by somebody else.", swarm.public_id)
    return NOTHING


_cancelled = PreparedRead(lambda pk: Swarm.objects.filter(pk=pk, status=SwarmStatus.CANCELLED).values_list("pk"))
_entries = PreparedRows(
    lambda pks: MergeEntry.objects.filter(pk__in=pks).select_related("subtask", "attempt__handoff").order_by()
)


def _batch(swarm: Swarm) -> list[MergeEntry]:
    """Who is to be merged next, in order."""
    chosen = in_order(waiting(swarm))[:BATCH]
    if not chosen:
        return []
    entries = {entry.pk: entry for entry in _entries(pks=chosen)}
    for entry in entries.values():
        entry.swarm = entry.subtask.swarm = swarm
    return [entries[pk] for pk in chosen if pk in entries]


def _land_batch(writer: Writer, batch: Sequence[MergeEntry]) -> None:
    """What conflicts is put aside, and tried once more when the others have landed. What came back to the queue of a
    cancelled swarm is not merged."""
    if _cancelled(pk=writer.swarm.pk):
        writer.swarm.refresh_from_db(fields=["status", "status_reason"])
        cancel(writer, batch)
        return
    aside = [one for start in range(0, len(batch), CHAIN) for one in _land(writer, batch[start : start + CHAIN])]
    if not aside:
        return
    tip = writer.store.tip(writer.swarm.branch)
    again = [one.entry for one in aside if one.tip != tip]
    for one in [*_land(writer, again), *(one for one in aside if one.tip == tip)]:
        conflict(writer, one)


def _land(writer: Writer, entries: Sequence[MergeEntry]) -> list[Conflicted]:
    """Those that conflict; the others have come to an end, or are queued again."""
    if not entries:
        return []
    chain = begin(writer.store, writer.tip, writer.swarm.base_sha, writer.rules)
    conflicted: list[Conflicted] = []
    for entry in entries:
        try:
            found = chain.add(entry)
        except (AdapterError, InvalidInput) as error:
            put_aside(writer, entry, error)
            if len(writer.failures) >= FAILURES_IN_A_ROW:
                break
            continue
        writer.failures.clear()
        if isinstance(found, Conflicted):
            conflicted.append(found)
        elif isinstance(found, Unfaithful):
            reject(writer, entry, found.reason)
    if chain.links:
        land(writer, chain.start, chain.links)
    if len(writer.failures) >= FAILURES_IN_A_ROW:
        raise writer.failures[-1]
    return conflicted
