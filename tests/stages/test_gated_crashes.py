"""Gated mode where a worker dies at any step, or loses its lease: no verdict is made up, nothing is lost, and
nothing lands twice or without its proof."""

from __future__ import annotations

import signal
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from orchestration.adapters.git.store import BareRepository
from orchestration.domain.events import Stage
from orchestration.domain.states import ENTRY_OPEN
from orchestration.management.bench import killing
from orchestration.management.bench.killing import Kill
from orchestration.models import GateRun, Lease, MergeEntry, Swarm
from orchestration.stages import branch, gated
from orchestration.stages import gate as gating
from orchestration.stages.gate import gate
from orchestration.stages.merge import merge
from orchestration.stages.rows import store_of
from orchestration.stages.tick import take_over, tick
from tests.stages.dying import Killed, dying
from tests.stages.gates import audit, entries, queued, runs, work
from tests.stages.gates import gated as gated_swarm
from tests.stages.world import Nudges, World

pytestmark = pytest.mark.sandbox
NAMES = ("one", "two", "three")


def queue_of_three(world: World) -> Swarm:
    swarm = gated_swarm(world)
    queued(world, swarm, *NAMES, bad=["two"])
    return swarm


def leases_run_out() -> None:
    past = timezone.now() - timedelta(seconds=1)
    Lease.objects.exclude(token="").update(expires_at=past)
    GateRun.objects.filter(status="running").update(lease_expires_at=past)
    Swarm.objects.update(gate_not_before=None)


def ends_well(swarm: Swarm, nudges: Nudges) -> None:
    nudges.take()  # a kill loses every message: the tick alone finds what should be moving
    GateRun.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    tick()
    Swarm.objects.update(gate_not_before=None)
    work(swarm, nudges)
    assert entries() == {"one": "landed", "two": "rejected", "three": "landed"}
    audit(swarm)


STEPS: list[tuple[str, Any, str, str]] = [
    ("candidate not pinned", BareRepository, "pin", "before"),
    ("candidate pinned", BareRepository, "pin", "after"),
    ("gate not started", gated, "_start", "before"),
    ("gate started", gated, "_start", "after"),
    ("gate not claimed", gating, "_claim", "before"),
    ("gate claimed", gating, "_claim", "after"),
    ("gate runs", gating, "_results", "before"),
    ("gate ran", gating, "_results", "after"),
    ("verdict not recorded", gating, "_record", "before"),
    ("verdict recorded", gating, "_record", "after"),
    ("green, no intent", branch, "_intend", "before"),
    ("green, intent", branch, "_intend", "after"),
    ("not swapped", BareRepository, "swap", "before"),
    ("swapped", BareRepository, "swap", "after"),
    ("landing not recorded", branch, "_record_landing", "before"),
    ("landing recorded", branch, "_record_landing", "after"),
    ("culprit not evicted", gated, "reject", "before"),
    ("culprit evicted", gated, "reject", "after"),
    ("not unpinned", BareRepository, "unpin", "before"),
]


@pytest.mark.any_database
@pytest.mark.parametrize(("where", "name", "when"), [step[1:] for step in STEPS], ids=[step[0] for step in STEPS])
def test_a_crash_at_any_step_is_finished_by_the_next_run(  # noqa: PLR0917 - what is replaced
    world: World, nudges: Nudges, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, when: str
):
    swarm = queue_of_three(world)
    with monkeypatch.context() as crash:
        crash.setattr(where, name, dying(getattr(where, name), when))
        with pytest.raises(Killed):
            work(swarm, nudges)
    leases_run_out()
    ends_well(swarm, nudges)


def test_a_gate_whose_worker_died_is_no_verdict(world: World, nudges: Nudges, monkeypatch: pytest.MonkeyPatch):
    swarm = queue_of_three(world)
    merge(swarm.pk)
    with monkeypatch.context() as crash:
        crash.setattr(gating, "_results", dying(gating._results, "before"))
        with pytest.raises(Killed):
            gate(GateRun.objects.get().pk)
    tick()
    assert runs() == ["running"], "its lease has not run out"
    leases_run_out()
    tick()
    run = GateRun.objects.get()
    assert (run.status, run.status_reason) == ("infra", "The process that ran it is gone.")
    assert entries() == dict.fromkeys(NAMES, "gating")


def test_a_new_engine_takes_over_the_gates_of_the_last_one(world: World, nudges: Nudges):
    swarm = queue_of_three(world)
    merge(swarm.pk)
    run = GateRun.objects.get()
    assert gating._claim(run)
    take_over()
    run.refresh_from_db()
    assert run.status == "infra"
    leases_run_out()
    ends_well(swarm, nudges)


