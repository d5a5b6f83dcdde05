"""A writer that dies between any two steps of a landing, or loses its lease: nothing is lost, nothing lands twice."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from orchestration.adapters.git.store import BareRepository
from orchestration.domain.errors import AdapterError
from orchestration.models import Lease, MergeEntry, Swarm
from orchestration.stages import branch as stage
from orchestration.stages.leases import take
from orchestration.stages.merge import merge
from orchestration.stages.rows import store_of
from tests.stages.dying import Killed, dying
from tests.stages.world import World, statuses


def queue_of_three(world: World) -> Swarm:
    swarm = world.running()
    for name in ("one", "two", "three"):
        world.queued(swarm, name, {f"{name}.txt": f"by {name}\n"})
    return swarm


def lease_of(swarm: Swarm) -> Any:
    return Lease.objects.filter(name=f"merge:{swarm.pk}")


def as_after_a_kill(swarm: Swarm) -> None:
    """A kill gives no lease back: it must run out first."""
    lease_of(swarm).update(token="the dead one's", expires_at=timezone.now() + timedelta(hours=1))
    before = list(MergeEntry.objects.values_list("pk", "status", "landed_sha"))
    merge(swarm.pk)
    assert list(MergeEntry.objects.values_list("pk", "status", "landed_sha")) == before
    lease_of(swarm).update(expires_at=timezone.now() - timedelta(seconds=1))


def audit(swarm: Swarm, names: set[str]) -> None:
    """Database and git agree, and git has each landing once with what its worker wrote."""
    swarm.refresh_from_db()
    store = store_of(swarm)
    tip = store.tip(swarm.branch)
    assert tip == swarm.head_sha
    assert statuses(swarm) == dict.fromkeys(names, "complete")
    rows = {entry.public_id: entry for entry in MergeEntry.objects.all()}
    assert {entry.status for entry in rows.values()} == {"landed"}
    landed = store.trailers(swarm.base_sha, tip, "MQ-Request")
    assert sorted(found for _, found in landed) == sorted(rows)
    for sha, public_id in landed:
        entry = rows[public_id]
        assert entry.landed_sha == sha
        assert store.is_ancestor(entry.head_sha, tip)
        name = entry.subtask.name
        assert store.read_file(tip, f"{name}.txt") == f"by {name}\n".encode()
    firsts = store.run("rev-list", "--first-parent", f"{swarm.base_sha}..{tip}").text.split()
    assert len(firsts) == len(rows)


STEPS: list[tuple[str, Any, str, str]] = [
    ("2 merged", BareRepository, "merge", "after"),
    ("3 checked", BareRepository, "merge_is_faithful", "after"),
    ("4 committed", BareRepository, "commit", "after"),
    ("5 pinned", BareRepository, "pin", "after"),
    ("6 intent not written", stage, "_intend", "before"),
    ("6 intent written", stage, "_intend", "after"),
    ("7 not swapped", BareRepository, "swap", "before"),
    ("7 swapped", BareRepository, "swap", "after"),
    ("8 not recorded", stage, "_record_landing", "before"),
    ("8 recorded", stage, "_record_landing", "after"),
    ("9 not unpinned", BareRepository, "unpin", "before"),
    ("9 unpinned", BareRepository, "unpin", "after"),
]


@pytest.mark.parametrize(("where", "name", "when"), [step[1:] for step in STEPS], ids=[step[0] for step in STEPS])
def test_a_crash_at_any_step_is_finished_by_the_next_run(
    world: World, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, when: str
):
    swarm = queue_of_three(world)
    with monkeypatch.context() as crash:
        crash.setattr(where, name, dying(getattr(where, name), when))
        with pytest.raises(Killed):
            merge(swarm.pk)
    as_after_a_kill(swarm)
    merge(swarm.pk)
    audit(swarm, {"one", "two", "three"})


@pytest.mark.parametrize(("name", "when"), [("swap", "before"), ("swap", "after"), ("commit", "after")])
def test_crash_after_crash(world: World, monkeypatch: pytest.MonkeyPatch, name: str, when: str):
    """Every run dies at the same place: each brings at most one entry further, and none back."""
    swarm = queue_of_three(world)
    with monkeypatch.context() as crash:
        crash.setattr(BareRepository, name, dying(getattr(BareRepository, name), when))
        for _ in range(4):
            try:
                merge(swarm.pk)
            except Killed:
                as_after_a_kill_without_look(swarm)
    merge(swarm.pk)
    audit(swarm, {"one", "two", "three"})


def as_after_a_kill_without_look(swarm: Swarm) -> None:
    lease_of(swarm).update(token="the dead one's", expires_at=timezone.now() - timedelta(seconds=1))


def test_a_crash_while_a_contained_head_lands(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm = world.running()
    entry = world.queued(swarm, "one", {"one.txt": "by one\n"})
    store = store_of(swarm)
    assert store.swap(swarm.branch, entry.head_sha, swarm.base_sha)
    with monkeypatch.context() as crash:
        crash.setattr(stage, "_record_landing", dying(stage._record_landing, "before"))
        with pytest.raises(Killed):
            merge(swarm.pk)
    as_after_a_kill(swarm)
    merge(swarm.pk)
    entry.refresh_from_db()
    assert (entry.status, entry.landed_sha) == ("landed", entry.head_sha)
    assert statuses(swarm) == {"one": "complete"}


def test_the_intent_is_durable_before_the_branch_moves(world: World, monkeypatch: pytest.MonkeyPatch):
    """What a recovery finds after a crash between swap and record."""
    swarm = world.running()
    world.queued(swarm, "one", {"one.txt": "by one\n"})
    with monkeypatch.context() as crash:
        crash.setattr(BareRepository, "swap", dying(BareRepository.swap, "after"))
        with pytest.raises(Killed):
            merge(swarm.pk)
    entry = MergeEntry.objects.get()
    assert (entry.status, entry.intent_old) == ("merging", swarm.base_sha)
    assert entry.intent_new == store_of(swarm).tip(swarm.branch)


def lock_of(swarm: Swarm) -> Any:
    path = store_of(swarm).path / "refs" / "heads" / f"{swarm.branch}.lock"
    path.touch()
    return path


def test_the_lock_of_a_writer_that_was_killed_is_removed(world: World):
    swarm = queue_of_three(world)
    lock = lock_of(swarm)
    os.utime(lock, (time.time() - 60, time.time() - 60))
    merge(swarm.pk)
    assert not lock.exists()
    audit(swarm, {"one", "two", "three"})


def test_a_lock_that_is_fresh_is_respected_and_evicts_nobody(world: World):
    swarm = queue_of_three(world)
    lock = lock_of(swarm)
    with pytest.raises(AdapterError) as caught:
        merge(swarm.pk)
    assert caught.value.transient
    assert lock.exists()
    assert "rejected" not in set(MergeEntry.objects.values_list("status", flat=True))
    lock.unlink()
    merge(swarm.pk)
    audit(swarm, {"one", "two", "three"})


# A lease that is taken over while its holder still runs.


def steal(swarm: Swarm) -> None:
    lease_of(swarm).update(expires_at=timezone.now() - timedelta(seconds=1))


def while_doing(
    name: str, act: Callable[[], None], monkeypatch: pytest.MonkeyPatch, owner: Any = BareRepository
) -> None:
    """`act` happens once, just before the first call."""
    real = getattr(owner, name)
    done: list[str] = []

    def function(*args: Any, **kwargs: Any) -> Any:
        if not done:
            done.append(name)
            act()
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, function)


def test_a_writer_that_lost_its_lease_before_the_intent_writes_nothing(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm = queue_of_three(world)

    def thief() -> None:
        steal(swarm)
        assert take(f"merge:{swarm.pk}", "the thief")

    while_doing("pin", thief, monkeypatch)
    merge(swarm.pk)
    assert set(MergeEntry.objects.values_list("status", "intent_new")) == {("queued", "")}
    assert store_of(swarm).tip(swarm.branch) == swarm.base_sha
    steal(swarm)
    merge(swarm.pk)
    audit(swarm, {"one", "two", "three"})


def test_a_writer_that_lost_its_lease_between_intent_and_swap_lands_nothing_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    """The other one lands everything; the first one's swap comes too late, and so does its record."""
    swarm = queue_of_three(world)

    def other() -> None:
        steal(swarm)
        merge(swarm.pk)

    while_doing("swap", other, monkeypatch)
    merge(swarm.pk)
    audit(swarm, {"one", "two", "three"})


def test_a_writer_that_lost_its_lease_between_swap_and_record_lands_nothing_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    swarm = queue_of_three(world)

    def other() -> None:
        steal(swarm)
        merge(swarm.pk)

    while_doing("_record_landing", other, monkeypatch, owner=stage)
    merge(swarm.pk)
    audit(swarm, {"one", "two", "three"})


def test_a_branch_that_moved_under_us_is_merged_with_again(world: World, monkeypatch: pytest.MonkeyPatch):
    """Somebody else's commit on our branch is kept: nothing is ever forced."""
    swarm = queue_of_three(world)
    foreign = world.commit(swarm, {"foreign.txt": "f\n"})
    store = store_of(swarm)
    while_doing("pin", lambda: _moved(store, swarm, foreign), monkeypatch)
    merge(swarm.pk)
    tip = store.tip(swarm.branch)
    assert tip
    assert store.is_ancestor(foreign, tip)
    assert set(MergeEntry.objects.values_list("status", flat=True)) == {"landed"}
    assert len(store.trailers(swarm.base_sha, tip, "MQ-Request")) == 3


def _moved(store: BareRepository, swarm: Swarm, to: str) -> None:
    store.swap(swarm.branch, to, swarm.base_sha)
