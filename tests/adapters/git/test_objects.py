"""What is written without git is what git would have written, appears whole, and is seen by git at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters.git import directory, objects
from orchestration.adapters.git.store import BareRepository
from orchestration.domain.errors import AdapterError, Failure
from tests.adapters.git.conftest import AGENT, QUEUE


@pytest.fixture
def base(bring: Any) -> str:
    return str(bring())


@pytest.fixture
def history(base: str, clone: Any, bring: Any) -> tuple[str, str]:
    clone.commit({"d.txt": "d\n"})
    return base, bring()


def tree_of(store: BareRepository, sha: str) -> str:
    return store.run("rev-parse", f"{sha}^{{tree}}").text.strip()


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The git commands that are started from now on."""
    started: list[str] = []
    real = directory.run_git

    def run_git(*args: str, **options: Any) -> Any:
        started.append(args[0])
        return real(*args, **options)

    monkeypatch.setattr(directory, "run_git", run_git)
    return started


@pytest.mark.parametrize("message", ["Land it", "Übung\n\nSwarm-Entry: 7\n\n", "", " leading", "a\n\n\nb\n"])
@pytest.mark.parametrize("parents", [0, 1, 2])
def test_a_commit_is_the_one_that_git_would_make(
    store: BareRepository, history: tuple[str, str], when: datetime, message: str, parents: int
):
    base, those = history[0], history[:parents]
    ours = store.commit(tree_of(store, base), those, message, author=AGENT, committer=QUEUE, when=when)
    stamp = f"@{int(when.timestamp())} +0000"
    identity = {
        f"GIT_{role}_{what}": value
        for role, who in (("AUTHOR", AGENT), ("COMMITTER", QUEUE))
        for what, value in (("NAME", who.name), ("EMAIL", who.email), ("DATE", stamp))
    }
    options = [part for parent in those for part in ("-p", parent)]
    body = message.rstrip("\n").encode() + b"\n"
    theirs = store.run("commit-tree", *options, "-F", "-", tree_of(store, base), stdin=body, env=identity)
    assert theirs.text.strip() == ours


def test_git_finds_nothing_wrong_with_what_was_written(store: BareRepository, base: str, when: datetime):
    sha = store.commit(tree_of(store, base), [base], "Land it", author=AGENT, committer=QUEUE, when=when)
    store.pin("attempts", "one", sha)
    store.create_branch("swarm/x", sha)
    said = store.run("fsck", "--strict", "--full", ok=(0, 8))
    lines = [*said.text.splitlines(), *said.stderr.splitlines()]
    assert [line for line in lines if "HEAD points to something strange" not in line] == []  # as we want it


def test_commits_pins_and_tips_need_no_child(store: BareRepository, base: str, when: datetime, children: list[str]):
    tree = tree_of(store, base)
    store.create_branch("swarm/x", base)
    children.clear()
    sha = store.commit(tree, [base], "Land it", author=AGENT, committer=QUEUE, when=when)
    store.pin("attempts", "one", sha)
    assert store.tip("swarm/x") == base
    store.unpin("attempts", "one")
    assert children == []


def test_how_commits_are_related_is_asked_once(store: BareRepository, base: str, clone: Any, bring: Any, children: Any):
    clone.commit({"d.txt": "d\n"})
    head = bring()
    children.clear()
    assert store.is_ancestor(base, head)
    assert store.is_ancestor(base, head)
    assert store.merge_bases(head, base) == [base]
    assert children.count("merge-base") == 1
    assert not store.is_ancestor(head, base)


def test_an_unknown_commit_is_asked_for_again(store: BareRepository, base: str):
    """A failure is no answer: the commit may be fetched later."""
    for _ in range(2):
        with pytest.raises(AdapterError):
            store.is_ancestor(base, "1" * 40)


def test_what_is_packed_is_found_and_let_go(store: BareRepository, base: str, clone: Any, bring: Any):
    store.create_branch("swarm/x", base)
    store.pin("attempts", "one", base)
    store.run("pack-refs", "--all")
    assert not (store.path / "refs/heads/swarm/x").exists()
    assert store.tip("swarm/x") == base
    clone.commit({"d.txt": "d\n"})
    later = bring()
    store.pin("attempts", "one", later)
    assert store.pins("attempts") == {"one": later}
    store.unpin("attempts", "one")
    assert store.pins("attempts") == {}


