"""A result appears in the user's repository, and nothing else there changes or runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters.git.store import BareRepository, Person
from orchestration.domain.errors import AdapterError

WHO = Person("Queue", "queue@swarm.example")


@pytest.fixture
def chain(store: BareRepository, bring: Any, when: Any) -> list[str]:
    """The clone's main and two commits of ours on top."""
    shas = [bring()]
    tree = store.run("rev-parse", f"{shas[0]}^{{tree}}").text.strip()
    for number in range(2):
        shas.append(store.commit(tree, shas[-1:], f"ours {number}", author=WHO, committer=WHO, when=when))
    return shas


def snapshot_of(path: Path) -> dict[str, bytes]:
    """Every file of a repository but its objects, refs and logs."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and not {"objects", "refs", "logs"} & set(file.relative_to(path).parts)
    }


def test_the_branch_appears_and_the_rest_stays(store: BareRepository, clone: Any, chain: list[str]):
    (clone.path / "a.txt").write_text("the user is editing\n")
    clone.git("add", "a.txt")
    (clone.path / "untracked").write_text("x")
    before = snapshot_of(clone.path)
    store.publish(clone.path, "swarm/x", chain[1])
    store.publish(clone.path, "swarm/x", chain[1])
    assert snapshot_of(clone.path) == before
    assert clone.git("rev-parse", "swarm/x") == chain[1]
    assert clone.git("fsck", "--strict", "--no-dangling") == ""


def test_ours_moves_forward_only(store: BareRepository, clone: Any, chain: list[str]):
    store.publish(clone.path, "swarm/x", chain[1])
    store.publish(clone.path, "swarm/x", chain[2])
    with pytest.raises(AdapterError, match="holds commits there that this result does not"):
        store.publish(clone.path, "swarm/x", chain[1])
    assert clone.git("rev-parse", "swarm/x") == chain[2]


def test_a_users_work_on_our_branch_is_not_lost(store: BareRepository, clone: Any, chain: list[str]):
    store.publish(clone.path, "swarm/x", chain[1])
    theirs = clone.on("swarm/x").commit({"mine": "m"})
    clone.on("main")
    with pytest.raises(AdapterError, match="holds commits"):
        store.publish(clone.path, "swarm/x", chain[2])
    assert clone.git("rev-parse", "swarm/x") == theirs


def test_a_users_branch_moves_only_when_that_is_meant(store: BareRepository, clone: Any, chain: list[str]):
    clone.git("branch", "release")
    with pytest.raises(AdapterError, match="is not ours to move"):
        store.publish(clone.path, "release", chain[1])
    store.publish(clone.path, "release", chain[1], direct=True)
    with pytest.raises(AdapterError, match="holds commits"):
        store.publish(clone.path, "release", chain[0], direct=True)
    assert clone.git("rev-parse", "release") == chain[1]


@pytest.mark.parametrize("where", ["main work tree", "linked work tree", "unborn"])
def test_what_is_checked_out_does_not_move(
    store: BareRepository, clone: Any, chain: list[str], tmp_path: Path, where: str
):
    if where == "main work tree":
        clone.git("checkout", "-q", "-b", "swarm/x")
    elif where == "linked work tree":
        clone.git("worktree", "add", "-q", "-b", "swarm/x", str(tmp_path / "linked"))
    else:
        clone.git("checkout", "-q", "--orphan", "swarm/x")
    target = tmp_path / "linked" if where == "linked work tree" else clone.path
    with pytest.raises(AdapterError, match="is checked out there"):
        store.publish(target, "swarm/x", chain[1])


def test_a_linked_work_tree_and_a_bare_one_can_be_targets(
    store: BareRepository, clone: Any, chain: list[str], tmp_path: Path
):
    clone.git("worktree", "add", "-q", "-b", "wt", str(tmp_path / "linked"))
    store.publish(tmp_path / "linked", "swarm/x", chain[1])
    assert clone.git("rev-parse", "swarm/x") == chain[1]
    clone.git("clone", "-q", "--bare", ".", str(tmp_path / "bare"))
    store.publish(tmp_path / "bare", "main", chain[2], direct=True)
    assert clone.git("--git-dir", str(tmp_path / "bare"), "rev-parse", "main") == chain[2]


def test_what_is_not_a_repository_is_refused(store: BareRepository, tmp_path: Path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(AdapterError, match="is not a git repository"):
            store.publish(path, "swarm/x", "1" * 40)


def test_nothing_of_the_users_runs(store: BareRepository, clone: Any, chain: list[str], tmp_path: Path):
    mark = tmp_path / "mark"
    script = clone.path / ".git/hooks/reference-transaction"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"#!/bin/sh\ntouch {mark}\n")
    script.chmod(0o755)
    clone.git("config", "core.fsmonitor", str(script))
    clone.git("config", "core.alternateRefsCommand", str(script))
    (clone.path / ".git/objects/info/alternates").write_text(f"{store.path}/objects\n")
    mark.unlink(missing_ok=True)
    store.publish(clone.path, "swarm/x", chain[1])
    assert not mark.exists()
    clone.git("fetch", "-q", str(store.path), f"{chain[2]}:refs/heads/control")
    assert mark.exists(), "the control must show that the attack works"
