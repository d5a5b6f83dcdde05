"""What the one writer of a branch does to it and to its entries: intent before effect, effect before record.

5 pin  6 intent in the database  7 compare-and-swap of the ref  8 landed in the database  9 unpin. A crash between any
two is finished or undone by `recover_left`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone

from orchestration.adapters.git.session import Session
from orchestration.domain.errors import AdapterError, Failure, InvalidInput, SwarmsiteError
from orchestration.domain.merging import MAX_INFRA_FAILURES, Recovery, aside_s, recover
from orchestration.domain.policies import Rule
from orchestration.domain.queueing import FOUND
from orchestration.domain.states import GATE_LIVE, EntryStatus, GateStatus, SubtaskStatus
from orchestration.models import GateRun, MergeEntry, Subtask, Swarm
from orchestration.models.prepared import PreparedRows, PreparedUpdate
from orchestration.stages.gate import definition_of
from orchestration.stages.landing import Conflicted, Laps, Link
from orchestration.stages.leases import Held
from orchestration.stages.recall import keep_landed
from orchestration.stages.transition import Moves, Superseded, moves

logger = logging.getLogger(__name__)
PIN = "candidates"
MOVED = "The branch had moved."


class Ungated(SwarmsiteError):
    """A landing without its green gate: a bug in the caller, never something a user can cause."""


@dataclass(slots=True)
class Writer:
    """The one that may move the branch, for as long as its lease is confirmed."""

    swarm: Swarm
    store: Session
    lease: Held
    rules: tuple[Rule, ...] = ()
    gated: bool = False
    failures: list[AdapterError | InvalidInput] = field(default_factory=list)  # in a row

    @property
    def tip(self) -> str:
        found = self.store.tip(self.swarm.branch)
        if found is None:
            raise AdapterError(Failure.PERMANENT, f"The branch {self.swarm.branch} is gone from the store.")
        return found


_left = PreparedRows(
    lambda swarm: (
        MergeEntry.objects.filter(swarm=swarm, status=EntryStatus.MERGING)
        .select_related("subtask__swarm")
        .order_by("chain_place")
    )
)


def recover_left(writer: Writer, reason: str = "") -> None:
    """What a writer that died left, or a swap that failed: entries between intent and record."""
    swarm, store = writer.swarm, writer.store
    entries = _left(swarm=swarm.pk)
    if not entries:
        return
    tip = store.tip(swarm.branch)
    for entry in entries:
        there = bool(tip and store.contains(entry.intent_new) and store.is_ancestor(entry.intent_new, tip))
        if recover(intent_new=entry.intent_new, intended_is_in_history=there) is Recovery.LANDED:
            link = Link(entry, entry.intent_old, entry.intent_new, entry.took)
            _record_landing(writer, [link], reason="" if reason else FOUND)
            continue
        back = EntryStatus.GATING if entry.gate_run_id else EntryStatus.QUEUED  # it keeps its place in the chain
        with verdict(writer) as together:
            together.advance(entry, back, reason=reason, intent_old="", intent_new="", gate_run=None)
    unpin_left(writer)


def pin_of(swarm: Swarm, name: str) -> str:
    return f"{swarm.public_id}-{name}"


def unpin_left(writer: Writer) -> None:
    """Candidates whose gates are over, and those of a writer that died; what landed is in the branch's history."""
    live = writer.swarm.gate_runs.filter(status__in=GATE_LIVE).values_list("public_id", flat=True)
    kept = {pin_of(writer.swarm, name) for name in live}
    ours = pin_of(writer.swarm, "")
    _let_go(writer.store, *(pin for pin in writer.store.pins(PIN) if pin.startswith(ours) and pin not in kept))


def _let_go(store: Session, *pins: str) -> None:
    """What fails here keeps nobody from landing: it is swept later."""
    try:
        store.unpin(PIN, *pins)
    except AdapterError as error:
        logger.warning("Candidates are still pinned: %s", error)


def land(writer: Writer, start: str, links: Sequence[Link]) -> None:
    """Moves the branch from `start` to the last link's commit, or nowhere."""
    swarm, store, tip = writer.swarm, writer.store, links[-1].new
    proofs = _proofs(writer, start, links) if writer.gated else {}
    if tip == start:  # all of it was contained already
        _intend(writer, links, proofs)
        _record_landing(writer, links)
        return
    pin = pin_of(swarm, links[-1].entry.public_id)
    store.pin(PIN, pin, tip)
    laps = Laps()
    _intend(writer, links, proofs)
    laps.end("journal")
    try:
        swapped = store.swap(swarm.branch, tip, start)
        laps.end("swap")
    except AdapterError as error:
        ids = [link.entry.pk for link in links]
        MergeEntry.objects.filter(pk__in=ids, status=EntryStatus.MERGING).update(status_reason=str(error))
        raise
    if swapped:
        _record_landing(writer, links, laps.took)
    else:
        recover_left(writer, MOVED)
    _let_go(store, pin)


