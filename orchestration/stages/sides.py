"""A conflict as it is now, with the three sides of each file: for a person who is to settle it."""

from __future__ import annotations

from dataclasses import dataclass

from orchestration.adapters.git.settling import BASE, OURS, THEIRS
from orchestration.domain.errors import AdapterError, InvalidInput
from orchestration.domain.resolving import Place, labelled, lines_between_markers, places
from orchestration.models import MergeEntry
from orchestration.stages.resolution import Settling
from orchestration.stages.rows import store_of

MOST_SHOWN = 200_000  # characters of one side
_WHAT = {  # whether it was there before both, on the branch, and in the subtask
    (True, True, True): "Both changed it.",
    (True, True, False): "The branch changed it, this subtask deleted or moved it.",
    (True, False, True): "The branch deleted or moved it, this subtask changed it.",
    (True, False, False): "Both moved it, each to another place.",
    (False, True, True): "Both made a file of this name.",
    (False, True, False): "Only the branch has a file of this name.",
    (False, False, True): "Only this subtask has a file of this name.",
}


@dataclass(frozen=True, slots=True)
class Side:
    """`text` is None where there is no such file, or no text."""

    name: str
    text: str | None
    note: str = ""
    exists: bool = True


@dataclass(frozen=True, slots=True)
class File:
    path: str
    base: Side
    ours: Side
    theirs: Side
    merged: str | None  # with markers; None: it cannot be edited here
    lines: int
    places: tuple[Place, ...] = ()

    @property
    def what(self) -> str:
        return _WHAT[self.base.exists, self.ours.exists, self.theirs.exists]

    @property
    def has_both(self) -> bool:
        """The lines of both sides can be taken."""
        return self.ours.text is not None and self.theirs.text is not None

    @property
    def sides(self) -> tuple[Side, Side, Side]:
        return self.base, self.ours, self.theirs


@dataclass(frozen=True, slots=True)
class Meant:
    """What somebody who landed changes of these files was to do, and said of it."""

    id: str
    name: str
    instruction: str
    said: str


@dataclass(frozen=True, slots=True)
class Conflicting:
    files: tuple[File, ...] = ()
    rivals: tuple[Meant, ...] = ()
    gone: bool = False  # by now it can be merged as it is
    detail: str = ""
    problem: str = ""


def conflicting(entry: MergeEntry) -> Conflicting:
    """Files that are settled by a rule are not among them; what cannot be read says why."""
    try:
        settling = Settling(entry, store_of(entry.swarm).tip(entry.swarm.branch) or entry.swarm.head_sha)
        if settling.conflict is None or settling.is_settled:
            return Conflicting(gone=True)
        found = tuple(_file(settling, path, blobs) for path, blobs in settling.blobs())
        return Conflicting(found, tuple(map(_meant, settling.rivals())), detail=settling.conflict.detail)
    except (AdapterError, InvalidInput) as error:
        return Conflicting(problem=str(error))


def _file(settling: Settling, path: str, blobs: dict[int, str]) -> File:
    merged = settling.store.read_file(settling.start, path, max_bytes=MOST_SHOWN + 1) or b""
    whole = len(merged) <= MOST_SHOWN and b"\0" not in merged
    text = labelled(merged.decode("utf-8", "replace")) if whole else None
    return File(
        path,
        _side(settling, "Before both", blobs.get(BASE)),
        _side(settling, "The branch: what landed", blobs.get(OURS)),
        _side(settling, "This subtask", blobs.get(THEIRS)),
        merged=text,
        lines=lines_between_markers(merged),
        places=tuple(places(text)) if text else (),
    )


def _meant(entry: MergeEntry) -> Meant:
    handoff = getattr(entry.attempt, "handoff", None)
    subtask = entry.subtask
    return Meant(subtask.public_id, subtask.name, subtask.instruction, handoff.summary if handoff else "")


def _side(settling: Settling, name: str, blob: str | None) -> Side:
    if blob is None:
        return Side(name, None, "There is no such file.", exists=False)
    content = next(settling.store.blobs([blob]))
    if b"\0" in content[:8000]:
        return Side(name, None, f"It is no text ({len(content):,} bytes).")
    if len(content) > MOST_SHOWN:
        return Side(name, content[:MOST_SHOWN].decode("utf-8", "replace"), "Its end is not shown.")
    return Side(name, content.decode("utf-8", "replace"))
