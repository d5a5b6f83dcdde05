"""Many merges by one child that leave nothing behind, and what a workspace changed, seen without touching it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.adapters.git.foreseeing import landed_since, merge_all, touched
from orchestration.adapters.git.merging import read_merges
from orchestration.adapters.git.snapshots import snapshot
from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.git.values import MergeConflict
from orchestration.adapters.git.workspaces import Workspace, WorkspacePool
from orchestration.domain.errors import AdapterError
from tests.adapters.git.conftest import AGENT, WHEN, Clone

LONG_S = 60.0


@pytest.fixture
def workspace(tmp_path: Path, store: BareRepository, bring: Callable[..., str]) -> Workspace:
    return WorkspacePool(tmp_path / "workspaces", store).acquire(bring())


def sides(clone: Clone, bring: Callable[..., str]) -> tuple[str, str, str]:
    """Two that changed the same line, and one beside them."""
    clone.on("ours").commit({"a.txt": "ONE\ntwo\nthree\n"})
    clone.on("theirs").commit({"a.txt": "Eins\ntwo\nthree\n", "src/b.py": "b = 2\n"})
    clone.on("beside").commit({"a.txt": "one\ntwo\nTHREE\n"})
    return bring("ours"), bring("theirs"), bring("beside")


def objects(store: BareRepository) -> set[Path]:
    return {path for path in (store.path / "objects").rglob("*") if path.is_file()}


def test_each_pair_has_its_own_answer_in_its_place(store: BareRepository, clone: Clone, bring: Callable[..., str]):
    ours, theirs, beside = sides(clone, bring)
    found = merge_all(store, [(ours, beside), (ours, theirs), (beside, theirs), (theirs, ours)], timeout_s=LONG_S)
    assert [one.paths if one else None for one in found] == [None, ("a.txt",), None, ("a.txt",)]
    assert found[1] is not None
    assert {side.number for side in found[1].staged} == {1, 2, 3}


def test_it_says_the_same_as_the_merge_that_lands(store: BareRepository, clone: Clone, bring: Callable[..., str]):
    ours, theirs, _ = sides(clone, bring)
    (found,) = merge_all(store, [(ours, theirs)], timeout_s=LONG_S)
    assert found == store.merge(ours, theirs)
    assert isinstance(found, MergeConflict)


def test_nothing_of_it_stays_in_the_store(store: BareRepository, clone: Clone, bring: Callable[..., str]):
    ours, theirs, beside = sides(clone, bring)
    before = objects(store)
    merge_all(store, [(ours, beside), (ours, theirs)], timeout_s=LONG_S)
    assert objects(store) == before
    store.merge(ours, beside)  # the control: an ordinary merge leaves objects
    assert objects(store) > before


def test_no_pairs_need_no_child(tmp_path: Path):
    assert merge_all(BareRepository(tmp_path / "nowhere"), [], timeout_s=LONG_S) == []


def test_a_commit_that_is_not_there_is_an_error_and_no_conflict(
    store: BareRepository, clone: Clone, bring: Callable[..., str]
):
    ours, theirs, _ = sides(clone, bring)
    with pytest.raises(AdapterError):
        merge_all(store, [(ours, theirs), (ours, "0" * 40)], timeout_s=LONG_S)


def test_an_answer_that_was_cut_off_is_not_read():
    whole = b"1\0" + b"a" * 40 + b"\0\0\0" + b"0\0" + b"b" * 40 + b"\0100644 "
    (found,) = read_merges(whole.split(b"\0"))
    assert (found.tree, found.conflicted) == ("a" * 40, False)


def test_files_that_landed_since_each_base(store: BareRepository, clone: Clone, bring: Callable[..., str]):
    base = bring()
    clone.on("main").commit({"a.txt": "new\n"})
    middle = bring()
    clone.on("main").commit({"src/b.py": None, "d.txt": "d\n"})
    tip = bring()
    assert landed_since(store, [base, middle, tip], tip) == {
        base: {"a.txt", "src/b.py", "d.txt"},
        middle: {"src/b.py", "d.txt"},
        tip: frozenset(),
    }


def test_what_a_workspace_changed_is_seen_and_nothing_in_it_moves(store: BareRepository, workspace: Workspace):
    base = workspace.commits[0]
    assert touched(store, workspace, base) == []
    (workspace.path / "a.txt").write_text("changed\n")
    (workspace.path / "src/b.py").unlink()
    (workspace.path / "new").mkdir()
    (workspace.path / "new/ümlaut.txt").write_text("new\n")
    (workspace.path / ".gitignore").write_text("hidden\n")
    (workspace.path / "hidden").write_text("hidden\n")
    index, before = workspace.index.read_bytes(), objects(store)
    assert touched(store, workspace, base) == [".gitignore", "a.txt", "new/ümlaut.txt", "src/b.py"]
    assert (workspace.index.read_bytes(), objects(store)) == (index, before)


def test_it_is_measured_from_the_base_also_after_a_snapshot(store: BareRepository, workspace: Workspace):
    base = workspace.commits[0]
    (workspace.path / "a.txt").write_text("changed\n")
    (workspace.path / "new.txt").write_text("new\n")
    snapshot(store, workspace, parent=base, message="draft", author=AGENT, committer=AGENT, when=WHEN)
    (workspace.path / "src/b.py").write_text("b = 3\n")
    assert touched(store, workspace, base) == ["a.txt", "new.txt", "src/b.py"]


def test_what_a_snapshot_staged_before_it_was_refused_is_seen(store: BareRepository, workspace: Workspace):
    base = workspace.commits[0]
    (workspace.path / "a.txt").write_text("changed\n")
    (workspace.path / "link").symlink_to("/etc")
    with pytest.raises(AdapterError, match="leaves the repository"):
        snapshot(store, workspace, parent=base, message="draft", author=AGENT, committer=AGENT, when=WHEN)
    os.utime(workspace.index, (0, 0))  # as after a step of the clock
    assert touched(store, workspace, base) == ["a.txt", "link"]


def test_a_repository_inside_it_is_not_entered(store: BareRepository, workspace: Workspace):
    (workspace.path / "inner/.git").mkdir(parents=True)
    (workspace.path / "inner/.git/HEAD").write_text("ref: refs/heads/main\n")
    (workspace.path / "b.txt").write_text("b\n")
    assert "b.txt" in touched(store, workspace, workspace.commits[0])
