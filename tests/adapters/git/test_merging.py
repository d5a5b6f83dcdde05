"""Merges made of objects, and the checks that catch a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters.git.store import BareRepository, CleanMerge, MergeConflict, Person
from orchestration.domain.errors import AdapterError, InvalidInput

WHO = Person("Queue", "queue@swarm.example")
FILES = {f"f{number}": "".join(f"{number}.{line}\n" for line in range(12)) for number in range(4)}


def edited(name: str, line: int) -> str:
    lines = FILES[name].splitlines(keepends=True)
    lines[line] = f"edited {line}\n"
    return "".join(lines)


@pytest.fixture
def merge(store: BareRepository, clone: Any, when: Any) -> Any:
    """Two branches from one base, and what the store makes of them: base, ours, theirs, merge commit."""

    def merge(ours: dict[str, Any], theirs: dict[str, Any], files: dict[str, Any] | None = None) -> Any:
        base = clone.on("main").commit(files or FILES)
        clone.on("ours").commit(ours)
        clone.on("theirs").commit(theirs)
        left, right = (store.fetch(str(clone.path), name).sha for name in ("ours", "theirs"))
        made = store.merge(left, right)
        assert isinstance(made, CleanMerge), made
        commit = store.commit(made.tree, [left, right], "merge", author=WHO, committer=WHO, when=when)
        return base, left, right, commit

    return merge


GOOD = {
    "other files": ({"f0": edited("f0", 0)}, {"f1": edited("f1", 0), "new": "n\n"}),
    "one file": ({"f0": edited("f0", 0)}, {"f0": edited("f0", 11)}),
    "the same edit": ({"f0": edited("f0", 5)}, {"f0": edited("f0", 5)}),
    "deletions": ({"f0": None}, {"f1": None}),
    "the same deletion": ({"f0": None}, {"f0": None, "f2": edited("f2", 1)}),
    "rename against edit": ({"f0": None, "moved": FILES["f0"]}, {"f0": edited("f0", 3)}),
    "edit against rename": ({"f0": edited("f0", 3)}, {"f0": None, "moved": FILES["f0"]}),
    "rename with edit against edit": ({"f0": None, "moved": edited("f0", 0)}, {"f0": edited("f0", 11)}),
    "binary": ({"bin": b"\0\1"}, {"f1": edited("f1", 1)}),
    "nothing": ({}, {"f1": edited("f1", 1)}),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_right_merge_is_faithful(store: BareRepository, merge: Any, case: str):
    assert store.merge_is_faithful(*merge(*GOOD[case])) == ()


@pytest.mark.parametrize("case", GOOD)
def test_the_merge_is_what_git_makes_in_a_work_tree(clone: Any, merge: Any, store: BareRepository, case: str):
    *_, merged = merge(*GOOD[case])
    clone.on("ours").git("merge", "-q", "--no-edit", "theirs")
    assert clone.git("rev-parse", "HEAD^{tree}") == store.run("rev-parse", f"{merged}^{{tree}}").text.strip()


def test_a_mode_change_merges_and_is_checked(store: BareRepository, clone: Any, when: Any):
    base = clone.commit(FILES)
    (clone.on("ours").path / "f0").chmod(0o755)
    clone.commit({})
    clone.on("theirs").commit({"f0": edited("f0", 3)})
    left, right = (store.fetch(str(clone.path), name).sha for name in ("ours", "theirs"))
    made = store.merge(left, right)
    assert isinstance(made, CleanMerge)
    good = store.commit(made.tree, [left, right], "m", author=WHO, committer=WHO, when=when)
    assert store.merge_is_faithful(base, left, right, good) == ()
    lost = store.commit(f"{tree_of(store, right)}", [left, right], "m", author=WHO, committer=WHO, when=when)
    assert store.merge_is_faithful(base, left, right, lost) == ("f0",)


def tree_of(store: BareRepository, sha: str) -> str:
    return store.run("rev-parse", f"{sha}^{{tree}}").text.strip()


def test_a_merge_that_drops_or_adds_is_caught(store: BareRepository, merge: Any, when: Any):
    base, ours, theirs, merged = merge({"f0": edited("f0", 0), "mine": "m\n"}, {"f1": edited("f1", 0)})
    for tree_from, broken in ((ours, ("f1",)), (theirs, ("f0", "mine")), (base, ("f0", "f1", "mine"))):
        wrong = store.commit(tree_of(store, tree_from), [ours, theirs], "wrong", author=WHO, committer=WHO, when=when)
        assert store.merge_is_faithful(base, ours, theirs, wrong) == broken
    assert merged != wrong


def test_a_merge_with_a_wrong_base_is_caught_whatever_base_is_named(store: Any, clone: Any, when: Any):
    """The silent revert: a squash of two requests on a base older than what landed in between."""
    clone.commit(FILES)
    stale = clone.commit({"f1": edited("f1", 2)})
    ours = clone.commit({"f1": edited("f1", 7), "landed": "work\n"})
    theirs = clone.on("theirs").commit({"f2": edited("f2", 0)})
    store.fetch(str(clone.path), "theirs")
    wrong_tree = clone.on("wrong", stale).commit({"f2": edited("f2", 0)})
    store.fetch(str(clone.path), "wrong")
    wrong = store.commit(tree_of(store, wrong_tree), [ours, theirs], "squash", author=WHO, committer=WHO, when=when)
    assert store.merge_is_faithful(stale, ours, theirs, wrong) == ("f1", "landed")
    assert store.merge_is_faithful(ours, ours, theirs, wrong) == ("f1", "landed")


def test_a_file_of_both_sides_must_be_what_git_merges(store: Any, merge: Any, clone: Any, when: Any):
    base, ours, theirs, _ = merge({"f0": edited("f0", 0)}, {"f0": edited("f0", 11)})
    wrong = store.commit(tree_of(store, theirs), [ours, theirs], "w", author=WHO, committer=WHO, when=when)
    assert store.merge_is_faithful(base, ours, theirs, wrong) == ("f0",)


def test_a_conflict_names_its_paths_and_is_not_an_error(store: BareRepository, clone: Any):
    clone.commit(FILES)
    clone.on("ours").commit({"f0": edited("f0", 3), "f1": None, "f2": edited("f2", 0)})
    clone.on("theirs").commit({"f0": FILES["f0"].replace("0.3", "else"), "f1": edited("f1", 1)})
    left, right = (store.fetch(str(clone.path), name).sha for name in ("ours", "theirs"))
    found = store.merge(left, right)
    assert isinstance(found, MergeConflict)
    assert found.paths == ("f0", "f1")
    assert "CONFLICT (content): Merge conflict in f0" in found.detail
    assert "CONFLICT (modify/delete)" in found.detail


def test_what_is_not_a_conflict_is_an_error(store: BareRepository, clone: Any, make_clone: Any, bring: Any):
    other = make_clone("unrelated")
    other.commit({"x": "x"})
    stranger = store.fetch(str(other.path), "main").sha
    ours = bring()
    with pytest.raises(AdapterError, match="unrelated histories"):
        store.merge(ours, stranger)
    with pytest.raises(AdapterError):
        store.merge(ours, "1" * 40)
    assert store.merge_base(ours, stranger) is None
    assert store.merge_is_faithful(ours, ours, stranger, stranger) != ()


def test_a_commit_is_the_same_for_the_same_arguments(store: BareRepository, bring: Any, when: Any):
    base = bring()
    tree = tree_of(store, base)
    common = {"author": WHO, "committer": WHO, "when": when}
    first = store.commit(tree, [base], "Land it\n\nMQ-Request: 7", **common)
    assert store.commit(tree, [base], "Land it\n\nMQ-Request: 7\n", **common) == first
    assert store.commit(tree, [base], "Land that", **common) != first
    assert store.is_ancestor(base, first)
    assert not store.is_ancestor(first, base)


def test_a_hostile_name_or_message_stays_data(store: BareRepository, bring: Any, when: Any):
    base = bring()
    evil = Person("A <x@y> 0 +0000\ncommitter B", "a@b>\n")
    sha = store.commit(tree_of(store, base), [base], "nul\0 inside", author=evil, committer=WHO, when=when)
    raw = store.run("cat-file", "commit", sha).text
    assert raw.count("\ncommitter ") == 1
    assert "\nnul inside\n" in raw
    with pytest.raises(InvalidInput, match="a name and an e-mail"):
        store.commit(tree_of(store, base), [], "m", author=Person("<>", "a@b"), committer=WHO, when=when)


def test_trailers_are_read_from_the_first_parents_only(store: BareRepository, bring: Any, when: Any):
    base = bring()
    tree, common = tree_of(store, base), {"author": WHO, "committer": WHO, "when": when}
    agents = store.commit(tree, [base], "work\n\nMQ-Request: forged\n", **common)
    first = store.commit(tree, [base, agents], "Land\n\nMQ-Request: 1\nMQ-Request: 2\n", **common)
    second = store.commit(tree, [first], "Land\n\nMQ-Head: x\nMQ-Request: 3\n", **common)
    assert store.trailers(base, second, "MQ-Request") == [(second, "3"), (first, "1"), (first, "2")]
    assert store.trailers(None, first, "MQ-Request") == [(first, "1"), (first, "2")]
    assert store.trailers(first, first, "MQ-Request") == []
    with pytest.raises(InvalidInput):
        store.trailers(base, second, "x,separator=%x00")


FULL = "<<<<<<< ours\nmine\n=======\nyours\n>>>>>>> theirs\n"
MARKERS = {
    "a new file with a set": ({}, {"n": FULL}, ("n",)),
    "added to a file": ({"n": "a\nb\n"}, {"n": "a\n" + FULL + "b\n"}, ("n",)),
    "diff3 style": ({}, {"n": FULL.replace("mine\n", "mine\n||||||| base\nold\n")}, ("n",)),
    "carriage returns": ({}, {"n": FULL.replace("\n", "\r\n")}, ("n",)),
    "an underline": ({}, {"n": "Title\n=======\ntext\n"}, ()),
    "arrows only": ({}, {"n": ">>>>>>> quoted\n"}, ()),
    "the wrong order": ({}, {"n": ">>>>>>> a\n=======\n<<<<<<< b\n"}, ()),
    "indented": ({}, {"n": FULL.replace("\n", "\n ").replace("<<<<<<<", " <<<<<<<")}, ()),
    "longer lines": ({}, {"n": "<<<<<<<<\n========\n>>>>>>>>\n"}, ()),
    "there before": ({"n": FULL}, {"n": FULL + "more\n"}, ()),
    "there before and renamed": ({"n": FULL * 9}, {"n": None, "m": FULL * 9 + "more\n"}, ()),
    "removed": ({"n": FULL}, {"n": "resolved\n"}, ()),
    "a name that looks like a diff": ({}, {"x\ndiff --git y": FULL, "z": FULL}, ("x\ndiff --git y", "z")),
    "not UTF-8": ({}, {"n": FULL.encode() + b"\xff\xfe\n"}, ("n",)),
}


@pytest.mark.parametrize("case", MARKERS)
def test_conflict_markers(store: BareRepository, clone: Any, bring: Any, case: str):
    before, after, expected = MARKERS[case]
    clone.commit(before)
    base = bring()
    clone.commit(after)
    assert store.conflict_markers(base, bring()) == expected


def test_markers_in_a_link_that_became_a_file(store: BareRepository, clone: Any, bring: Any):
    (clone.path / "n").symlink_to("a.txt")
    clone.commit({"zz": "z"})
    base = bring()
    (clone.path / "n").unlink()
    clone.commit({"n": FULL, "zz": "=======\n"})
    assert store.conflict_markers(base, bring()) == ("n",)


def test_a_merge_driver_of_the_repositorys_does_not_run(store: BareRepository, clone: Any, tmp_path: Path):
    mark = tmp_path / "mark"
    clone.commit({**FILES, ".gitattributes": "* merge=trap\n"})
    clone.git("config", "merge.trap.driver", f"touch {mark}; true")
    clone.on("ours").commit({"f0": edited("f0", 0)})
    clone.on("theirs").commit({"f0": edited("f0", 11)})
    left, right = (store.fetch(str(clone.path), name).sha for name in ("ours", "theirs"))
    assert isinstance(store.merge(left, right), CleanMerge)
    assert not mark.exists()
    clone.on("ours").git("merge", "-q", "--no-edit", "theirs")
    assert mark.exists(), "the control must show that the attack works"
