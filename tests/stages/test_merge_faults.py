"""The queue where things go wrong: a wrong base, a faulty git, a lease that is taken over, nudges that are lost."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from orchestration.adapters.git.directory import GitDirectory
from orchestration.adapters.git.session import Session
from orchestration.domain.errors import AdapterError
from orchestration.domain.states import ENTRY_OPEN
from orchestration.management.bench import killing
from orchestration.management.bench.crash import FILES, audit, edits, faults
from orchestration.management.bench.killing import Kill
from orchestration.management.bench.merging import Bench
from orchestration.management.bench.synthetic import file_name
from orchestration.models import Lease, MergeEntry, Swarm
from orchestration.stages.leases import take
from orchestration.stages.maintain import tidy
from orchestration.stages.merge import merge
from orchestration.stages.rows import store_of
from orchestration.stages.tick import tick
from tests.stages.test_merge import content, due_again, entries, landings
from tests.stages.world import Nudges, World, at_once


def queue_of(world: World, *names: str) -> Swarm:
    swarm = world.running()
    for name in names:
        world.queued(swarm, name, {f"{name}.txt": f"by {name}\n"})
    return swarm


# Merges on something that is not the tip: what a merge queue once did to thousands of pull requests.


@pytest.mark.parametrize("wrong", ["the base", "the tip before"])
def test_a_merge_on_a_wrong_base_reverts_nobody(world: World, monkeypatch: pytest.MonkeyPatch, wrong: str):
    swarm = queue_of(world, "one", "two", "three")
    real, tips = Session.merge, [swarm.base_sha]

    def on_a_wrong_base(self: Session, ours: str, theirs: str) -> Any:
        tips.append(ours)
        return real(self, tips[0] if wrong == "the base" else tips[-2], theirs)

    monkeypatch.setattr(Session, "merge", on_a_wrong_base)
    merge(swarm.pk)
    ended = entries()
    assert ended["one"] == "landed"
    assert set(ended.values()) == {"landed", "rejected"}
    assert MergeEntry.objects.filter(status="rejected", status_reason__contains="what nobody changed").exists()
    for name in landings(swarm):
        assert content(swarm, f"{name}.txt") == f"by {name}\n"


def test_without_the_content_check_a_wrong_base_reverts_what_had_landed(world: World, monkeypatch: pytest.MonkeyPatch):
    """The control of the test above."""
    swarm = queue_of(world, "one", "two")
    real = Session.merge
    monkeypatch.setattr(Session, "merge", lambda self, _, theirs: real(self, swarm.base_sha, theirs))
    monkeypatch.setattr(Session, "merge_is_faithful", lambda *_, **__: ())
    merge(swarm.pk)
    assert set(entries().values()) == {"landed"}
    assert content(swarm, "one.txt") is None


# A git that fails: nobody is evicted, nothing is lost, nothing is told that is not so.

FAULTS = {
    "exit code 128": "echo 'fatal: something' >&2; exit 128",
    "no space": "echo 'fatal: unable to write: No space left on device' >&2; exit 128",
    "killed": "kill -9 $$",
    "silent": "exit 0",
    "cut in the tree": "printf '0123456789abcdef'; exit 0",
    "cut after the tree": r"printf '0123456789abcdef0123456789abcdef01234567\\0'; exit 1",
    "cut in an entry": r"printf '0123456789abcdef0123456789abcdef01234567\\000100644 01'; exit 1",
    "hangs": "sleep 600",
}


def impatient(command: str) -> Callable[..., Any]:
    """Waits half a second for one command; the others may be slow where the machine is busy."""
    real = GitDirectory.run

    def run(self: GitDirectory, *words: str, **how: Any) -> Any:
        return real(self, *words, **({"timeout_s": 0.5} if command in words else {}) | how)

    return run


@pytest.fixture
def faulty_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """A git on the PATH that fails at one command and is git for the others."""
    real = shutil.which("git")

    def install(command: str, fault: str) -> None:
        program = tmp_path / "faulty" / "git"
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\nfor word; do [ "$word" = {command} ] && {{ {fault}; }}; done\nexec {real} "$@"\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        if fault == FAULTS["hangs"]:
            monkeypatch.setattr(GitDirectory, "run", impatient(command))

    return install


def tried(swarm: Swarm) -> None:
    try:
        merge(swarm.pk)
    except AdapterError as error:
        assert str(error)  # noqa: PT017 - one that raises is as good as one that puts aside


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_git_that_fails_at_merging_evicts_nobody(
    world: World, faulty_git: Any, monkeypatch: pytest.MonkeyPatch, fault: str
):
    swarm = queue_of(world, "one", "two")
    with monkeypatch.context():
        faulty_git("merge-tree", fault)
        tried(swarm)
    assert entries() == {"one": "queued", "two": "queued"}
    assert all(MergeEntry.objects.values_list("status_reason", flat=True)), "and each says why"
    assert store_of(swarm).tip(swarm.branch) == swarm.base_sha


@pytest.mark.parametrize("command", ["cat-file", "diff-tree", "rev-list", "merge-base", "update-ref", "for-each-ref"])
@pytest.mark.parametrize("fault", ["exit code 128", "cut in the tree"])
def test_whatever_fails_everything_lands_once_when_git_works_again(
    world: World, faulty_git: Any, monkeypatch: pytest.MonkeyPatch, command: str, fault: str
):
    swarm = queue_of(world, "one", "two")
    path = os.environ["PATH"]
    faulty_git(command, FAULTS[fault])
    tried(swarm)
    assert not set(entries().values()) & {"rejected", "conflict", "cancelled"}
    monkeypatch.setenv("PATH", path)
    due_again()
    merge(swarm.pk)
    assert sorted(landings(swarm)) == ["one", "two"]
    assert set(entries().values()) == {"landed"}


# Leases and nudges.


@pytest.fixture
def arena(settings: Any, tmp_path: Path) -> Bench:
    settings.DATA_DIR = tmp_path
    return Bench(FILES)


@pytest.mark.parametrize("step", ["4 committed", "5 pinned", "6 intent written", "7 swapped", "8 recorded"])
def test_an_owner_that_slept_through_its_lease_neither_swaps_nor_records(arena: Bench, step: str):
    """A real process, stopped; another takes over and lands everything; the first goes on as if nothing had been."""
    work = edits(step)
    swarm = arena.queue(arena.heads(work))
    sleeper = killing.start(swarm.pk, arena.store.path, Kill(step, signal=signal.SIGSTOP))
    assert os.WIFSTOPPED(os.waitpid(sleeper, os.WUNTRACED)[1])
    assert killing.ended(killing.start(swarm.pk, arena.store.path)) == 0
    swarm.refresh_from_db()
    tip = arena.store.tip(swarm.branch)
    assert audit(swarm, arena.store, work) == []
    os.kill(sleeper, signal.SIGCONT)
    assert killing.ended(sleeper) == 0
    assert arena.store.tip(swarm.branch) == tip
    assert audit(swarm, arena.store, work) == []


@pytest.mark.parametrize(
    "kill",
    [Kill("4 committed", 9), Kill("7 swapped", 2), Kill("8 record half written", 5), Kill("6 intent half written", 12)],
    ids=lambda kill: f"{kill.step}, time {kill.count}",
)
def test_a_kill_in_the_middle_of_two_chains_is_mended(arena: Bench, kill: Kill):
    work = [{file_name(number): f"CHANGED = {number}\n"} for number in range(20)]
    swarm = arena.queue(arena.heads(work))
    assert killing.ended(killing.start(swarm.pk, arena.store.path, kill)) == -signal.SIGKILL
    assert killing.ended(killing.start(swarm.pk, arena.store.path)) == 0
    assert set(swarm.merge_entries.values_list("status", flat=True)) == {"landed"}
    swarm.refresh_from_db()
    assert [one for one in audit(swarm, arena.store, work) if not one.startswith("lost: the entries")] == []
    assert faults(arena.store) == []


def test_a_merge_that_takes_long_keeps_its_lease(world: World, settings: Any, monkeypatch: Any):
    settings.SWARM = settings.SWARM | {"LEASE_SECONDS": 6}
    swarm = queue_of(world, "one")
    lease = Lease.objects.filter(name=f"merge:{swarm.pk}").values_list("expires_at", flat=True)
    real, refused, renewed = Session.merge, set[object](), []

    def slow(self: Session, ours: str, theirs: str) -> Any:
        first, end = lease.get(), timezone.now() + timedelta(seconds=60)
        while lease.get() == first and timezone.now() < end:
            refused.add(take(f"merge:{swarm.pk}", "a thief"))
            threading.Event().wait(0.05)
        renewed.append(lease.get() != first)
        return real(self, ours, theirs)

    monkeypatch.setattr(Session, "merge", slow)
    merge(swarm.pk)
    assert (refused, renewed) == ({None}, [True])
    assert entries() == {"one": "landed"}


def test_nudges_that_are_lost_cost_a_ticks_delay(world: World, nudges: Nudges):
    swarm = queue_of(world, "one", "two")
    nudges.take()
    tick()
    nudges.run_only_what_is_there()
    assert sorted(landings(swarm)) == ["one", "two"]


def test_nudges_that_come_twice_land_once(world: World):
    swarm = queue_of(world, "one", "two")
    for _ in range(3):
        merge(swarm.pk)
    at_once(*[lambda: merge(swarm.pk)] * 3)
    assert sorted(landings(swarm)) == ["one", "two"]


def test_many_submit_and_two_land_while_it_is_packed(arena: Bench):
    """16 submitters, two would-be landers and a maintenance that never rests."""
    work = [{file_name(number): f"CHANGED = {number}\n"} for number in range(16)]
    heads = arena.heads(work)
    swarm = arena.queue(())
    submitted = threading.Semaphore(0)
    over = threading.Event()
    end = timezone.now() + timedelta(seconds=60)

    def submit(number: int) -> None:
        try:
            arena.enqueue(swarm, f"work-{number:03d}", heads[number])
        finally:
            submitted.release()

    def land() -> None:
        while not over.is_set() and timezone.now() < end:
            merge(swarm.pk)

    def keep_packing() -> None:
        while not over.is_set() and timezone.now() < end:
            tidy(arena.store)
            arena.store.pack()

    def watch() -> None:
        for _ in work:
            submitted.acquire(timeout=60)
        while swarm.merge_entries.filter(status__in=ENTRY_OPEN).exists() and timezone.now() < end:
            merge(swarm.pk)
        over.set()

    submitters: Iterator[Callable[[], None]] = ((lambda number=number: submit(number)) for number in range(16))
    assert at_once(*submitters, land, land, keep_packing, watch) == [None] * 20
    assert swarm.merge_entries.filter(status="landed").count() == 16
    rows = {entry.subtask.name: entry for entry in swarm.merge_entries.select_related("subtask")}
    swarm.refresh_from_db()
    ordered = [
        work[int(entry.subtask.name.removeprefix("work-"))] for entry in sorted(rows.values(), key=lambda e: e.pk)
    ]
    assert [one for one in audit(swarm, arena.store, ordered) if not one.startswith("lost: the entries")] == []


# What policies can settle, and what they cannot.

BINARY = [bytes([number, 0, 255]) * 40 for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("policy", "first", "second", "expected"),
    [
        ("ours", BINARY[0], BINARY[1], BINARY[0]),
        ("theirs", BINARY[0], BINARY[1], BINARY[1]),
        ("union", BINARY[0], BINARY[1], None),
        ("ours", None, b"changed\n", "gone"),
        ("theirs", None, b"changed\n", b"changed\n"),
        ("theirs", b"changed\n", None, "gone"),
        ("union", None, b"changed\n", None),
    ],
)
def test_what_a_policy_makes_of_binaries_and_deletions(
    world: World, policy: str, first: bytes | None, second: bytes | None, expected: Any
):
    swarm = world.running()
    swarm.repository.merge_policies = [["a.txt", policy]]
    swarm.repository.save()
    world.queued(swarm, "first", {"a.txt": first})
    world.queued(swarm, "second", {"a.txt": second})
    merge(swarm.pk)
    found = store_of(swarm).read_file(store_of(swarm).tip(swarm.branch) or "", "a.txt")
    if expected is None:
        assert entries() == {"first": "landed", "second": "conflict"}
        assert found == first
    else:
        assert set(entries().values()) == {"landed"}
        assert found == (None if expected == "gone" else expected)
