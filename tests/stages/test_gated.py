"""Gated mode: only what a gate proved lands, only a confirmed culprit is evicted, and everybody is told why."""

from __future__ import annotations

import pytest
from django.db import IntegrityError

from orchestration.adapters import storage
from orchestration.adapters.git.session import Session
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.events import Stage
from orchestration.models import Event, GateRun, MergeEntry, Repository, Subtask, Swarm
from orchestration.stages import branch
from orchestration.stages import gate as gating
from orchestration.stages.branch import Ungated, Writer
from orchestration.stages.ladder import build
from orchestration.stages.landing import Link
from orchestration.stages.leases import take
from orchestration.stages.merge import merge
from orchestration.stages.rows import store_of
from orchestration.stages.steer import cancel
from tests.stages.gates import audit, entries, gated, queued, runs, said, work
from tests.stages.world import Nudges, World, statuses

pytestmark = pytest.mark.sandbox


def kinds(swarm: Swarm, prefix: str) -> list[str]:
    return [kind for kind in swarm.events.order_by("seq").values_list("kind", flat=True) if kind.startswith(prefix)]


def test_nothing_lands_before_its_gate_is_green(world: World, nudges: Nudges):
    swarm = gated(world)
    queued(world, swarm, "one", "two")
    merge(swarm.pk)
    run = GateRun.objects.get()
    assert entries() == {"one": "gating", "two": "gating"}
    assert store_of(swarm).tip(swarm.branch) == swarm.base_sha
    assert (run.status, run.why, len(run.entries)) == ("waiting", "to land these together", 2)
    assert (Stage.GATE, run.pk) in nudges.all
    assert store_of(swarm).pins("candidates") == {f"{swarm.public_id}-{run.public_id}": run.commit}
    work(swarm, nudges)
    assert entries() == {"one": "landed", "two": "landed"}
    assert statuses(swarm) == {"one": "complete", "two": "complete"}
    audit(swarm)


def test_the_branch_moves_to_the_very_commit_that_was_gated(world: World, nudges: Nudges):
    swarm = gated(world)
    queued(world, swarm, "one", "two", "three")
    work(swarm, nudges)
    run = GateRun.objects.get()
    assert store_of(swarm).tip(swarm.branch) == run.commit
    assert {entry.gate_run for entry in MergeEntry.objects.all()} == {run}


def test_a_gate_sees_the_candidate_and_keeps_what_it_printed(world: World, nudges: Nudges):
    swarm = gated(world, "cat one.txt two.txt", "seq 2000")
    queued(world, swarm, "one", "two")
    work(swarm, nudges)
    run = GateRun.objects.get()
    assert [(one["command"], one["passed"], one["ending"]) for one in run.results] == [
        ("cat one.txt two.txt", True, "exit code 0"),
        ("seq 2000", True, "exit code 0"),
    ]
    log = storage.blobs().get(run.log_sha256).decode()
    assert log.startswith("$ cat one.txt two.txt\nby one\nby two\n[exit code 0]\n\n$ seq 2000\n1\n2\n")
    assert (len(log), log.endswith(run.log_tail), len(run.log_tail)) == (run.log_size, True, gating.TAIL_CHARACTERS)


@pytest.mark.parametrize("at_once", [1, 3])
def test_the_culprit_alone_is_evicted_and_told_why(world: World, nudges: Nudges, at_once: int):
    swarm = gated(world, "test ! -e bad.txt || { echo the file is bad; exit 3; }", at_once=at_once)
    names = [f"e{number}" for number in range(7)]
    queued(world, swarm, *names, bad=["e4"])
    work(swarm, nudges)
    assert entries() == dict.fromkeys(names, "landed") | {"e4": "rejected"}
    assert statuses(swarm)["e4"] == "failed"
    reason = Subtask.objects.get(name="e4").status_reason
    assert reason.startswith("Its gate was red 2 times on ")
    assert "is red (exit code 3)." in reason
    assert "the file is bad" in reason
    audit(swarm)
    swarm.refresh_from_db()
    assert "red" in runs()


