"""What the git adapter gives and takes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Fetched:
    sha: str
    branch: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What a remote has: its branches, and the one that HEAD stands for."""

    branches: dict[str, str]
    head: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One changed path. `status` is git's letter: A, M, D, R (from old_path) or T."""

    path: str
    status: str
    old_path: str = ""


@dataclass(frozen=True, slots=True)
class FileStat:
    path: str
    insertions: int
    deletions: int
    binary: bool = False


@dataclass(frozen=True, slots=True)
class DiffStat:
    files: tuple[FileStat, ...]
    insertions: int
    deletions: int


@dataclass(frozen=True, slots=True)
class CleanMerge:
    tree: str


@dataclass(frozen=True, slots=True)
class Staged:
    """One side of a path that conflicts: 1 the base's entry, 2 ours, 3 theirs."""

    number: int
    mode: str
    blob: str
    raw_path: bytes


@dataclass(frozen=True, slots=True)
class MergeConflict:
    """The tree has markers in the paths that conflict; `kinds` are git's words for what happened."""

    paths: tuple[str, ...]
    detail: str
    tree: str = ""
    staged: tuple[Staged, ...] = ()
    kinds: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LogEntry:
    sha: str
    author: str
    subject: str
    when: datetime


@dataclass(frozen=True, slots=True)
class GrepHit:
    path: str
    line: int
    text: str
