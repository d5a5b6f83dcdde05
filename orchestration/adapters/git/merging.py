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
from orchestration.adapters.git.runner import check_sha, shown
from orchestration.adapters.git.values import CleanMerge, MergeConflict, Person
from orchestration.domain.errors import AdapterError, Failure, InvalidInput

_CRUD = re.compile(r"[\x00-\x1f\x7f<>]")


@dataclass(frozen=True, slots=True)
class _Merged:
    """What merge-tree printed: with a conflict, the tree holds markers."""

    tree: str
    conflicted: bool
    raw_paths: tuple[bytes, ...]
    messages: bytes

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(shown(path) for path in self.raw_paths)

    @property
    def detail(self) -> str:
        return _detail(self.messages)


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
        return MergeConflict(merged.paths, merged.detail) if merged.conflicted else CleanMerge(merged.tree)

    def _merge_tree(self, ours: str, theirs: str) -> _Merged:
        command = ("merge-tree", "--write-tree", "-z", "--name-only", "--messages")
        result = self.run(*command, check_sha(ours), check_sha(theirs), ok=(0, 1))
        head, _, messages = result.stdout.partition(b"\0\0")
        tree, *paths = head.rstrip(b"\0").split(b"\0")
        if not re.fullmatch(rb"[0-9a-f]{40}", tree):  # an unknown commit also ends with 1
            raise AdapterError(Failure.PERMANENT, f"git cannot merge: {result.stderr.strip() or 'no reason given'}.")
        return _Merged(
            tree=tree.decode(),
            conflicted=result.code == 1,
            raw_paths=tuple(path for path in paths if path),
            messages=messages,
        )

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
    return tuple(GitDirectory(path).run("merge-base", "--all", a, b, ok=(0, 1)).text.split())


def _identity(person: Person) -> str:
    name, email = (_CRUD.sub(" ", part).strip(" .,:;\"'\\") for part in (person.name, person.email))
    if not name or not email:
        raise InvalidInput("A commit needs a person with a name and an e-mail address.")
    return f"{name} <{email}>"


def _detail(messages: bytes) -> str:
    """Git's own lines about the conflicts out of `<count> NUL <paths> NUL <kind> NUL <text> NUL` records."""
    fields = messages.split(b"\0")
    lines: list[str] = []
    while len(fields) > 1 and fields[0].isdigit():
        count = int(fields[0])
        kind, text = fields[count + 1 : count + 3]
        if kind.startswith(b"CONFLICT"):
            lines.append(shown(text).strip())
        fields = fields[count + 3 :]
    return "\n".join(lines)
