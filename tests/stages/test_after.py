"""Optimistic mode: landing waits for nobody, and what the checks say of the branch afterwards is told."""

from __future__ import annotations

import pytest

from orchestration.domain.events import Stage
from orchestration.models import GateRun, Repository, Swarm
from orchestration.stages import gate as gating
from orchestration.stages.after import look_after
from orchestration.stages.merge import merge
from orchestration.stages.rows import swarm_row
from orchestration.stages.steer import cancel
from tests.stages.gates import GOOD, entries, queued, runs, said, work
from tests.stages.world import Nudges, World

pytestmark = pytest.mark.sandbox


def optimistic(world: World, *checks: str, gate: str = "optimistic") -> Swarm:
    Repository.objects.filter(pk=world.repository.pk).update(checks=list(checks))
    world.repository.refresh_from_db()
    return world.running(gate=gate)


def reason(swarm: Swarm) -> str:
    swarm.refresh_from_db()
    return swarm.queue_reason


def test_it_lands_at_once_and_the_tip_is_gated_afterwards(world: World, nudges: Nudges):
    swarm = optimistic(world, GOOD)
    queued(world, swarm, "one", "two")
    merge(swarm.pk)
    assert entries() == {"one": "landed", "two": "landed"}
    run = GateRun.objects.get()
    swarm.refresh_from_db()
    assert (run.commit, run.tip, run.why) == (swarm.head_sha, swarm.base_sha, "to see whether what landed is green")
    assert (Stage.GATE, run.pk) in nudges.all
    work(swarm, nudges)
    assert (runs(), reason(swarm)) == (["green"], "")


def test_a_red_branch_is_tried_twice_and_told_with_what_landed_since(world: World, nudges: Nudges):
    swarm = optimistic(world, GOOD)
    queued(world, swarm, "one")
    work(swarm, nudges)
    queued(world, swarm, "two", "three", bad=["two"])
    work(swarm, nudges)
    assert set(entries().values()) == {"landed"}
    assert runs() == ["green", "red", "red"]
    assert reason(swarm) == (
        f"The checks are red on the branch: `{GOOD}` is red (exit code 1). Landed since it was green: two, three."
    )
    fix = world.commit(swarm, {"bad.txt": None}, base=swarm.head_sha)
    world.queued(swarm, "fix", {"fixed.txt": "x\n"}, base=fix)
    work(swarm, nudges)
    assert (entries()["fix"], reason(swarm)) == ("landed", "")


def test_one_red_is_no_verdict(world: World, nudges: Nudges, monkeypatch: pytest.MonkeyPatch):
    swarm = optimistic(world, GOOD)
    queued(world, swarm, "one")
    monkeypatch.setattr(gating, "_results", said(lambda run: GateRun.objects.count() == 1))
    work(swarm, nudges)
    assert (runs(), reason(swarm)) == (["red", "green"], "")


def test_one_gate_runs_at_a_time_and_the_next_is_of_the_latest_tip(world: World, nudges: Nudges):
    swarm = optimistic(world, GOOD)
    for name in ("one", "two", "three"):
        queued(world, swarm, name)
        merge(swarm.pk)
    assert runs() == ["waiting"]
    work(swarm, nudges)
    swarm.refresh_from_db()
    assert GateRun.objects.last().commit == swarm.head_sha  # type: ignore[union-attr]
    assert runs() == ["green", "green"]


@pytest.mark.parametrize(("gate", "checks"), [("off", [GOOD]), ("optimistic", [])])
def test_where_nothing_is_to_be_gated_nothing_is(world: World, gate: str, checks: list[str]):
    swarm = optimistic(world, *checks, gate=gate)
    queued(world, swarm, "one")
    merge(swarm.pk)
    assert (entries(), runs()) == ({"one": "landed"}, [])


def test_checks_that_come_while_something_lands_are_run(world: World):
    swarm = swarm_row(optimistic(world).pk)
    queued(world, swarm, "one")
    merge(swarm.pk)
    Repository.objects.update(checks=[GOOD])
    look_after(swarm)
    assert runs() == ["waiting"]


def test_nothing_is_gated_before_anything_landed_or_after_the_end(world: World):
    swarm = optimistic(world, GOOD)
    merge(swarm.pk)
    assert runs() == []
    queued(world, swarm, "one")
    merge(swarm.pk)
    cancel(swarm, world.ada)
    merge(swarm.pk)
    assert runs() == ["cancelled"]