def test_two_that_are_red_only_together_cost_one_of_them_its_place(world: World, nudges: Nudges):
    swarm = gated(world, "! { test -e e1.txt && test -e e3.txt; }")
    queued(world, swarm, "e1", "e2", "e3", "e4")
    work(swarm, nudges)
    assert entries() == {"e1": "landed", "e2": "landed", "e3": "rejected", "e4": "landed"}
    audit(swarm)


def test_nobody_is_evicted_before_the_branch_itself_was_found_green(world: World, nudges: Nudges):
    swarm = gated(world)
    queued(world, swarm, "one", bad=["one"])
    work(swarm, nudges)
    assert entries() == {"one": "rejected"}
    tip = GateRun.objects.get(commit=swarm.base_sha)
    assert (tip.status, tip.entries) == ("green", [])


def test_where_the_branch_itself_is_red_nobody_is_evicted_and_the_queue_says_so(world: World, nudges: Nudges):
    swarm = gated(world, "test -e cure.txt")
    queued(world, swarm, "one", "two")
    work(swarm, nudges)
    swarm.refresh_from_db()
    assert entries() == {"one": "gating", "two": "gating"}
    assert swarm.queue_reason == "The gate is red on the branch itself, so nobody who waits is to blame."
    assert kinds(swarm, "swarm.queue") == ["swarm.queue_paused"]
    before = len(runs())
    work(swarm, nudges)
    assert len(runs()) == before
    queued(world, swarm, "cure")
    work(swarm, nudges)
    swarm.refresh_from_db()
    assert entries() == {"one": "landed", "two": "landed", "cure": "landed"}
    assert (swarm.queue_reason, kinds(swarm, "swarm.queue")[1:]) == ("", ["swarm.queue_resumed"])
    audit(swarm)


def test_a_flake_costs_nobody_anything_and_is_recorded(world: World, nudges: Nudges, monkeypatch: pytest.MonkeyPatch):
    swarm = gated(world)
    queued(world, swarm, "one", "two")
    monkeypatch.setattr(gating, "_results", said(lambda run: GateRun.objects.count() == 1))
    work(swarm, nudges)
    assert entries() == {"one": "landed", "two": "landed"}
    flaky = GateRun.objects.get(flake=True)
    assert (flaky.status, len(flaky.entries)) == ("red", 2)
    assert kinds(swarm, "gate.flaked") == ["gate.flaked"]
    audit(swarm)


def test_several_gates_run_at_once_and_the_longest_green_lands(world: World, nudges: Nudges):
    swarm = gated(world, at_once=4)
    queued(world, swarm, *(f"e{number}" for number in range(8)))
    merge(swarm.pk)
    assert sorted(len(run.entries) for run in GateRun.objects.all()) == [2, 4, 6, 8]
    whole = max(GateRun.objects.all(), key=lambda run: len(run.entries))
    gating.gate(whole.pk)
    merge(swarm.pk)
    assert set(entries().values()) == {"landed"}
    assert sorted(runs()) == ["cancelled", "cancelled", "cancelled", "green"]
    audit(swarm)


def test_strict_commits_land_one_proof_each(world: World, nudges: Nudges):
    swarm = gated(world, at_once=2, strict=True)
    names = ["e1", "e2", "e3", "e4"]
    queued(world, swarm, *names, bad=["e2"])
    work(swarm, nudges)
    assert entries() == dict.fromkeys(names, "landed") | {"e2": "rejected"}
    for entry in MergeEntry.objects.filter(status="landed"):
        assert entry.gate_run is not None
        assert entry.gate_run.commit == entry.landed_sha
    audit(swarm)


def test_the_cap_grows_with_landings_and_shrinks_with_culprits(world: World, nudges: Nudges):
    swarm = gated(world)
    queued(world, swarm, "one")
    work(swarm, nudges)
    swarm.refresh_from_db()
    assert swarm.gate_cap == 12
    queued(world, swarm, "two", bad=["two"])
    work(swarm, nudges)
    swarm.refresh_from_db()
    assert swarm.gate_cap == 6


def test_what_conflicts_with_the_branch_is_a_conflict_and_costs_no_gate(world: World, nudges: Nudges):
    swarm = gated(world)
    world.queued(swarm, "first", {"a.txt": "FIRST\n"})
    work(swarm, nudges)
    world.queued(swarm, "second", {"a.txt": "SECOND\n"})
    merge(swarm.pk)
    assert entries() == {"first": "landed", "second": "conflict"}
    assert len(runs()) == 1


