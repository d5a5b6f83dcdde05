"""What a planner is sent: its context in parts, each only where it changed, and a conversation that is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.domain.conversation import Message, ToolCall

MAX_CHARACTERS = 400_000  # of a conversation; beyond it the old iterations are replaced by their scratchpads
MOST_NEWS = 60  # changed lines that are told one by one; of more, the whole part is sent again
MAX_SCRATCHPADS = 40_000  # characters of earlier iterations that a new conversation begins with


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the context. `news` tells a change in fewer words than `text`, to whoever has the old one."""

    name: str
    text: str
    news: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """`sent` is the hash of every part that the planner has now; `saved` counts what needed no sending."""

    text: str
    sent: dict[str, str]
    saved: int


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def compose(parts: Iterable[Part], before: Mapping[str, str]) -> Context:
    """The parts as one text for a planner that has those of `before`; what it has already is only named."""
    told: list[str] = []
    unchanged: list[str] = []
    sent, saved = dict(before), 0
    for part in parts:
        if sent.get(part.name) == digest(part.text):
            unchanged.append(part.name)
            saved += len(part.text)
            continue
        text = _tell(part, known=part.name in before)
        saved += max(0, len(part.text) - len(text))
        told += [text] if text else []
        sent[part.name] = digest(part.text)
    if unchanged:
        told.append(f"Unchanged since you were last told: {', '.join(unchanged)}.")
    return Context("\n\n".join(told), sent, saved)


def _tell(part: Part, *, known: bool) -> str:
    if known and part.news and len(part.news) < len(part.text):
        return f"{part.name}, what changed since you were last told:\n{part.news}"
    if not part.text:
        return f"{part.name}: there is none any more." if known else ""
    return f"{part.name}:\n{part.text}"


def line_news(before: Sequence[str], now: Sequence[str]) -> str:
    """The lines that came (+) and went (-); empty where there are too many to tell them so."""
    old, new = set(before), set(now)
    lines = [f"+ {line}" for line in now if line not in old] + [f"- {line}" for line in before if line not in new]
    return "\n".join(lines) if len(lines) <= MOST_NEWS else ""


def history(scratchpads: Sequence[str]) -> str:
    """What the planner wrote in earlier iterations, the newest whole and as many before it as fit."""
    kept: list[str] = []
    left = MAX_SCRATCHPADS
    for text in reversed([text for text in scratchpads if text.strip()]):
        if kept and len(text) > left:
            kept.append("(Earlier ones are left out.)")
            break
        kept.append(text)
        left -= len(text)
    return "\n\n---\n\n".join(reversed(kept))


def size(messages: Iterable[Message]) -> int:
    return sum(len(one.text) + sum(len(call.arguments) for call in one.tool_calls) for one in messages)


def dump(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """The conversation as JSON values."""
    return [
        {
            "role": one.role,
            "text": one.text,
            "calls": [[call.id, call.name, call.arguments] for call in one.tool_calls],
            "answers": one.tool_call_id,
        }
        for one in messages
    ]


def load(rows: Iterable[Mapping[str, Any]]) -> list[Message]:
    return [
        Message(row["role"], row["text"], tuple(ToolCall(*call) for call in row["calls"]), row["answers"])
        for row in rows
    ]
