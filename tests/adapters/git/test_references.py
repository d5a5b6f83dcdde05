"""Branches move by compare-and-swap only; pins keep commits; a half-made repository is finished."""

from __future__ import annotations

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters.git.store import BareRepository, Person
from orchestration.domain.errors import AdapterError, InvalidInput


@pytest.fixture
def two(clone: Any, bring: Any) -> tuple[str, str]:
    """Two commits of the store, the second on top of the first."""
    first = bring()
    clone.commit({"d.txt": "d\n"})
    return first, bring()


def test_creating_again_keeps_everything(store: BareRepository, two: tuple[str, str]):
    store.create_branch("swarm/x", two[0])
    store.create()
    assert store.tip("swarm/x") == two[0]


@pytest.mark.parametrize("made", [[], ["objects"], ["objects", "refs/heads"], ["objects", "refs/heads", "config"]])
def test_a_creation_that_was_killed_is_finished(tmp_path: Path, clone: Any, made: list[str]):
    path = tmp_path / "half.git"
    path.mkdir()
    for part in made:
        (path / part).parent.mkdir(exist_ok=True)
        (path / part).touch() if part == "config" else (path / part).mkdir()
    store = BareRepository(path)
    store.create()
    assert store.fetch(str(clone.path), "main").branch == "main"


def test_creating_at_once_from_many_threads(tmp_path: Path):
    store = BareRepository(tmp_path / "deep" / "many.git")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: store.create(), range(8)))
    assert store.tip("main") is None


def test_somebodys_directory_is_not_made_a_repository(clone: Any):
    with pytest.raises(AdapterError, match="holds something else"):
        BareRepository(clone.path).create()


def test_head_names_a_ref_that_nobody_moves(store: BareRepository, two: tuple[str, str]):
    store.create_branch("main", two[0])
    assert store.swap("main", two[1], two[0])
    assert store.run("rev-parse", "--verify", "--quiet", "HEAD", ok=(0, 1)).code == 1


def test_a_swap_moves_only_from_where_it_was_thought_to_be(store: BareRepository, two: tuple[str, str]):
    first, second = two
    assert not store.swap("swarm/x", second, first)
    store.create_branch("swarm/x", first)
    assert store.swap("swarm/x", second, first)
    assert not store.swap("swarm/x", second, first)
    assert store.tip("swarm/x") == second


def test_of_many_swaps_at_once_one_wins(store: BareRepository, two: tuple[str, str]):
    store.create_branch("swarm/x", two[0])

    def swap(_: int) -> bool:
        with contextlib.suppress(AdapterError):  # the lock was held at that moment
            return store.swap("swarm/x", two[1], two[0])
        return False

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(swap, range(24))) == 1


def test_a_swap_to_a_commit_that_is_not_there_is_an_error(store: BareRepository, two: tuple[str, str]):
    store.create_branch("swarm/x", two[0])
    with pytest.raises(AdapterError):
        store.swap("swarm/x", "1" * 40, two[0])
    assert store.tip("swarm/x") == two[0]


def test_a_branch_is_created_once(store: BareRepository, two: tuple[str, str]):
    store.create_branch("swarm/x", two[0])
    store.create_branch("swarm/x", two[0])
    with pytest.raises(AdapterError, match="exists already"):
        store.create_branch("swarm/x", two[1])
    assert store.tip("swarm/x") == two[0]


def test_a_lock_makes_a_swap_fail_for_now_and_an_old_one_can_be_broken(store: Any, two: tuple[str, str]):
    store.create_branch("swarm/x", two[0])
    lock = store.path / "refs/heads/swarm/x.lock"
    lock.touch()
    with pytest.raises(AdapterError, match="lock") as caught:
        store.swap("swarm/x", two[1], two[0])
    assert caught.value.transient
    assert not store.break_stale_lock("swarm/x", older_than_s=60)
    long_ago = time.time() - 120
    os.utime(lock, (long_ago, long_ago))
    assert store.break_stale_lock("swarm/x", older_than_s=60)
    assert not store.break_stale_lock("swarm/x", older_than_s=60)
    assert store.swap("swarm/x", two[1], two[0])


def test_contains_knows_commits_only(store: BareRepository, two: tuple[str, str]):
    tree = store.run("rev-parse", f"{two[0]}^{{tree}}").text.strip()
    assert store.contains(two[0])
    assert not store.contains("1" * 40)
    assert not store.contains(tree)


def test_pins_are_listed_moved_and_let_go(store: BareRepository, two: tuple[str, str]):
    store.pin("attempts", "a/1", two[0])
    store.pin("attempts", "b", two[0])
    store.pin("attempts", "b", two[1])
    store.pin("other", "c", two[0])
    assert store.pins("attempts") == {"a/1": two[0], "b": two[1]}
    store.unpin("attempts", "a/1", "b", "was-never-there")
    store.unpin("attempts")
    assert store.pins("attempts") == {}
    assert store.pins("other") == {"c": two[0]}