def test_what_conflicts_with_one_that_is_evicted_lands(world: World, nudges: Nudges):
    swarm = gated(world)
    world.queued(swarm, "first", {"a.txt": "FIRST\n", "bad.txt": "x\n"})
    world.queued(swarm, "second", {"a.txt": "SECOND\n"})
    merge(swarm.pk)
    waiting = MergeEntry.objects.get(subtask__name="second")
    assert waiting.status == "queued"
    assert waiting.status_reason.startswith("It conflicts with what is gated before it")
    work(swarm, nudges)
    assert entries() == {"first": "rejected", "second": "landed"}
    audit(swarm)


def test_what_conflicts_with_one_that_lands_is_a_conflict(world: World, nudges: Nudges):
    swarm = gated(world)
    world.queued(swarm, "first", {"a.txt": "FIRST\n"})
    world.queued(swarm, "second", {"a.txt": "SECOND\n"})
    work(swarm, nudges)
    assert entries() == {"first": "landed", "second": "conflict"}
    audit(swarm)


def test_what_is_contained_already_lands_without_a_gate(world: World, nudges: Nudges):
    swarm = gated(world)
    first = world.queued(swarm, "first", {"new.txt": "n\n"})
    work(swarm, nudges)
    first.refresh_from_db()
    world.queued(swarm, "second", {"new.txt": "n\n"})
    merge(swarm.pk)
    assert entries() == {"first": "landed", "second": "landed"}
    assert MergeEntry.objects.get(subtask__name="second").landed_sha == first.landed_sha
    assert runs() == ["green"]


def test_a_verdict_holds_for_every_candidate_with_the_same_files(world: World, nudges: Nudges):
    """The second puts back what the first did away with: then the branch is what it was, and known to be green."""
    swarm = gated(world)
    queued(world, swarm, "one")
    work(swarm, nudges)
    before = len(runs())
    tip = store_of(swarm).tip(swarm.branch) or ""
    removed = world.commit(swarm, {"one.txt": None}, base=tip)
    world.queued(swarm, "both", {"one.txt": "by one\n"}, base=removed)
    merge(swarm.pk)
    assert entries() == {"one": "landed", "both": "landed"}
    assert len(runs()) == before


def test_other_checks_need_other_proof(world: World, nudges: Nudges):
    swarm = gated(world)
    queued(world, swarm, "one")
    merge(swarm.pk)
    Repository.objects.update(checks=["test -e one.txt"])
    work(swarm, nudges)
    assert runs() == ["cancelled", "green"]
    assert len(set(GateRun.objects.values_list("definition", flat=True))) == 2
    audit(Swarm.objects.select_related("repository").get(pk=swarm.pk))


def test_without_checks_nothing_can_be_proved(world: World, nudges: Nudges):
    with pytest.raises(InvalidInput, match="has no checks, so nothing could land gated"):
        world.submit(gate="gated")
    swarm = gated(world)
    Repository.objects.update(checks=[])
    queued(world, swarm, "one")
    work(swarm, nudges)
    swarm.refresh_from_db()
    assert entries() == {"one": "queued"}
    assert swarm.queue_reason.startswith("This repository has no checks any more")


@pytest.mark.any_database
def test_a_command_that_exceeds_its_own_time_is_red(world: World, nudges: Nudges):
    swarm = gated(world, "test ! -e bad.txt || sleep 60")
    Repository.objects.update(check_timeout_s=4)
    world.repository.refresh_from_db()
    queued(world, swarm, "one", bad=["one"])
    work(swarm, nudges)
    assert entries() == {"one": "rejected"}
    assert "(killed after 4 s)" in MergeEntry.objects.get().status_reason