def test_a_verdict_that_comes_after_the_lease_was_lost_is_nobodys(
    world: World, nudges: Nudges, monkeypatch: pytest.MonkeyPatch
):
    swarm = queue_of_three(world)
    merge(swarm.pk)
    real = gating._results

    def slow(*args: Any) -> Any:
        found = real(*args)
        leases_run_out()
        tick()
        return found

    with monkeypatch.context() as late:
        late.setattr(gating, "_results", slow)
        gate(GateRun.objects.get().pk)
    assert runs() == ["infra"]
    Swarm.objects.update(gate_not_before=None)
    ends_well(swarm, nudges)


def test_a_gate_is_run_once_however_often_it_is_nudged(world: World, nudges: Nudges, monkeypatch: pytest.MonkeyPatch):
    swarm = queue_of_three(world)
    merge(swarm.pk)
    ran: list[int] = []
    real = gating._results

    def counted(*args: Any) -> Any:
        ran.append(1)
        return real(*args)

    monkeypatch.setattr(gating, "_results", counted)
    run = GateRun.objects.get()
    for _ in range(3):
        gate(run.pk)
    assert len(ran) == 1
    gate(10**9)  # and of a row that is not there nothing comes


def test_an_intent_that_was_not_carried_out_keeps_everybodys_place(
    world: World, nudges: Nudges, monkeypatch: pytest.MonkeyPatch
):
    """Then the candidates are the same commits again, and their gates need not be run anew."""
    swarm = gated_swarm(world)
    queued(world, swarm, *NAMES)
    with monkeypatch.context() as crash:
        crash.setattr(BareRepository, "swap", dying(BareRepository.swap, "before"))
        with pytest.raises(Killed):
            work(swarm, nudges)
    assert set(MergeEntry.objects.values_list("status", flat=True)) == {"merging"}
    leases_run_out()
    work(swarm, nudges)
    assert entries() == dict.fromkeys(NAMES, "landed")
    assert runs() == ["green"]
    audit(swarm)


def test_a_branch_that_moved_under_its_gates_is_gated_again(world: World, nudges: Nudges):
    """The proof was of another commit: nothing lands on what somebody else put there without a new one."""
    swarm = gated_swarm(world)
    queued(world, swarm, "one")
    merge(swarm.pk)
    first = GateRun.objects.get()
    gate(first.pk)
    foreign = world.commit(swarm, {"foreign.txt": "f\n"})
    store = store_of(swarm)
    assert store.swap(swarm.branch, foreign, swarm.base_sha)
    work(swarm, nudges)
    tip = store.tip(swarm.branch)
    assert tip
    assert store.is_ancestor(foreign, tip)
    landed = MergeEntry.objects.get()
    assert landed.gate_run is not None
    assert landed.gate_run != first
    assert landed.gate_run.commit == tip


def test_gates_of_a_swarm_that_is_over_are_ended_by_the_tick(world: World, nudges: Nudges):
    swarm = queue_of_three(world)
    merge(swarm.pk)
    MergeEntry.objects.update(status="cancelled")
    Swarm.objects.update(status="cancelled", finished_at=timezone.now())
    nudges.take()
    tick()
    assert (Stage.MERGE, swarm.pk) in nudges.take()
    merge(swarm.pk)
    assert runs() == ["cancelled"]


# A real process, and a real kill.


def through_gates(swarm_id: int) -> None:
    """As an engine would with nobody else beside it."""
    merge(swarm_id)
    while waiting := list(GateRun.objects.filter(swarm=swarm_id, status="waiting").values_list("pk", flat=True)):
        for run_id in waiting:
            gate(run_id)
        merge(swarm_id)


KILLS = ["5 pinned", "5 gate half claimed", "5 verdict half written", "6 intent half written", "7 swapped"]


@pytest.mark.parametrize("step", KILLS)
def test_a_process_that_is_killed_between_gate_and_landing_costs_nobody_anything(
    world: World, nudges: Nudges, step: str
):
    swarm = queue_of_three(world)
    path = store_of(swarm).path
    assert killing.ended(killing.start(swarm.pk, path, Kill(step), through_gates)) == -signal.SIGKILL
    for _ in range(20):
        Swarm.objects.update(gate_not_before=None)
        assert killing.ended(killing.start(swarm.pk, path, work=through_gates)) == 0
        if not MergeEntry.objects.filter(status__in=ENTRY_OPEN).exists():
            break
    assert entries() == {"one": "landed", "two": "rejected", "three": "landed"}
    audit(swarm)
