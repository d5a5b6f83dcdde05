"""Subtasks that are split again: which ones, how deep, and what a subplan must keep to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase

from orchestration.domain import paths
from orchestration.domain.config import Strategy
from orchestration.domain.planning import PlannedTask

MAX_DEPTH = 3
MAX_CHILDREN = 10  # of one batch
MAX_BATCHES = 20  # answers of one subtask's subplanner
SPLIT_FROM = 4  # entries of a scope
_WILD = frozenset("*?[")


def may_split(depth: int, strategy: Strategy) -> bool:
    return depth < MAX_DEPTH and strategy is not Strategy.NONE


def wants_split(scope: Sequence[str], kind: str, *, marked: bool) -> bool:
    """A change of many places, or whatever the planner marks."""
    return marked or (kind == "change" and len(set(scope)) >= SPLIT_FROM)


def batch_problems(
    tasks: Sequence[PlannedTask],
    *,
    parent: str,
    scope: Sequence[str],
    siblings: Collection[str],
    known: Collection[str],
) -> Iterable[str]:
    """What makes a subplan of `parent` unusable beside what makes every plan so."""
    if len(tasks) > MAX_CHILDREN:
        yield f"The plan has {len(tasks)} tasks; a subplan takes at most {MAX_CHILDREN} at once. Plan the rest later."
    names = {task.name for task in tasks}
    for task in tasks:
        for entry in task.scope:
            if scope and not inside(entry, scope):
                yield f"The scope {entry[:80]!r} of {task.name!r} lies outside that of {parent!r}."
        for dependency in task.dependencies:
            if dependency in known and dependency not in names and dependency not in siblings:
                yield f"{task.name!r} depends on {dependency!r}, which is no part of {parent!r}."


def inside(entry: str, scope: Iterable[str]) -> bool:
    """Whether every path that `entry` names is one that `scope` names. One that names a folder has all of it."""
    inner = paths.parts(entry)
    return inner is not None and any(_within(inner, outer) for outer in map(_pattern, scope))


def _pattern(glob: str) -> tuple[str, ...]:
    names = paths.parts(glob) or ()
    return ("**", *names) if len(names) == 1 and _WILD & set(glob) else names  # `*.py` is meant at every depth


def _within(inner: Sequence[str], outer: Sequence[str]) -> bool:
    if not outer:
        return True
    if outer[0] == "**":
        return len(outer) == 1 or _within(inner, outer[1:]) or (bool(inner) and _within(inner[1:], outer))
    if not inner or inner[0] == "**" or not _name_within(inner[0], outer[0]):
        return False
    return _within(inner[1:], outer[1:])


def _name_within(inner: str, outer: str) -> bool:
    return outer in {inner, "*"} or (not _WILD & set(inner) and fnmatchcase(inner, outer))
