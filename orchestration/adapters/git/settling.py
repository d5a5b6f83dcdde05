"""Conflicts that a repository's own rules settle, on the conflicted entries alone: no file is checked out."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestration.adapters.git.runner import check_sha, run_git, shown
from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.git.values import MergeConflict, Staged
from orchestration.domain.policies import Policy

# What happened to anything else, such as a rename, cannot be told from the entries of its path.
_KINDS = frozenset({"Auto-merging", "CONFLICT (contents)", "CONFLICT (modify/delete)", "CONFLICT (binary)"})
_FILES = frozenset({"100644", "100755"})
_MADE_UP = re.compile(rb"(.+)~[0-9a-f]{40}(?:_\d+)?", re.DOTALL)
BASE, OURS, THEIRS = 1, 2, 3
GONE = f"0 {'0' * 40}"  # instead of mode and blob: there is no such file
PolicyFor = Callable[[str], Policy | None]


Recall = Callable[[str, str, str], str | None]  # of three blobs, empty where there is none: mode and blob, or GONE


@dataclass(frozen=True, slots=True)
class Settlement:
    """What the rules make of each path, and those that somebody else has to settle."""

    tree: str
    settled: Mapping[bytes, str]
    left: tuple[bytes, ...]


def settle(
    store: BareRepository, conflict: MergeConflict, policy_for: PolicyFor, recall: Recall | None = None
) -> str | None:
    """The tree in which every path that conflicts is as its policy says; None where one has none or cannot be."""
    if is_about_names(conflict):
        return None
    found: dict[bytes, str] = {}
    for path, sides in sides_of(conflict).items():
        entry = _entry(store, policy_for(shown(path)), sides) or _recalled(recall, sides)
        if entry is None:
            return None
        found[path] = entry
    return with_entries(store, conflict.tree, found)


def settle_what_can(
    store: BareRepository, conflict: MergeConflict, policy_for: PolicyFor, recall: Recall | None = None
) -> Settlement:
    """What the rules settle, git's markers in the rest, and the branch's file where a command makes it anew."""
    settled: dict[bytes, str] = {}
    put: dict[bytes, str] = {}
    for path, sides in () if is_about_names(conflict) else sides_of(conflict).items():
        policy = policy_for(shown(path))
        entry = _entry(store, policy, sides) or _recalled(recall, sides)
        if entry:
            settled[path] = put[path] = entry
        elif policy is Policy.REGENERATE:
            put[path] = _of(sides.get(OURS))
    tree = with_entries(store, conflict.tree, put) if put else conflict.tree
    return Settlement(tree, settled, tuple(path for path in sides_of(conflict) if path not in settled))


def sides_of(conflict: MergeConflict) -> dict[bytes, dict[int, Staged]]:
    """By path: the base's entry, ours and theirs, as far as there is one."""
    found: dict[bytes, dict[int, Staged]] = {}
    for one in conflict.staged:
        found.setdefault(one.raw_path, {})[one.number] = one
    return found


def is_about_names(conflict: MergeConflict) -> bool:
    """Not only about contents: something was renamed, or wants a name that the other side uses otherwise."""
    return not conflict.kinds <= _KINDS


def made_up(path: bytes) -> bytes | None:
    """The name that a file was to have, where git gave it another beside what stands in its way."""
    found = _MADE_UP.fullmatch(path)
    return found[1] if found else None


def entries_at(store: BareRepository, commit: str, wanted: Iterable[bytes]) -> dict[bytes, str]:
    """Mode and blob of each path that is a file there."""
    names = [path.decode() for path in wanted if is_plain(path)]
    if not names:
        return {}
    raw = store.run("ls-tree", "-z", "--full-tree", check_sha(commit), "--", *names).stdout
    found: dict[bytes, str] = {}
    for line in raw.split(b"\0"):
        head, _, path = line.partition(b"\t")
        if path:
            mode, _kind, blob = head.decode().split(" ")
            found[path] = f"{mode} {blob}"
    return found


def is_plain(path: bytes) -> bool:
    """Whether a row can hold it as it is."""
    return shown(path).encode() == path and not path.startswith(b":")


def _of(side: Staged | None) -> str:
    return f"{side.mode} {side.blob}" if side else GONE


def _recalled(recall: Recall | None, sides: Mapping[int, Staged]) -> str | None:
    return recall(*blobs_of(sides)) if recall else None


def blobs_of(sides: Mapping[int, Staged]) -> tuple[str, str, str]:
    base, ours, theirs = (sides[number].blob if number in sides else "" for number in (BASE, OURS, THEIRS))
    return base, ours, theirs


def _entry(store: BareRepository, policy: Policy | None, sides: Mapping[int, Staged]) -> str | None:
    """Mode and blob; None where the policy does not say, or cannot be followed."""
    match policy:
        case Policy.OURS | Policy.THEIRS:
            return _of(sides.get(OURS if policy is Policy.OURS else THEIRS))
        case Policy.UNION:
            return union(store, sides)
        case Policy.REGENERATE | None:
            return None


def union(store: BareRepository, sides: Mapping[int, Staged]) -> str | None:
    """The lines of both; not of a file that one side deleted, of links, or of what is no text."""
    modes = {sides[number].mode if number in sides else "" for number in (OURS, THEIRS)}
    if len(modes) != 1 or not modes <= _FILES:
        return None
    with tempfile.TemporaryDirectory(prefix="swarmsite-union-") as scratch:
        files = [Path(scratch) / str(number) for number in (OURS, BASE, THEIRS)]
        for number, file in zip((OURS, BASE, THEIRS), files, strict=True):
            side = sides.get(number)
            file.write_bytes(store.run("cat-file", "blob", side.blob).stdout if side else b"")
        merged = run_git("merge-file", "-p", "--union", "--", *map(str, files), ok=(0, 255))
    return None if merged.code else f"{modes.pop()} {store.write_object('blob', merged.stdout)}"


def with_entries(store: BareRepository, tree: str, entries: Mapping[bytes, str]) -> str:
    """The tree with these paths as given."""
    lines = b"".join(f"{entry}\t".encode() + path + b"\0" for path, entry in entries.items())
    with tempfile.TemporaryDirectory(prefix="swarmsite-index-") as scratch:
        index = Path(scratch) / "index"
        store.run("read-tree", tree, index=index)
        store.run("update-index", "-z", "--index-info", index=index, stdin=lines)
        return store.run("write-tree", index=index).text.strip()
