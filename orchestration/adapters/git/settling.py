"""Conflicts that a repository's own rules settle, on the conflicted entries alone: no file is checked out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from orchestration.adapters.git.runner import run_git, shown
from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.git.values import MergeConflict, Staged
from orchestration.domain.policies import Policy

# What happened to anything else, such as a rename, cannot be told from the entries of its path.
_KINDS = frozenset({"Auto-merging", "CONFLICT (contents)", "CONFLICT (modify/delete)", "CONFLICT (binary)"})
_FILES = frozenset({"100644", "100755"})
_OURS, _THEIRS = 2, 3
_GONE = f"0 {'0' * 40}"


def settle(store: BareRepository, conflict: MergeConflict, policy_for: Callable[[str], Policy | None]) -> str | None:
    """The tree in which every path that conflicts is as its policy says; None where one has none or cannot be."""
    if not conflict.kinds <= _KINDS:
        return None
    found: dict[bytes, str] = {}
    for path, sides in _by_path(conflict.staged).items():
        entry = _entry(store, policy_for(shown(path)), sides)
        if entry is None:
            return None
        found[path] = entry
    return _with_entries(store, conflict.tree, found)


def _by_path(staged: Iterable[Staged]) -> dict[bytes, dict[int, Staged]]:
    found: dict[bytes, dict[int, Staged]] = {}
    for one in staged:
        found.setdefault(one.raw_path, {})[one.number] = one
    return found


def _entry(store: BareRepository, policy: Policy | None, sides: Mapping[int, Staged]) -> str | None:
    """Mode and blob."""
    match policy:
        case Policy.OURS | Policy.THEIRS:
            side = sides.get(_OURS if policy is Policy.OURS else _THEIRS)
            return f"{side.mode} {side.blob}" if side else _GONE
        case Policy.UNION:
            return _union(store, sides)
        case None:
            return None


def _union(store: BareRepository, sides: Mapping[int, Staged]) -> str | None:
    """The lines of both; not of a file that one side deleted, of links, or of what is no text."""
    modes = {sides[number].mode if number in sides else "" for number in (_OURS, _THEIRS)}
    if len(modes) != 1 or not modes <= _FILES:
        return None
    with tempfile.TemporaryDirectory(prefix="swarmsite-union-") as scratch:
        files = [Path(scratch) / str(number) for number in (_OURS, 1, _THEIRS)]
        for number, file in zip((_OURS, 1, _THEIRS), files, strict=True):
            side = sides.get(number)
            file.write_bytes(store.run("cat-file", "blob", side.blob).stdout if side else b"")
        merged = run_git("merge-file", "-p", "--union", "--", *map(str, files), ok=(0, 255))
    return None if merged.code else f"{modes.pop()} {store.write_object('blob', merged.stdout)}"


def _with_entries(store: BareRepository, tree: str, entries: Mapping[bytes, str]) -> str:
    lines = b"".join(f"{entry}\t".encode() + path + b"\0" for path, entry in entries.items())
    with tempfile.TemporaryDirectory(prefix="swarmsite-index-") as scratch:
        index = Path(scratch) / "index"
        store.run("read-tree", tree, index=index)
        store.run("update-index", "-z", "--index-info", index=index, stdin=lines)
        return store.run("write-tree", index=index).text.strip()
