"""Optimistic mode: what landed is gated afterwards, on the branch's tip. A red one stops nobody, and is told."""

from __future__ import annotations

from django.db import IntegrityError
from django.db.models import Exists, OuterRef
from django.utils import timezone

from orchestration.domain.gating import UNKNOWN, GateMode, Known, Why, wants_gate_after
from orchestration.domain.states import GATE_LIVE, SWARM_OVER, EntryStatus, GateStatus
from orchestration.models import GateRun, Swarm
from orchestration.models.prepared import PreparedRead
from orchestration.stages.gate import definition_of
from orchestration.stages.ladder import known_of
from orchestration.stages.rows import gate_mode, store_of
from orchestration.stages.transition import advance, moves, status_of

MOST_NAMED = 5

_to_look_at = PreparedRead(
    lambda swarm: Swarm.objects.filter(pk=swarm).values_list(
        "repository__checks", Exists(GateRun.objects.filter(swarm=OuterRef("pk"), status__in=GATE_LIVE))
    )
)


def look_after(swarm: Swarm) -> None:
    """Starts the gate of the tip where one is due, and tells what it said. Harmless however often it is called."""
    [(checks, is_live)] = _to_look_at(swarm=swarm.pk)  # as they are now: `swarm` was read before all that landed
    if not is_live and (gate_mode(swarm) is not GateMode.OPTIMISTIC or not checks):
        return
    swarm.refresh_from_db()
    live = list(swarm.gate_runs.filter(status__in=GATE_LIVE))
    if status_of(swarm) in SWARM_OVER:
        for run in live:
            advance(swarm, run, GateStatus.CANCELLED, reason="The swarm is over.")
        return
    moved = swarm.head_sha and swarm.head_sha != swarm.base_sha
    if gate_mode(swarm) is not GateMode.OPTIMISTIC or not swarm.repository.checks or not moved:
        return
    tree, definition = store_of(swarm).tree(swarm.head_sha), definition_of(swarm.repository)
    known = known_of(swarm, definition, [tree]).get(tree, UNKNOWN)
    resting = bool(swarm.gate_not_before and swarm.gate_not_before > timezone.now())
    if wants_gate_after(known, live=bool(live), resting=resting):
        _start(swarm, tree, definition)
    _tell(swarm, tree, known)


def _start(swarm: Swarm, tree: str, definition: str) -> None:
    landed = swarm.merge_entries.filter(status=EntryStatus.LANDED)
    green = swarm.gate_runs.filter(status=GateStatus.GREEN).order_by("pk").last()
    since = landed.filter(finished_at__gt=green.created_at) if green else landed
    run = GateRun(
        swarm=swarm,
        why=Why.AFTER,
        commit=swarm.head_sha,
        tree=tree,
        tip=green.commit if green else swarm.base_sha,
        entries=list(since.order_by("finished_at", "pk").values_list("public_id", flat=True)),
        definition=definition,
    )
    try:
        with moves(swarm) as together:
            run.save()
            together.created(run)
    except IntegrityError:
        return  # another writer was first: one live gate a tree


def _tell(swarm: Swarm, tree: str, known: Known) -> None:
    if not (known.green or known.surely_red):
        return
    reason = _reason(swarm, tree) if known.surely_red else ""
    if reason == swarm.queue_reason:
        return
    with moves(swarm) as together:
        Swarm.objects.filter(pk=swarm.pk).update(queue_reason=reason)
        together.record("swarm.noted", reason=reason or "The checks are green on the branch again.")


def _reason(swarm: Swarm, tree: str) -> str:
    run = swarm.gate_runs.filter(tree=tree, status=GateStatus.RED).order_by("pk").last()
    assert run is not None  # noqa: S101 - for the type checker: it was counted
    entries = swarm.merge_entries.filter(public_id__in=run.entries).order_by("finished_at", "pk")
    names = list(entries.values_list("subtask__name", flat=True))
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    since = f" Landed since it was green: {', '.join(names[:MOST_NAMED])}{more}." if names else ""
    return f"The checks are red on the branch: {run.status_reason}{since}"