def test_a_pin_of_a_commit_that_is_not_there_is_an_error(store: BareRepository, base: str):
    with pytest.raises(AdapterError):
        store.pin("attempts", "one", "1" * 40)
    assert store.pins("attempts") == {}


def test_a_pin_beneath_another_pin_is_an_error(store: BareRepository, base: str, when: datetime):
    sha = store.commit(tree_of(store, base), [base], "Land it", author=AGENT, committer=QUEUE, when=when)
    store.pin("attempts", "one", sha)
    with pytest.raises(AdapterError):
        store.pin("attempts", "one/two", sha)
    assert store.pins("attempts") == {"one": sha}


def test_what_a_kill_left_behind_is_nobodys_ref(store: BareRepository, base: str):
    store.pin("attempts", "one", base)
    (store.path / "refs/swarmsite/attempts" / "two.0123456789abcdef.lock").write_text("half")
    assert store.pins("attempts") == {"one": base}
    store.pin("attempts", "two", base)
    assert store.pins("attempts") == {"one": base, "two": base}


def test_an_object_that_is_there_is_not_written_again(
    store: BareRepository, base: str, when: datetime, monkeypatch: pytest.MonkeyPatch
):
    def land() -> str:
        return store.commit(tree_of(store, base), [base], "Land it", author=AGENT, committer=QUEUE, when=when)

    sha = land()
    monkeypatch.setattr(objects, "_appear", lambda *_, **__: pytest.fail("written again"))
    assert land() == sha


def test_many_threads_may_write_the_same(store: BareRepository, base: str, when: datetime):
    tree, together = tree_of(store, base), threading.Barrier(8)

    def land(_: int) -> str:
        together.wait(30)
        sha = store.commit(tree, [base], "Land it", author=AGENT, committer=QUEUE, when=when)
        store.pin("attempts", "one", sha)
        return sha

    with ThreadPoolExecutor(8) as threads:
        (sha,) = set(threads.map(land, range(8)))
    assert store.pins("attempts") == {"one": sha}
    assert not list(store.path.rglob("*.lock"))


def test_a_disk_that_takes_nothing_is_told_as_an_error_that_may_pass(
    store: BareRepository, base: str, when: datetime, monkeypatch: pytest.MonkeyPatch
):
    tree = tree_of(store, base)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(objects.os, "fsync", full)
    with pytest.raises(AdapterError, match="No space left") as caught:
        store.commit(tree, [base], "Land it", author=AGENT, committer=QUEUE, when=when)
    assert caught.value.kind is Failure.TRANSIENT
    assert not list(store.path.rglob("*.lock"))


def blob_of(store: BareRepository, sha: str, path: str) -> str:
    return store.run("rev-parse", f"{sha}:{path}").text.strip()


@pytest.mark.parametrize("content", [b"", b"x", b"a\0b\xff\n" * 5000])
def test_a_loose_blob_is_read_without_a_child(store: BareRepository, content: bytes, children: list[str]):
    sha = store.write_object("blob", content)
    assert list(store.blobs([sha, sha])) == [content, content]
    assert store.read_loose("commit", sha) is None
    assert children == []


def test_a_packed_blob_is_read_by_git(store: BareRepository, base: str, children: list[str]):
    sha = blob_of(store, base, "a.txt")
    store.run("repack", "-a", "-d", "-q")
    assert not store.has_loose(sha)
    children.clear()
    assert list(store.blobs([sha])) == [store.read_file(base, "a.txt")]
    assert children == ["cat-file"]


def test_a_blob_that_is_not_there_is_an_error(store: BareRepository, base: str):
    with pytest.raises(AdapterError):
        list(store.blobs(["1" * 40]))


def test_a_blob_that_was_cut_off_is_not_believed(store: BareRepository):
    sha = store.write_object("blob", b"much " * 1000)
    file = Path(store._loose(sha))
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:20])
    assert store.read_loose("blob", sha) is None
    with pytest.raises(AdapterError):
        list(store.blobs([sha]))