def _proofs(writer: Writer, start: str, links: Sequence[Link]) -> dict[int, GateRun]:
    """The green gate of each link's commit; without strict commits the last one's stands for those below it."""
    repository = writer.swarm.repository
    greens = writer.swarm.gate_runs.filter(status=GateStatus.GREEN, definition=definition_of(repository))
    by_tree = {run.tree: run for run in greens}
    trees = {link.entry.pk: writer.store.tree(link.new) for link in links if link.new != start}
    last = None if repository.strict_commits else by_tree.get(writer.store.tree(links[-1].new))
    found = {entry: by_tree.get(tree, last) for entry, tree in trees.items()}
    if None in found.values():
        raise Ungated("A commit was about to land without a green gate.")
    return {entry: run for entry, run in found.items() if run is not None}


@contextmanager
def verdict(writer: Writer) -> Iterator[Moves]:
    """One transaction of a writer that still is the one: where its lease was taken over it stops here."""
    with moves(writer.swarm) as together:
        if not writer.lease.confirm():
            raise Superseded("The branch has another writer.")
        yield together


def _intend(writer: Writer, links: Sequence[Link], proofs: Mapping[int, GateRun]) -> None:
    """Durable before the ref moves, for the whole chain or for none of it."""
    with verdict(writer) as together:
        for place, link in enumerate(links):
            gate: dict[str, Any] = {"gated": True, "gate_run": proofs.get(link.entry.pk)} if writer.gated else {}
            together.advance(
                link.entry,
                EntryStatus.MERGING,
                intent_old=link.old,
                intent_new=link.new,
                chain_place=place,
                took=dict(link.took),
                **gate,
            )


_subtasks = PreparedRows(lambda pks: Subtask.objects.filter(pk__in=pks).order_by())
_stands_at = PreparedUpdate(lambda pk, head: (Swarm.objects.filter(pk=pk), {"head_sha": head}))


def _record_landing(
    writer: Writer, links: Sequence[Link], took: Mapping[str, float] | None = None, *, reason: str = ""
) -> None:
    """A fact whoever found it: no lease is asked for. `took` is what their one swap took, kept with the first."""
    with moves(writer.swarm) as together:
        subtasks = {row.pk: row for row in _subtasks(pks=[link.entry.subtask_id for link in links])}
        for link in links:
            parts = {**link.took, **took} if took and link is links[0] else dict(link.took)
            together.advance(link.entry, EntryStatus.LANDED, reason=reason, landed_sha=link.new, took=parts)
            _move_subtask(subtasks[link.entry.subtask_id], SubtaskStatus.COMPLETE, together)
        keep_landed(link.entry for link in links)
        _stands_at(pk=writer.swarm.pk, head=links[-1].new)


def conflict(writer: Writer, found: Conflicted) -> None:
    reason = f"Conflicts with what landed before in {', '.join(found.paths[:10])}."
    with verdict(writer) as together:
        together.advance(found.entry, EntryStatus.CONFLICT, reason=reason, conflict_paths=list(found.paths))
        _move_subtask(_fresh(found.entry), SubtaskStatus.CONFLICT, together, reason=reason)


def reject(writer: Writer, entry: MergeEntry, reason: str) -> None:
    with verdict(writer) as together:
        together.advance(entry, EntryStatus.REJECTED, reason=reason)
        _move_subtask(_fresh(entry), SubtaskStatus.FAILED, together, reason=reason)


def cancel(writer: Writer, entries: Sequence[MergeEntry]) -> None:
    reason = writer.swarm.status_reason
    with verdict(writer) as together:
        for entry in entries:
            together.advance(entry, EntryStatus.CANCELLED, reason=reason)
            _move_subtask(_fresh(entry), SubtaskStatus.CANCELLED, together, reason=reason)


def _fresh(entry: MergeEntry) -> Subtask:
    return Subtask.objects.get(pk=entry.subtask_id)


def _move_subtask(subtask: Subtask, to: SubtaskStatus, together: Moves, reason: str = "") -> None:
    """A subtask that was cancelled while its commit was landing stays cancelled; the landing is a fact."""
    if subtask.status == SubtaskStatus.HANDED_OFF:
        together.advance(subtask, to, reason=reason)


def put_aside(writer: Writer, entry: MergeEntry, error: AdapterError | InvalidInput) -> None:
    """The machine's failures evict nobody; what git refuses to merge for good ends after many tries."""
    writer.failures.append(error)
    until = timezone.now() + timedelta(seconds=aside_s(entry.infra_failures))
    queued = MergeEntry.objects.filter(pk=entry.pk, status__in=[EntryStatus.QUEUED, EntryStatus.GATING])
    queued.update(infra_failures=F("infra_failures") + 1, not_before=until, status_reason=str(error))
    transient = isinstance(error, AdapterError) and error.transient
    if not transient and entry.infra_failures + 1 >= MAX_INFRA_FAILURES:
        reject(writer, entry, f"It could not be merged: {error}")
