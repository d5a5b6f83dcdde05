"""Merges and commits made of objects only: no checkout, no index, nothing left behind by a kill."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from orchestration.adapters.git.directory import GitDirectory
from orchestration.adapters.git.objects import Objects
from orchestration.adapters.git.runner import check_sha, is_sha, shown
from orchestration.adapters.git.values import CleanMerge, MergeConflict, Person, Staged
from orchestration.domain.errors import AdapterError, Failure, InvalidInput

_CRUD = re.compile(r"[\x00-\x1f\x7f<>]")


_CUT = "An answer of git about a merge was cut off."
_MERGE_TREE = ("merge-tree", "--write-tree", "-z", "--messages")


@dataclass(frozen=True, slots=True)
class Merged:
    """What merge-tree printed: with a conflict, the tree holds markers."""

    tree: str
    conflicted: bool
    staged: tuple[Staged, ...]
    messages: tuple[tuple[str, str], ...]  # kind and text

    @property
    def raw_paths(self) -> tuple[bytes, ...]:
        return tuple(dict.fromkeys(one.raw_path for one in self.staged))

    @property
    def conflict(self) -> MergeConflict:
        paths = tuple(shown(path) for path in self.raw_paths)
        said = [text for kind, text in self.messages if kind.startswith("CONFLICT")]
        kinds = frozenset(kind for kind, _ in self.messages)
        return MergeConflict(paths, "\n".join(said), self.tree, self.staged, kinds)


class Merging(Objects):
    """Merge two commits, write commits, ask how commits are related."""

    def is_ancestor(self, a: str, b: str) -> bool:
        return self.merge_bases(b, a) == [a]

    def merge_base(self, a: str, b: str) -> str | None:
        """The best common ancestor; None when the two share no history."""
        return next(iter(self.merge_bases(a, b)), None)

    def merge_bases(self, a: str, b: str) -> list[str]:
        """Every best one. How commits are related never changes, so it is asked once."""
        return list(_merge_bases(self.path, check_sha(a), check_sha(b)))

    def merge(self, ours: str, theirs: str) -> CleanMerge | MergeConflict:
        """Three-way merge with renames. Only git's exit code 1 is a conflict; anything else is an error."""
        merged = self._merge_tree(ours, theirs)
        return merged.conflict if merged.conflicted else CleanMerge(merged.tree)

    def tree(self, commit: str) -> str:
        return self.run("rev-parse", "--verify", f"{check_sha(commit)}^{{tree}}").text.strip()

    def _merge_tree(self, ours: str, theirs: str) -> Merged:
        result = self.run(*_MERGE_TREE, check_sha(ours), check_sha(theirs), ok=(0, 1))
        if not re.match(rb"[0-9a-f]{40}\0", result.stdout):  # an unknown commit also ends with 1
            raise AdapterError(Failure.PERMANENT, f"git cannot merge: {result.stderr.strip() or 'no reason given'}.")
        try:
            # Each list ends with an empty field; git leaves out the last one where only one merge was asked for.
            merged = read_merge((result.stdout + b"\0\0").split(b"\0"), conflicted=result.code == 1)
        except (ValueError, IndexError):
            raise AdapterError(Failure.TRANSIENT, _CUT) from None
        if merged.conflicted and not (merged.staged or merged.messages):  # a conflict without a word evicts nobody
            raise AdapterError(Failure.TRANSIENT, _CUT)
        return merged

    def commit(
        self,
        tree: str,
        parents: Sequence[str],
        message: str,
        *,
        author: Person,
        committer: Person,
        when: datetime,
    ) -> str:
        """Write a commit object; tree and parents are ids that git gave. The same arguments give the same SHA, so
        doing it again does nothing.
        """
        stamp = f"{int(when.timestamp())} +0000"
        lines = [
            f"tree {check_sha(tree)}",
            *(f"parent {check_sha(parent)}" for parent in dict.fromkeys(parents)),
            f"author {_identity(author)} {stamp}",
            f"committer {_identity(committer)} {stamp}",
        ]
        body = message.replace("\0", "").rstrip("\n")
        return self.write_object("commit", "\n".join([*lines, "", body, ""]).encode("utf-8", "replace"))


@lru_cache(maxsize=1024)
def _merge_bases(path: Path, a: str, b: str) -> tuple[str, ...]:
    found = tuple(GitDirectory(path).run("merge-base", "--all", a, b, ok=(0, 1)).text.split())
    if not all(map(is_sha, found)):  # never remembered
        raise AdapterError(Failure.TRANSIENT, _CUT)
    return found


def _identity(person: Person) -> str:
    name, email = (_CRUD.sub(" ", part).strip(" .,:;\"'\\") for part in (person.name, person.email))
    if not name or not email:
        raise InvalidInput("A commit needs a person with a name and an e-mail address.")
    return f"{name} <{email}>"


def read_merge(raw: Sequence[bytes], *, conflicted: bool) -> Merged:
    """The tree, then staged entries up to an empty field, then messages up to another. IndexError: more is due."""
    return _read(raw, 0, conflicted=conflicted)[0]


def read_merges(raw: Sequence[bytes]) -> list[Merged]:
    """Of several: before each of them, whether it is clean. What git left half said is not among them."""
    found: list[Merged] = []
    place = 0
    while place < len(raw) and raw[place] in {b"0", b"1"}:
        try:
            merged, place = _read(raw, place + 1, conflicted=raw[place] == b"0")
        except IndexError:
            break
        found.append(merged)
    return found


def _read(raw: Sequence[bytes], place: int, *, conflicted: bool) -> tuple[Merged, int]:
    """And where the next one begins."""
    tree, place = raw[place].decode(), place + 1
    staged: list[Staged] = []
    while raw[place]:
        head, _, path = raw[place].partition(b"\t")
        mode, blob, number = head.decode().split(" ")
        staged.append(Staged(int(number), mode, blob, path))
        place += 1
    messages: list[tuple[str, str]] = []
    place += 1
    while raw[place]:
        place += int(raw[place]) + 1
        messages.append((shown(raw[place]), shown(raw[place + 1]).strip()))
        place += 2
    return Merged(tree, conflicted, tuple(staged), tuple(messages)), place + 1