def test_a_machine_that_fails_evicts_nobody_and_pauses_the_queue(
    world: World, nudges: Nudges, monkeypatch: pytest.MonkeyPatch
):
    swarm = gated(world)
    queued(world, swarm, "one")

    def broken(**which: object) -> object:
        raise AdapterError(Failure.TRANSIENT, "No space left on the device.")

    with monkeypatch.context() as failing:
        failing.setattr(storage, "sandbox_for", broken)
        for _ in range(3):
            work(swarm, nudges)
            swarm.refresh_from_db()
            assert swarm.gate_not_before is not None
            Swarm.objects.update(gate_not_before=None)
        work(swarm, nudges)
    swarm.refresh_from_db()
    assert runs() == ["infra"] * 4
    assert entries() == {"one": "gating"}
    assert swarm.queue_reason == (
        "The gate could not be run 4 times in a row; it is tried again: No space left on the device."
    )
    assert kinds(swarm, "swarm.queue") == ["swarm.queue_paused"]
    Swarm.objects.update(gate_not_before=None)
    work(swarm, nudges)
    swarm.refresh_from_db()
    assert entries() == {"one": "landed"}
    assert (swarm.queue_reason, swarm.gate_failures) == ("", 0)
    audit(swarm)


def test_a_failed_gate_rests_before_it_is_tried_again(world: World, nudges: Nudges, monkeypatch: pytest.MonkeyPatch):
    swarm = gated(world)
    queued(world, swarm, "one")
    with monkeypatch.context() as failing:
        failing.setattr(gating, "_results", lambda *_: (_ for _ in ()).throw(OSError("The disk is gone.")))
        work(swarm, nudges)
    work(swarm, nudges)
    assert runs() == ["infra"]


def test_a_cancelled_swarm_lands_nothing_and_leaves_no_gate_running(world: World, nudges: Nudges):
    swarm = gated(world)
    queued(world, swarm, "one", "two")
    merge(swarm.pk)
    cancel(swarm, world.ada)
    work(swarm, nudges)
    assert set(entries().values()) == {"cancelled"}
    assert runs() == ["cancelled"]
    assert store_of(swarm).tip(swarm.branch) == swarm.base_sha
    assert store_of(swarm).pins("candidates") == {}


def test_an_optimistic_swarm_is_not_gated(world: World):
    Repository.objects.update(checks=["false"])
    world.repository.refresh_from_db()
    swarm = world.running(gate="off")
    queued(world, swarm, "one")
    merge(swarm.pk)
    assert entries() == {"one": "landed"}
    assert runs() == []


# The guards themselves.


def writer_of(swarm: Swarm, store: Session) -> Writer:
    lease = take(f"merge:{swarm.pk}")
    assert lease
    return Writer(swarm, store, lease, gated=True)


@pytest.mark.parametrize("strict", [False, True])
def test_a_landing_without_a_green_gate_is_refused(world: World, nudges: Nudges, strict: bool):
    swarm = gated(world, strict=strict)
    queued(world, swarm, "one", "two")
    merge(swarm.pk)
    with Session(store_of(swarm).path) as store:
        writer = writer_of(swarm, store)
        chain = branch_links(writer, swarm)
        with pytest.raises(Ungated):
            branch.land(writer, swarm.base_sha, chain)
        if strict:  # a green last one proves itself alone
            GateRun.objects.create(
                swarm=swarm,
                status="green",
                commit=chain[-1].new,
                tree=store.tree(chain[-1].new),
                tip=swarm.base_sha,
                definition=gating.definition_of(swarm.repository),
                finished_at=swarm.created_at,
            )
            with pytest.raises(Ungated):
                branch.land(writer, swarm.base_sha, chain)
    assert store_of(swarm).tip(swarm.branch) == swarm.base_sha


def branch_links(writer: Writer, swarm: Swarm) -> list[Link]:
    return build(writer).links


def test_the_database_refuses_a_gated_landing_without_its_gate(world: World):
    swarm = gated(world)
    queued(world, swarm, "one")
    with pytest.raises(IntegrityError, match="gated_entry_has_green_gate"):
        MergeEntry.objects.update(gated=True, status="landed", landed_sha="a" * 40, intent_new="a" * 40)


def test_every_gate_and_its_verdict_are_in_the_log(world: World, nudges: Nudges):
    swarm = gated(world)
    queued(world, swarm, "one")
    work(swarm, nudges)
    assert kinds(swarm, "gate.") == ["gate.waiting", "gate.running", "gate.green"]
    facts = Event.objects.filter(kind="gate.green").get().facts
    run = GateRun.objects.get()
    assert (facts["id"], facts["commit"], facts["entries"]) == (run.public_id, run.commit, run.entries)
