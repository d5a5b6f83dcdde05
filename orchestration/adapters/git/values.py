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
class MergeConflict:
    paths: tuple[str, ...]
    detail: str


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
