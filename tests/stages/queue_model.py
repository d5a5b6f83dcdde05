"""What the merge queue should make of a tree, told without git: whole files, changed on one side or on both."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestration.adapters.git.store import BareRepository
from tests.adapters.git.conftest import AGENT, WHEN


@dataclass(frozen=True)
class File:
    content: bytes
    mode: str = "100644"

    @property
    def blob(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()  # noqa: S324 - git's own


Tree = Mapping[str, File]


@dataclass(frozen=True)
class Change:
    """From the tree that an agent began with to the one that it left; `head` is its commit."""

    before: Tree
    after: Tree
    head: str = ""

    @property
    def paths(self) -> set[str]:
        return changed(self.before, self.after)


@dataclass(frozen=True)
class Verdict:
    """`tree` is None where it conflicts; not `sure` where git may follow a rename and do better."""

    tree: Tree | None
    sure: bool = True
    paths: frozenset[str] = field(default_factory=frozenset)


def changed(before: Tree, after: Tree) -> set[str]:
    return {path for path in {*before, *after} if before.get(path) != after.get(path)}


def merged(change: Change, ours: Tree) -> Verdict:
    result = dict(ours)
    paths = change.paths
    sure = not _renames_meet(change.before, ours, paths) and not _renames_meet(
        change.before, change.after, changed(change.before, ours)
    )
    for path in paths:
        try:
            settled = _three_way(change.before.get(path), ours.get(path), change.after.get(path))
        except ValueError:
            return Verdict(None, sure, frozenset(paths))
        result.pop(path, None)
        if settled:
            result[path] = settled
    return Verdict(result, sure, frozenset(paths))


def _three_way(before: File | None, ours: File | None, theirs: File | None) -> File | None:
    if ours in (before, theirs):
        return theirs
    if theirs == before:
        return ours
    if not (before and ours and theirs):
        raise ValueError("one side has deleted it, or both have made it")
    return File(
        _pick(before.content, ours.content, theirs.content), _pick(before.mode, ours.mode, theirs.mode).decode()
    )


def _pick(before: bytes | str, ours: bytes | str, theirs: bytes | str) -> bytes:
    if ours in (before, theirs):
        chosen = theirs
    elif theirs == before:
        chosen = ours
    else:
        raise ValueError("both have changed it")
    return chosen.encode() if isinstance(chosen, str) else chosen


def _renames_meet(before: Tree, after: Tree, others: set[str]) -> bool:
    """Whether a side moved a file, and the other side changed something there."""
    gone = {before[path].content: path for path in before if path not in after}
    moved = [(gone[file.content], path) for path, file in after.items() if path not in before and file.content in gone]
    return any(one in others for pair in moved for one in pair)


def commit(store: BareRepository, parent: str, before: Tree, after: Tree, name: str) -> str:
    """The change as a pinned commit on `parent`. All files lie at the top, so that a tree is one object."""
    for path in changed(before, after) & set(after):
        store.write_object("blob", after[path].content)
    rows = (
        b"%s %s\0%s" % (after[path].mode.encode(), path.encode(), bytes.fromhex(after[path].blob))
        for path in sorted(after)
    )
    tree = store.write_object("tree", b"".join(rows))
    sha = store.commit(tree, [parent], name, author=AGENT, committer=AGENT, when=WHEN)
    store.pin("attempts", name, sha)
    return sha


def tree_of(store: BareRepository, sha: str) -> dict[str, tuple[str, str]]:
    """Mode and blob of every path, as git has them."""
    rows = store.run("ls-tree", "-r", "-z", sha).text.split("\0")
    entries = (row.partition("\t") for row in rows if row)
    return {path: (head.split()[0], head.split()[2]) for head, _, path in entries}


def blobs(tree: Tree) -> dict[str, tuple[str, str]]:
    return {path: (file.mode, file.blob) for path, file in tree.items()}


def read(store: BareRepository, sha: str) -> dict[str, File]:
    return {
        path: File(store.run("cat-file", "blob", blob).stdout, mode)
        for path, (mode, blob) in tree_of(store, sha).items()
    }
