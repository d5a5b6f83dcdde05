"""The bare repository that holds everything a swarm made."""

from __future__ import annotations

from orchestration.adapters.git.content import Content
from orchestration.adapters.git.publishing import Publishing
from orchestration.adapters.git.pushing import Pushing
from orchestration.adapters.git.reading import Reading
from orchestration.adapters.git.references import References
from orchestration.adapters.git.upkeep import Upkeep
from orchestration.adapters.git.values import (
    Change,
    CleanMerge,
    DiffStat,
    Fetched,
    FileStat,
    GrepHit,
    LogEntry,
    MergeConflict,
    Person,
)

__all__ = [
    "BareRepository",
    "Change",
    "CleanMerge",
    "DiffStat",
    "Fetched",
    "FileStat",
    "GrepHit",
    "LogEntry",
    "MergeConflict",
    "Person",
]


class BareRepository(References, Pushing, Reading, Content, Publishing, Upkeep):
    """One per configured repository, under the data directory, written only by us.

    Made with `create()`, which may be repeated. Safe to use from many threads.
    """
