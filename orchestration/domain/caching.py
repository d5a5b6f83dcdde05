"""What the result of a research or verify subtask depended on, and what is kept of it under that key.

Changes are never cached. Whatever an agent is told or may look at is part of the key, except the names of its swarm
and of its subtask, which say nothing about the work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from orchestration.domain import paths
from orchestration.domain.conversation import ToolSpec
from orchestration.domain.sharing import as_json

FORMAT = 1  # changed with the meaning of a key or of an entry: older ones are then never found
KINDS = frozenset({"research", "verify"})
HIT, MISS, OFF = "hit", "miss", "off"
WHOLE = ""  # the root that stands for the whole tree
MAX_ENTRY_BYTES = 2_000_000
PEOPLE = frozenset({"ask_human"})  # tools whose answer nothing else determines
_WILD = frozenset("*?[{\\!")


@dataclass(frozen=True, slots=True)
class Model:
    """Which model answers; its name alone says nothing about whose it is."""

    kind: str
    base_url: str
    name: str


@dataclass(frozen=True, slots=True)
class Depends:
    """Everything that the work depends on. `trees` are object ids by path, `handoffs` and `shared` JSON values of
    the dependencies, `guidance` is what every agent of this kind is told, `network` whether commands have one."""

    repository: str
    kind: str
    instruction: str
    acceptance: str
    checks: Sequence[str]
    scope: Sequence[str]
    request: str
    guidance: str
    model: Model
    tools: Sequence[ToolSpec]
    trees: Mapping[str, str]
    handoffs: Sequence[Any]
    shared: Sequence[Any]
    network: bool


def key_of(depends: Depends) -> str:
    return hashlib.sha256(as_json({"format": FORMAT} | asdict(depends)).encode("utf-8", "surrogatepass")).hexdigest()


def roots(scope: Iterable[str]) -> tuple[str, ...]:
    """The paths beneath which all of a scope lies: what stands before the first wildcard of each glob. An empty scope
    is the whole tree; so is one that cannot be read."""
    found = {_root(glob) for glob in scope}
    return (WHOLE,) if not found or WHOLE in found else tuple(sorted(found))


def _root(glob: str) -> str:
    names = paths.parts(glob) or ()
    literal = []
    for name in names:
        if _WILD & set(name):
            break
        literal.append(name)
    root = "/".join(literal)
    return WHOLE if root.startswith(":") else root  # git reads more into such a path


class KeptResult(BaseModel):
    model_config = ConfigDict(frozen=True)

    key: str
    value: Any
    tags: list[str]


class KeptArtifact(BaseModel):
    model_config = ConfigDict(frozen=True)

    type: str
    name: str
    mime: str
    sha256: str
    size: int


class Kept(BaseModel):
    """An entry's content."""

    model_config = ConfigDict(frozen=True)

    summary: str
    concerns: list[str]
    suggestions: list[str]
    results: list[KeptResult]
    artifacts: list[KeptArtifact]


@dataclass(frozen=True, slots=True)
class Source:
    """The attempt whose result is given again."""

    swarm: str
    subtask: str
    number: int

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.subtask} in swarm {self.swarm}"


_FROM = "From the cache: "


def from_cache(source: Source, summary: str) -> str:
    """The handoff of a hit says so in its first paragraph."""
    return f"{_FROM}{source} found this, and nothing that it depended on has changed since.\n\n{summary}"


def without_origin(summary: str) -> str:
    """What was found, wherever it came from: so that a hit changes nothing for those that build on it."""
    return summary.partition("\n\n")[2] if summary.startswith(_FROM) else summary


def told_only_by(keys: Iterable[Mapping[str, Any]], known: Iterable[str]) -> bool:
    """Whether each call of get_results asked for one key of a dependency: any other answer depends on the moment."""
    asked, allowed = list(keys), list(known)
    return all(call.get("key") in allowed and not call.get("prefix") and not call.get("tags") for call in asked)


def too_many(sizes: Sequence[tuple[int, int]], *, entries: int, size: int) -> list[int]:
    """Of (id, bytes), the newest first: those that have to go, so that both bounds hold."""
    kept, gone = 0, []
    for place, (row, its_size) in enumerate(sizes):
        kept += its_size
        if place >= entries or kept > size:
            gone.append(row)
    return gone
