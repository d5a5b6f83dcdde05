"""Gated mode of the merge queue: looks once at all there is, does what domain/gating.py decides, and looks again.

A look ends where the next word is a gate's; the end of a gate nudges the merge queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db.models import QuerySet

from orchestration.domain.gating import Decision, Evict, Land, Start, Wait, decide, grown, halved
from orchestration.domain.states import GATE_LIVE, EntryStatus, GateStatus, SwarmStatus
from orchestration.models import GateRun, MergeEntry, Swarm
from orchestration.stages.branch import PIN, Writer, cancel, conflict, land, pin_of, reject, unpin_left, verdict
from orchestration.stages.ladder import Ladder, build, merged, view
from orchestration.stages.landing import Conflicted
from orchestration.stages.queueing import due
from orchestration.stages.transition import advance, moves, status_of

NOT_NEEDED = "Its candidate is not needed any more."
CONFLICTS_AHEAD = "It conflicts with what is gated before it, and is tried again when that has landed or left."
NO_CHECKS = "This repository has no checks any more, so nothing can be proved: add some, or cancel the swarm."
TOLD_CHARACTERS = 1500  # of a red gate's log, to the subtask
News = tuple[object, ...]


def news(swarm: Swarm) -> News:
    """What a look depends on, and what changes with everything that makes another one due."""
    entries = swarm.merge_entries.filter(status__in=[EntryStatus.MERGING, EntryStatus.GATING])
    live = swarm.gate_runs.filter(status__in=GATE_LIVE).values_list("pk", "status")
    found = (
        tuple(due(swarm).order_by("pk").values_list("pk", flat=True)),
        tuple(entries.order_by("pk").values_list("pk", "status")),
        tuple(live.order_by("pk")),
    )
    return found if any(found) else ()


def look(writer: Writer) -> News:
    """The news that was looked at last: whatever came after it is another look."""
    while True:
        seen = news(writer.swarm)
        if not writer.lease.lasts() or not _look_once(writer):
            unpin_left(writer)
            return seen


def _look_once(writer: Writer) -> bool:
    """Whether something changed, so that another look is due."""
    swarm = writer.swarm
    swarm.refresh_from_db()
    if status_of(swarm) is SwarmStatus.CANCELLED:
        _end_all(writer)
        return False
    if not swarm.repository.checks:
        _say(writer, Wait(NO_CHECKS, paused=True))
        return False
    ladder = build(writer)
    if ladder.contained:
        land(writer, ladder.tip, ladder.links[: ladder.contained])
        return True
    _stop(writer, _live(writer).exclude(tree__in=ladder.trees, definition=ladder.definition))
    if _conflicts(writer, ladder):
        return True
    return _do(writer, ladder, decide(view(writer, ladder)))


def _do(writer: Writer, ladder: Ladder, decisions: Sequence[Decision]) -> bool:
    match decisions[0]:
        case Land() as landing:
            _land(writer, ladder, landing)
        case Evict(reds):
            _evict(writer, ladder, reds)
        case Wait() as wait:
            _say(writer, wait)
            return False
        case Start():
            _start(writer, ladder, [one for one in decisions if isinstance(one, Start)])
    if not writer.swarm.gate_failures:
        _say(writer, None)
    return True


def _land(writer: Writer, ladder: Ladder, landing: Land) -> None:
    proved = [ladder.trees[prefix] for prefix in landing.flakes]
    flaked = writer.swarm.gate_runs.filter(status=GateStatus.RED, definition=ladder.definition, flake=False)
    with verdict(writer) as together:
        for run in flaked.filter(tree__in=proved):
            GateRun.objects.filter(pk=run.pk).update(flake=True)
            together.record("gate.flaked", id=run.public_id, commit=run.commit, entries=run.entries)
    land(writer, ladder.tip, ladder.links[: landing.prefix])
    Swarm.objects.filter(pk=writer.swarm.pk).update(gate_cap=grown(writer.swarm.gate_cap))


def _evict(writer: Writer, ladder: Ladder, reds: int) -> None:
    run = writer.swarm.gate_runs.filter(tree=ladder.trees[1], status=GateStatus.RED).order_by("pk").last()
    said = f" {run.status_reason}\n{run.log_tail[-TOLD_CHARACTERS:]}" if run else ""
    reason = f"Its gate was red {reds} times on {ladder.tip[:8]}, which is green without it.{said}"
    reject(writer, ladder.links[0].entry, reason)
    Swarm.objects.filter(pk=writer.swarm.pk).update(gate_cap=halved(writer.swarm.gate_cap))


def _start(writer: Writer, ladder: Ladder, starts: Sequence[Start]) -> None:
    """One run for each tree, its candidate pinned before the row exists."""
    runs = {ladder.trees[one.prefix]: _run(writer, ladder, one) for one in starts}
    for run in runs.values():
        writer.store.pin(PIN, pin_of(writer.swarm, run.public_id), run.commit)
    with verdict(writer) as together:
        for place, link in enumerate(ladder.links[: max(one.prefix for one in starts)]):
            if link.entry.status == EntryStatus.QUEUED:
                together.advance(link.entry, EntryStatus.GATING, chain_place=place, gated=True)
            else:
                MergeEntry.objects.filter(pk=link.entry.pk).update(chain_place=place)
        for run in runs.values():
            run.save()
            together.created(run)


def _run(writer: Writer, ladder: Ladder, start: Start) -> GateRun:
    return GateRun(
        swarm=writer.swarm,
        why=start.why,
        commit=ladder.commit(start.prefix),
        tree=ladder.trees[start.prefix],
        tip=ladder.tip,
        entries=[link.entry.public_id for link in ladder.links[: start.prefix]],
        definition=ladder.definition,
    )


def _conflicts(writer: Writer, ladder: Ladder) -> bool:
    """A conflict with the branch is a verdict; one with an entry that may yet be evicted is none."""
    settled = False
    for found in ladder.aside:
        alone = found if found.tip == ladder.tip else merged(writer, ladder.tip, found.entry)
        if isinstance(alone, Conflicted):
            conflict(writer, alone)
            settled = True
        elif found.entry.status_reason != CONFLICTS_AHEAD:
            MergeEntry.objects.filter(pk=found.entry.pk).update(status_reason=CONFLICTS_AHEAD)
    return settled


def _say(writer: Writer, wait: Wait | None) -> None:
    """The queue's reason on the page, and an event where it begins or ends to stand still."""
    reason = wait.reason if wait and wait.paused else ""
    swarm = writer.swarm
    if swarm.queue_reason == reason:
        return
    with moves(swarm) as together:
        Swarm.objects.filter(pk=swarm.pk).update(queue_reason=reason)
        if bool(reason) != bool(swarm.queue_reason):
            together.record("swarm.queue_paused" if reason else "swarm.queue_resumed", reason=reason)
    swarm.queue_reason = reason


def _live(writer: Writer) -> QuerySet[GateRun]:
    return writer.swarm.gate_runs.filter(status__in=GATE_LIVE).select_related("swarm")


def _stop(writer: Writer, runs: Iterable[GateRun]) -> None:
    """Whoever runs one sees that it is not running any more, and ends it."""
    for run in runs:
        advance(writer.swarm, run, GateStatus.CANCELLED, reason=NOT_NEEDED)


def _end_all(writer: Writer) -> None:
    rows = writer.swarm.merge_entries.filter(status__in=[EntryStatus.QUEUED, EntryStatus.GATING])
    if entries := list(rows.select_related("subtask__swarm")):
        cancel(writer, entries)
    _stop(writer, _live(writer))
