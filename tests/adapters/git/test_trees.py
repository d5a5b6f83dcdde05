"""The difference of two commits is what git says it is, whether their trees are loose or packed."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.adapters.git import trees
from orchestration.adapters.git.store import BareRepository
from orchestration.domain.errors import AdapterError


def as_git_tells(store: BareRepository, a: str, b: str) -> list[tuple[bytes, ...]]:
    raw = store.run("diff-tree", "-r", "-z", "--no-renames", a, b).stdout.split(b"\0")
    heads = [head.split(b" ") for head in raw[::2]]
    return [(path, head[1], *head[3:]) for head, path in zip(heads, raw[1::2], strict=False)]


def tree(store: BareRepository, *entries: tuple[str, str, str]) -> str:
    lines = (f"{mode} {name}\0".encode() + bytes.fromhex(sha) for mode, name, sha in entries)
    return store.write_object("tree", b"".join(lines))


def loosen(store: BareRepository) -> None:
    packs = list(store.matching("objects/pack/pack-*.pack"))
    data = [pack.read_bytes() for pack in packs]
    for file in list(store.matching("objects/pack/*")):
        file.unlink()
    for pack in data:
        store.run("unpack-objects", "-q", stdin=pack)


@pytest.fixture
def history(store: BareRepository, clone: Any) -> list[str]:
    """Files that come, change, go, become executable, links, directories, files again, and a module."""
    main = clone.on("main")
    shas = [main.git("rev-parse", "HEAD")]
    shas.append(main.commit({"a.txt": "other\n", "src/deep/er/new.py": "n\n", "src.txt": "s\n", "ü.txt": "u\n"}))
    (main.path / "src/b.py").unlink()
    shas.append(main.commit({"src/deep/c.py": None, "moved.py": "c = 1\n", "src/b.py/inner": "i\n"}))
    (main.path / "moved.py").chmod(0o755)
    (main.path / "a.txt").unlink()
    (main.path / "a.txt").symlink_to("moved.py")
    shas.append(main.commit({"src/b.py/inner": None}))
    (main.path / "src/b.py").rmdir()
    shas.append(main.commit({"src/b.py": "a file again\n"}))
    main.git("update-index", "--add", "--cacheinfo", f"160000,{shas[0]},module")
    main.git("commit", "-q", "-m", "module")
    shas.append(main.git("rev-parse", "HEAD"))
    store.fetch(str(clone.path), "main")
    return shas


@pytest.fixture(autouse=True)
def forgotten():
    trees._packed.clear()


def as_we_tell(store: BareRepository, a: str, b: str) -> list[tuple[bytes, ...]]:
    return [(one.path, one.mode, one.blob, one.status) for one in trees.differences(store, a, b)]


def test_modes_that_old_tools_wrote_are_read_as_git_reads_them(store: BareRepository):
    """As soon as anything beside them changes, git writes them as it would have: that alone is no difference."""
    one, other = store.write_object("blob", b"1"), store.write_object("blob", b"2")
    old = tree(store, ("100600", "a", one), ("100664", "b", one), ("100775", "c", one))
    same = tree(store, ("100644", "a", one), ("100644", "b", one), ("100755", "c", one))
    new = tree(store, ("100664", "a", other), ("100755", "b", one), ("100777", "d", one))
    roots = [
        tree(store, ("040000", "d", old), ("0100644", "x", one), ("0160000", "y", one)),
        tree(store, ("40000", "d", same), ("100644", "x", one), ("160000", "y", one)),
        tree(store, ("40000", "d", new), ("0120000", "x", one), ("0160000", "y", other)),
    ]
    assert as_we_tell(store, roots[0], roots[1]) == []
    for a in roots:
        for b in roots:
            assert as_we_tell(store, a, b) == as_git_tells(store, a, b)


@pytest.mark.parametrize("packed", [False, True])
def test_every_pair_differs_as_git_tells(store: BareRepository, history: list[str], *, packed: bool):
    if not packed:
        loosen(store)
    pairs = [(a, b) for a in history for b in history]
    told = [as_git_tells(store, *pair) for pair in pairs]
    assert {status for entries in told for *_, status in entries} == {b"A", b"D", b"M", b"T"}
    at_once = trees.all_differences(store, pairs)
    assert [[(one.path, one.mode, one.blob, one.status) for one in found] for found in at_once] == told
    for (a, b), found in zip(pairs, at_once, strict=True):
        trees._packed.clear()
        assert trees.differences(store, a, store.tree(b)) == found


def test_a_packed_tree_is_asked_for_once(store: BareRepository, history: list[str], monkeypatch: pytest.MonkeyPatch):
    known = trees.differences(store, history[1], history[2])
    monkeypatch.setattr(BareRepository, "run", lambda *_, **__: pytest.fail("a child"))
    assert trees.differences(store, history[1], history[2]) == known


def test_loose_trees_need_no_child(store: BareRepository, history: list[str], monkeypatch: pytest.MonkeyPatch):
    loosen(store)
    monkeypatch.setattr(BareRepository, "run", lambda *_, **__: pytest.fail("a child"))
    assert len(trees.differences(store, history[0], history[1])) == 4


def test_a_commit_that_is_not_there_is_an_error(store: BareRepository, history: list[str]):
    with pytest.raises(AdapterError, match="cannot be read"):
        trees.differences(store, history[0], "0" * 39 + "1")


def test_it_forgets_in_time(store: BareRepository, history: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trees, "MOST_KEPT", 8)
    for sha in history[1:]:
        trees.differences(store, history[0], sha)
        assert len(trees._packed) <= 8


def test_it_never_keeps_more(store: BareRepository, history: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trees, "MOST_KEPT", 2)
    trees.all_differences(store, [(sha, sha) for sha in history])
    assert len(trees._packed) == 2
