"""The progress bar of a swarm: what is done, broken, on its way and left, in parts of a thousand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from orchestration.web.looks import look

WIDTH = 1000
ORDER = ("done", "failed", "conflict", "waiting", "merging", "running", "ready")
WORDS = {
    "failed": "failed",
    "conflict": "in conflict",
    "waiting": "waiting",
    "merging": "landing",
    "running": "running",
    "ready": "starting",
}


@dataclass(frozen=True)
class Part:
    role: str
    x: float
    width: float


@dataclass(frozen=True)
class Bar:
    done: int
    total: int
    broken: int
    parts: tuple[Part, ...]
    text: str


def bar(statuses: Iterable[str]) -> Bar:
    """Cancelled subtasks are no longer part of the plan."""
    roles = Counter(look(status).role for status in statuses)
    del roles["cancelled"]
    total = sum(roles.values())
    parts: list[Part] = []
    left = 0.0
    for role in ORDER:
        width = WIDTH * roles[role] / total if total else 0.0
        if width:
            parts.append(Part(role, round(left, 2), round(width, 2)))
            left += width
    return Bar(roles["done"], total, roles["failed"], tuple(parts), _text(roles, total))


def _text(roles: Counter[str], total: int) -> str:
    if not total:
        return "Nothing is planned yet"
    rest = [f"{roles[role]} {WORDS[role]}" for role in ORDER[1:] if roles[role]]
    return ", ".join([f"{roles['done']} of {total} done", *rest])
