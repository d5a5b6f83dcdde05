"""What a subtask that was split reports: the sum of its parts, never more than they say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestration.domain.handoffs import Claim
from orchestration.domain.states import SubtaskStatus
from orchestration.domain.texts import first_line

MAX_REMARKS = 200
MAX_LINE = 400  # characters of a part's summary


@dataclass(frozen=True, slots=True)
class Piece:
    """One part: how it ended and what was handed off last; `summary` is the reason where nothing was."""

    name: str
    status: SubtaskStatus
    summary: str = ""
    concerns: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    insertions: int = 0
    deletions: int = 0
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`reason` says what is missing; it is empty where every part is complete."""

    claim: Claim
    reason: str
    summary: str
    concerns: list[str]
    suggestions: list[str]
    files: list[str]
    insertions: int
    deletions: int
    duration_ms: int


def aggregate(pieces: Sequence[Piece], notes: Sequence[str] = ()) -> Aggregate:
    """`notes` are concerns of the whole that belong to no part."""
    lacking = [piece for piece in pieces if piece.status is not SubtaskStatus.COMPLETE]
    return Aggregate(
        claim=_claim(len(pieces), len(lacking)),
        reason=_reason(pieces, lacking),
        summary="\n".join([_headline(pieces, lacking), *(_line(piece) for piece in pieces)]),
        concerns=_bounded([*notes, *_prefixed(pieces, "concerns")]),
        suggestions=_bounded(_prefixed(pieces, "suggestions")),
        files=sorted({path for piece in pieces for path in piece.files}),
        insertions=sum(piece.insertions for piece in pieces),
        deletions=sum(piece.deletions for piece in pieces),
        duration_ms=sum(piece.duration_ms for piece in pieces),
    )


def _claim(total: int, lacking: int) -> Claim:
    if total and not lacking:
        return Claim.COMPLETE
    return Claim.FAILED if lacking == total else Claim.PARTIAL


def _headline(pieces: Sequence[Piece], lacking: Sequence[Piece]) -> str:
    return f"Split into {len(pieces)} parts; {len(pieces) - len(lacking)} of them are complete."


def _reason(pieces: Sequence[Piece], lacking: Sequence[Piece]) -> str:
    if not lacking:
        return "" if pieces else "It was to be split, and no part was planned."
    named = ", ".join(f"{piece.name} ({_word(piece.status)})" for piece in lacking[:5])
    more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
    return f"{len(lacking)} of its {len(pieces)} parts did not complete: {named}{more}."


def _line(piece: Piece) -> str:
    said = first_line(piece.summary, MAX_LINE)
    return f"- {piece.name} ({_word(piece.status)}){f': {said}' if said else ''}"


def _word(status: SubtaskStatus) -> str:
    return status.replace("_", " ")


def _prefixed(pieces: Iterable[Piece], field: str) -> list[str]:
    return [f"{piece.name}: {text}" for piece in pieces for text in getattr(piece, field)]


def _bounded(texts: list[str]) -> list[str]:
    more = len(texts) - MAX_REMARKS
    return texts if more <= 0 else [*texts[:MAX_REMARKS], f"And {more} more, with the parts themselves."]