@pytest.mark.parametrize(
    "name", ["", "-x", "--force", "a..b", "a b", "a~1", "a^", "a:b", "x.lock", "a/.b", "/a", "a/", "@", "a@{1}",
             "a\nb", "a\u202eb", "a//b", "a/-b", "a\\b", "a*", "x" * 300]
)  # fmt: skip
def test_names_that_are_not_branches_are_refused(store: BareRepository, name: str):
    with pytest.raises(InvalidInput):
        store.tip(name)
    with pytest.raises(InvalidInput):
        store.create_branch(name, "1" * 40)


@pytest.mark.parametrize("name", ["main", "feature/ümlaut", "dependabot/npm/@types", "fix#12", "v1.2"])
def test_names_that_people_use_are_accepted(store: BareRepository, name: str, two: tuple[str, str]):
    store.create_branch(name, two[0])
    assert store.tip(name) == two[0]


@pytest.mark.parametrize("sha", ["", "HEAD", "main", "--all", "A" * 40, "1" * 39, "1" * 40 + "\n", "1" * 41])
def test_only_full_ids_reach_git(store: BareRepository, sha: str):
    for call in (store.contains, lambda sha: store.pin("a", "b", sha), store.log):
        with pytest.raises(InvalidInput, match="commit id"):
            call(sha)


@pytest.mark.parametrize("namespace", ["", "../heads", "A", "a/b", "-x"])
def test_pins_stay_in_their_namespace(store: BareRepository, namespace: str):
    with pytest.raises(InvalidInput):
        store.pins(namespace)


def git_started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    started: list[str] = []
    run = BareRepository.run

    def noted(store: BareRepository, *args: str, **how: Any) -> Any:
        started.append(args[0])
        return run(store, *args, **how)

    monkeypatch.setattr(BareRepository, "run", noted)
    return started


def loose(store: BareRepository, parent: str, when: Any, name: str = "new") -> str:
    tree = store.run("rev-parse", f"{parent}^{{tree}}").text.strip()
    who = Person("Queue", "queue@swarm.example")
    return store.commit(tree, (parent,), name, author=who, committer=who, when=when)


def test_a_loose_branch_is_swapped_without_a_child(
    store: BareRepository, two: tuple[str, str], when: Any, monkeypatch: pytest.MonkeyPatch
):
    store.create_branch("swarm/x", two[0])
    new, later = loose(store, two[0], when), loose(store, two[0], when, "later")
    started = git_started(monkeypatch)
    assert store.swap("swarm/x", new, two[0])
    assert not store.swap("swarm/x", later, two[0])
    assert started == []
    assert store.run("rev-parse", "refs/heads/swarm/x").text.strip() == new
    assert not list((store.path / "refs/heads/swarm").glob("*.lock"))


def test_a_packed_branch_is_swapped_by_git(
    store: BareRepository, two: tuple[str, str], when: Any, monkeypatch: pytest.MonkeyPatch
):
    store.create_branch("swarm/x", two[0])
    new = loose(store, two[0], when)
    store.run("pack-refs", "--all")
    started = git_started(monkeypatch)
    assert not store.swap("swarm/x", new, two[1])
    assert store.swap("swarm/x", new, two[0])
    assert started == ["update-ref", "update-ref"]
    assert store.tip("swarm/x") == new


def test_a_swap_leaves_the_lock_of_somebody_else_alone(store: BareRepository, two: tuple[str, str], when: Any):
    store.create_branch("swarm/x", two[0])
    lock = store.path / "refs/heads/swarm/x.lock"
    lock.touch()
    with pytest.raises(AdapterError, match="lock"):
        store.swap("swarm/x", loose(store, two[0], when), two[0])
    assert lock.exists()
    assert store.tip("swarm/x") == two[0]


def test_our_swaps_and_those_of_git_shut_each_other_out(store: BareRepository, two: tuple[str, str], when: Any):
    """Each moves the branch to a commit of its own; whoever says that it moved it did so alone."""
    store.create_branch("swarm/x", two[0])
    mine = [loose(store, two[0], when, f"{number}") for number in range(16)]

    def swap(number: int) -> bool:
        if number % 2:
            return store._update("refs/heads/swarm/x", mine[number], two[0]).code == 0
        with contextlib.suppress(AdapterError):
            return store.swap("swarm/x", mine[number], two[0])
        return False

    with ThreadPoolExecutor(8) as threads:
        moved = list(threads.map(swap, range(16)))
    assert sum(moved) == 1
    assert store.tip("swarm/x") == mine[moved.index(True)]
