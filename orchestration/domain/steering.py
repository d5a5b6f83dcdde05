"""What people and agents say to each other: its bounds, when two questions are the same, the words that carry it."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from orchestration.domain import context
from orchestration.domain.conversation import Message
from orchestration.domain.errors import InvalidInput
from orchestration.domain.states import DeliveryStatus
from orchestration.domain.texts import storable

SYSTEM = "the merge queue"  # the sender of what no person wrote
MAX_MESSAGE = 10_000  # characters
MAX_QUESTIONS = 100  # different ones in a swarm
MAX_CONVERSATION = 2_000_000  # characters that are kept of a conversation that waits

LEFT_OUT = "(left out while this attempt waited for an answer; look again where you need it)"
CALL_LEFT_OUT = '{"left_out": true}'
WAITS = "Asked. This attempt waits for the answer of a person."
ONE_AT_A_TIME = (
    "Not asked: one question at a time. Ask it again after the answer to the other one, if you still need it."
)
TOO_MANY = (
    f"This swarm has asked people {MAX_QUESTIONS} questions already. Decide yourself, and say so in your handoff."
)


@dataclass(frozen=True, slots=True)
class Resumption:
    """An agent's conversation at the moment when it asked, and the answer."""

    messages: Sequence[Message]
    call_id: str
    question: str
    answer: str
    memory: dict[str, Any]
    used_s: float
    steps: int


def said(text: str, what: str) -> str:
    """A person's words, fit to be kept; raises InvalidInput."""
    text = str(storable(text)).strip()
    if not text:
        raise InvalidInput(f"The {what} is empty. Write what the agent should know.")
    if len(text) > MAX_MESSAGE:
        raise InvalidInput(f"The {what} has {len(text):,} characters; at most {MAX_MESSAGE:,} are delivered.")
    return text


def question_key(text: str, options: Iterable[str]) -> str:
    """The same for questions that differ in case, spaces, closing marks or the order of their options only."""
    normal = [_normal(text), *sorted({_normal(option) for option in options})]
    return hashlib.sha256(json.dumps(normal).encode()).hexdigest()


def _normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(" ?.!")


def expiry(asked_at: datetime, lasts: timedelta, deadline: datetime | None) -> datetime:
    """Until when somebody may answer; never before it was asked."""
    end = asked_at + lasts
    return max(asked_at, min(end, deadline)) if deadline else end


def message_told(sender: str, text: str) -> str:
    if sender == SYSTEM:
        return f"A message from {SYSTEM}:\n\n{text}"
    return f"A message from {sender}, who watches over this swarm. Follow it from here on:\n\n{text}"


def answer_told(person: str, answer: str) -> str:
    return f"{person} answered: {answer}"


def no_answer_told(reason: str) -> str:
    return f"{reason} Decide yourself, and say in your handoff's concerns what you decided."


def begun_again(before: Resumption) -> str:
    """For an agent whose conversation could not be kept."""
    return (
        "You have worked on this before, and what you changed is in the current directory. You asked:\n\n"
        f"{before.question}\n\n{before.answer}\n\nGo on from there."
    )


def shorten(messages: Sequence[Message], most: int = MAX_CONVERSATION) -> list[Message]:
    """Fits it into so many characters: the oldest results go first, then what was called, then what was said. Every
    call keeps its answer, and the beginning stays whole."""
    kept = list(messages)
    for cut in (_cut_result, _cut_calls, _cut_words):
        kept = _cut_oldest(kept, most, cut)
    return kept


def _cut_oldest(messages: list[Message], most: int, cut: Callable[[Message], Message]) -> list[Message]:
    over = context.size(messages) - most
    kept = messages[:2]
    for one in messages[2:]:
        shorter = cut(one) if over > 0 else one
        over -= context.size([one]) - context.size([shorter])
        kept.append(shorter)
    return kept


def _cut_result(one: Message) -> Message:
    return replace(one, text=LEFT_OUT) if one.role == "tool" and len(one.text) > len(LEFT_OUT) else one


def _cut_calls(one: Message) -> Message:
    calls = tuple(
        replace(call, arguments=CALL_LEFT_OUT) if len(call.arguments) > len(CALL_LEFT_OUT) else call
        for call in one.tool_calls
    )
    return replace(one, tool_calls=calls)


def _cut_words(one: Message) -> Message:
    return replace(one, text=LEFT_OUT) if one.role != "tool" and len(one.text) > len(LEFT_OUT) else one


_ORDER = (DeliveryStatus.WAITING, DeliveryStatus.DELIVERED, DeliveryStatus.ANSWERED)


def message_status(deliveries: Iterable[DeliveryStatus]) -> DeliveryStatus:
    """Of a message to several: the least far of those who can still hear it; expired where nobody ever did."""
    found = set(deliveries)
    return next((status for status in _ORDER if status in found), DeliveryStatus.EXPIRED)
