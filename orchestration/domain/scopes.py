"""Whether two scopes can meet in one path. Globs are relative to the root; one that names a directory has all of it.

Sound, never exact: what cannot be decided from the text alone counts as meeting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from orchestration.domain import paths

DEEP = "**"  # any number of names
_WILD = frozenset("*?[{\\")


@dataclass(frozen=True, slots=True)
class Held:
    """A scope that somebody works in."""

    name: str
    scope: tuple[str, ...]


def holder(scope: Sequence[str], held: Iterable[Held]) -> tuple[str, str] | None:
    """The first glob of `scope` that somebody holds, and who. A scope that is empty is unknown and meets nothing."""
    for other in held:
        for glob in scope:
            if any(overlap(glob, theirs) for theirs in other.scope):
                return glob, other.name
    return None


def strays(scope: Sequence[str], changed: Iterable[str]) -> list[str]:
    """The paths that lie outside for certain. A scope that is empty is unknown and has them all."""
    return [path for path in changed if scope and not any(overlap(glob, path) for glob in scope)]


def doubt(scope: Sequence[str], changed: Iterable[str]) -> str:
    """Said, not forbidden: a change often needs a file that nobody thought of. Empty where there is none."""
    paths = strays(scope, changed)
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return f"It changed files outside its scope: {', '.join(paths[:3])}{more}." if paths else ""


@lru_cache(maxsize=65536)
def overlap(one: str, other: str) -> bool:
    """False only where no path can match both."""
    return _meet(_pattern(one), _pattern(other), DEEP, _names_meet)


@lru_cache(maxsize=4096)
def _pattern(glob: str) -> tuple[str, ...]:
    """The glob name by name. What we do not read, such as braces, stands for anything from that place on."""
    names = paths.parts(glob)
    if not names or glob.startswith("!"):
        return (DEEP,)
    found: list[str] = [DEEP] if len(names) == 1 and _WILD & set(glob) else []  # `*.py` is meant at every depth
    for name in names:
        if "{" in name or "\\" in name or (DEEP in name and name != DEEP):
            break
        found.append(_name(name))
    return (*found, DEEP)


def _name(name: str) -> str:
    """A set of characters may be a directory that is really called [so]: any characters from there on."""
    start = name.find("[")
    return name if start < 0 else f"{name[:start]}*"


def _names_meet(one: str, other: str) -> bool:
    return one == other or (_is_pattern(one, other) and _meet(one, other, "*", _characters_meet))


def _is_pattern(*names: str) -> bool:
    return any("*" in name or "?" in name for name in names)


def _characters_meet(one: str, other: str) -> bool:
    return one == other or "?" in {one, other}


def _meet(one: Sequence[str], other: Sequence[str], star: str, meets: Callable[[str, str], bool]) -> bool:
    """Whether one sequence can match both; `star` is any number of parts. Row by row, so that no glob is dear."""
    row = [True]
    for index, theirs in enumerate(other):
        row.append(row[index] and theirs == star)
    for mine in one:
        above, row = row, [row[0] and mine == star]
        for index, theirs in enumerate(other):
            if star in {mine, theirs}:
                row.append(above[index + 1] or row[index])
            else:
                row.append(above[index] and meets(mine, theirs))
    return row[-1]
