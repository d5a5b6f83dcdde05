"""The merge queue's rules: which entry is next, what a landing commit says, what a crash left behind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

MAX_INFRA_FAILURES = 20  # tries of one entry that ended neither in a landing nor in a conflict
TRAILER = "MQ-Request"


@dataclass(frozen=True, slots=True)
class Queued:
    id: int
    priority: int


def next_entry(queued: Iterable[Queued]) -> int | None:
    """The most urgent, then the oldest: newest-first would starve."""
    return min(queued, key=lambda one: (one.priority, one.id)).id if (queued := list(queued)) else None


def landing_message(*, name: str, summary: str, entry_id: str, head_sha: str) -> str:
    """Of the merge commit; the trailers make a landing provable from git alone."""
    body = f"\n{summary.strip()}\n" if summary.strip() else ""
    return f"Land {name}\n{body}\n{TRAILER}: {entry_id}\nMQ-Head: {head_sha}\nMQ-Task: {name}\n"


class Recovery(StrEnum):
    """What to do with an entry that a dead writer left in `merging`."""

    LANDED = "landed"  # the ref had moved: only the record is missing
    REDO = "redo"  # the ref had not moved: merge again, it gives the same commit


def recover(*, intent_new: str, intended_is_in_history: bool) -> Recovery:
    return Recovery.LANDED if intent_new and intended_is_in_history else Recovery.REDO
