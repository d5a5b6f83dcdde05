"""Maintenance of the bare repository: it loses nothing, nobody waits for it, a kill in its middle is harmless."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters.git.runner import OPTIONS
from orchestration.adapters.git.session import Session
from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.git.upkeep import LOCK_S, REST_S
from tests.adapters.git.conftest import AGENT, QUEUE, WHEN

OLD = REST_S + 60


@pytest.fixture
def grow(store: BareRepository, bring: Callable[..., str]) -> Callable[[int], list[str]]:
    """That many commits on one another, none of them reached by a ref except the first."""
    first = bring()

    def grow(count: int) -> list[str]:
        made = [first]
        for number in range(count):
            tree = store.tree(first)
            made.append(store.commit(tree, [made[-1]], f"Commit {number}", author=AGENT, committer=QUEUE, when=WHEN))
        return made

    return grow


def packs(store: BareRepository) -> list[Path]:
    return list((store.path / "objects" / "pack").glob("*.pack"))


def faults(store: BareRepository) -> list[str]:
    """What git finds wrong; that our HEAD is on no branch is meant so."""
    said = store.run("fsck", "--strict", "--no-dangling", "--no-progress", ok=(0, 8))
    return [line for line in (said.text + said.stderr).splitlines() if "HEAD points to something strange" not in line]


def aged(path: Path, seconds: float = OLD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (time.time() - seconds, time.time() - seconds))
    return path


def test_what_no_ref_reaches_is_packed_and_stays(store: BareRepository, grow: Any):
    commits = grow(40)
    assert store.loose_objects() >= 40
    store.pack()
    assert store.loose_objects() == 0
    assert all(store.contains(commit) for commit in commits)
    store.pack()
    assert all(store.contains(commit) for commit in commits)


def test_refs_are_packed_and_still_move_and_go(store: BareRepository, grow: Any):
    one, two, *_ = grow(2)
    store.create_branch("swarm/x", one)
    store.pin("candidates", "a", one)
    store.pin("candidates", "b", two)
    store.pack()
    assert "refs/heads/swarm/x" in (store.path / "packed-refs").read_text()
    assert store.swap("swarm/x", two, one)
    assert store.tip("swarm/x") == two
    store.pin("candidates", "a", two)
    assert store.pins("candidates") == {"a": two, "b": two}
    store.unpin("candidates", "a", "b")
    assert store.pins("candidates") == {}


def test_the_history_has_a_commit_graph(store: BareRepository, grow: Any):
    commits = grow(5)
    store.create_branch("swarm/x", commits[-1])
    store.pack()
    assert list((store.path / "objects/info/commit-graphs").glob("*.graph"))
    store.run("commit-graph", "verify")


def test_children_that_stay_survive_it(store: BareRepository, grow: Any):
    """They hold packs open that are gone now, and are asked for objects in packs that they have not seen."""
    commits = grow(10)
    store.pack()
    with Session(store.path) as session:
        assert session.tree(commits[1]) == store.tree(commits[0])
        child = session._reading._process
        later = grow(60)
        store.pack()
        assert [session.tree(commit) for commit in (*commits, *later)] == [store.tree(commits[0])] * 72
        assert session.merge_is_faithful(commits[0], commits[0], later[-1], later[-1]) == ()
        assert session._reading._process is child, "no new child was needed"
        assert child
        assert child.poll() is None


def test_it_goes_on_while_others_write(store: BareRepository, grow: Any):
    """Writers never find an object gone between their look and their use."""
    first, *_ = grow(1)
    store.create_branch("swarm/x", first)
    over = threading.Event()

    def keep_packing() -> None:
        while not over.is_set():
            store.pack()

    thread = threading.Thread(target=keep_packing)
    thread.start()
    try:
        tip = first
        for number in range(40):
            made = store.commit(store.tree(tip), [tip], f"{number}", author=AGENT, committer=QUEUE, when=WHEN)
            store.pin("candidates", "one", made)
            assert store.swap("swarm/x", made, tip)
            store.unpin("candidates", "one")
            tip = made
    finally:
        over.set()
        thread.join(60)
    assert store.tip("swarm/x") == tip
    assert len(store.run("rev-list", "swarm/x").text.split()) == 41
    assert faults(store) == []


def children_of(pid: int) -> Iterator[int]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                yield int(stat.parent.name)
        except (OSError, IndexError):
            continue


@pytest.mark.parametrize("moment", [0.0, 0.004, 0.012])
def test_killed_in_the_middle_it_leaves_the_repository_sound(store: BareRepository, grow: Any, moment: float):
    commits = grow(50)
    store.create_branch("swarm/x", commits[0])
    command = ["git", *OPTIONS, f"--git-dir={store.path}", "repack", "-d", "-l", "-q", "--geometric=2"]
    with subprocess.Popen(command, start_new_session=True) as repack:
        threading.Event().wait(moment)
        for child in children_of(repack.pid):
            os.kill(child, signal.SIGKILL)
        repack.kill()
    assert all(store.contains(commit) for commit in commits)
    for left in [*(store.path / "objects/pack").glob("tmp_*"), *(store.path / "objects/pack").glob(".tmp-*")]:
        aged(left)
    store.remove_stale()
    store.pack()
    assert all(store.contains(commit) for commit in commits)
    assert faults(store) == []
    assert not list((store.path / "objects/pack").glob("*tmp*"))


LEFT = [
    "packed-refs.lock",
    "HEAD.lock",
    "refs/heads/swarm/x.lock",
    "refs/swarmsite/candidates/one.0a1b2c3d4e5f6a7b.lock",
    "objects/pack/tmp_pack_Ab12",
    "objects/pack/.tmp-77-pack-0123.pack",
    "objects/ab/tmp_obj_Xy12",
    "objects/ab/0123.4567.lock",
    "objects/info/commit-graphs/commit-graph-chain.lock",
]


@pytest.mark.parametrize("name", LEFT)
def test_what_a_killed_child_left_is_removed_when_it_is_old(store: BareRepository, grow: Any, name: str):
    grow(1)
    left = aged(store.path / name)
    assert store.remove_stale() == [name]
    assert not left.exists()
    left.touch()
    assert store.remove_stale() == []
    assert left.exists(), "somebody may still be writing it"


def test_a_lock_is_old_sooner_than_a_pack_that_grows(store: BareRepository, grow: Any):
    grow(1)
    lock = aged(store.path / "packed-refs.lock", LOCK_S + 1)
    growing = aged(store.path / "objects/pack/tmp_pack_growing", LOCK_S + 1)
    store.remove_stale()
    assert (lock.exists(), growing.exists()) == (False, True)


def test_nothing_else_is_removed(store: BareRepository, grow: Any):
    commits = grow(3)
    store.create_branch("swarm/x", commits[1])
    store.pack()
    for path in store.path.rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))
    assert store.remove_stale() == []
    assert all(store.contains(commit) for commit in commits)


def test_directories_that_come_and_go_meanwhile_are_passed_by(store: BareRepository):
    """As when refs and loose objects are packed by somebody else."""
    over = threading.Event()
    places = [store.path / "refs" / "heads" / f"swarm-{number}" / "part" for number in range(20)]

    def come_and_go() -> None:
        while not over.is_set():
            for place in places:
                place.mkdir(parents=True)
            for place in places:
                place.rmdir()
                place.parent.rmdir()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(200):
            assert store.remove_stale() == []
    finally:
        over.set()
        thread.join()
