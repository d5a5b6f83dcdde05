"""Conflicts that are ahead, as pages show them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestration.domain.clashes import Clash, Place
from orchestration.models import Subtask, Swarm
from orchestration.reads.clashes import clashes_ahead

WHERE = {Place.LANDED: "which has landed", Place.QUEUED: "which waits to land", Place.RUNNING: "which is worked on too"}


@dataclass(frozen=True)
class Ahead:
    clash: Clash

    @property
    def key(self) -> str:
        """Of its line, whatever else changes on the page."""
        clash = self.clash
        return "-".join(["clash", clash.subtask, clash.other, clash.place, "will" if clash.sure else "may"])

    @property
    def where(self) -> str:
        return WHERE[self.clash.place]


def ahead(swarm: Swarm, *, of: Subtask | None = None, subtasks: Iterable[Subtask] | None = None) -> list[Ahead]:
    """Two that are told of each other are one line: on a subtask's page its own."""
    found: dict[frozenset[str], Clash] = {}
    for one in clashes_ahead(swarm, of=of, subtasks=subtasks):
        both = frozenset({one.subtask, one.other, one.place.value, str(one.sure)})
        if both not in found or (of and one.subtask == of.public_id):
            found[both] = one
    return list(map(Ahead, found.values()))
