"""Carries what people say to the agents: into the next turn of whoever works, and into the planner's next iteration."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from orchestration.adapters.secrets import clean
from orchestration.domain.errors import InvalidInput
from orchestration.domain.rights import Action
from orchestration.domain.states import (
    ATTEMPT_LIVE,
    SUBTASK_SETTLED,
    SWARM_OVER,
    DeliveryStatus,
    SwarmStatus,
)
from orchestration.domain.steering import message_told, said
from orchestration.domain.texts import first_line
from orchestration.models import Attempt, Delivery, Message, PlanIteration, Subtask, Swarm, User
from orchestration.models.prepared import PreparedRead, PreparedRows
from orchestration.stages.family import descendants
from orchestration.stages.leases import release_connection
from orchestration.stages.transition import Moves, Superseded, moves, status_of

logger = logging.getLogger(__name__)
MAX_LOGGED = 1000  # characters of a message in its event
MAX_REPLY = 500
NOBODY_LEFT = "What it was for ended before it could be delivered."
TOLD_AGAIN = "A new conversation began, which is told again."


def tell_swarm(swarm: Swarm, person: User, text: str) -> Message:
    """To the planner, which is asked for it once more even where it was done, and to every attempt that is live."""
    _require(swarm, person)
    live = Subtask.objects.filter(swarm=swarm, attempts__status__in=ATTEMPT_LIVE).order_by("pk")
    return _send(swarm, person, text, None, [None, *live])


def tell_subtask(subtask: Subtask, person: User, text: str) -> Message:
    """To its running attempt or the next one; of a subtask that is split, to its subplanner and its parts that run."""
    _require(subtask.swarm, person)
    if status_of(subtask) in SUBTASK_SETTLED:
        word = subtask.status.replace("_", " ")
        raise InvalidInput(f"{subtask.name} is {word}: nobody works on it who could read this.")
    live = [one for one in descendants(subtask) if one.attempts.filter(status__in=ATTEMPT_LIVE).exists()]
    return _send(subtask.swarm, person, text, subtask, [subtask, *live])


def tell_attempt(attempt: Attempt, person: User, text: str) -> Message:
    """To exactly this run while it lasts; should its process die, the subtask's next one hears it."""
    if attempt.status not in ATTEMPT_LIVE:
        raise InvalidInput(f"Attempt {attempt.number} of {attempt.subtask.name} is over; write to the subtask instead.")
    return tell_subtask(attempt.subtask, person, text)


def _require(swarm: Swarm, person: User) -> None:
    if not person.may(Action.STEER, swarm.repository.team):
        raise InvalidInput("Only members of the repository's team may write to its agents.")
    if swarm.status in SWARM_OVER or swarm.status == SwarmStatus.FINALIZING:
        word = swarm.status.replace("_", " ")
        raise InvalidInput(f"The swarm is {word}: no agent works any more who could read this.")


def _send(
    swarm: Swarm, person: User, text: str, subtask: Subtask | None, listeners: Iterable[Subtask | None]
) -> Message:
    words = str(clean(said(text, "message")))
    with moves(swarm) as together:
        message = Message.objects.create(swarm=swarm, subtask=subtask, sender=person, text=words)
        Delivery.objects.bulk_create(Delivery(message=message, subtask=listener) for listener in listeners)
        whom = {"subtask": subtask.public_id, "name": subtask.name} if subtask else {}
        together.record("message.sent", id=message.public_id, by=person.username, text=words[:MAX_LOGGED], **whom)
    return message


def messages_for(swarm: Swarm, listener: Subtask | None) -> QuerySet[Delivery]:
    """All that this listener was ever sent and may still hear, oldest first."""
    rows = Delivery.objects.filter(message__swarm=swarm, subtask=listener).exclude(status=DeliveryStatus.EXPIRED)
    return rows.select_related("message__sender", "subtask").order_by("pk")


def tell_of_conflict(attempt: Attempt, text: str, together: Moves) -> None:
    """By the merge queue: the next attempt begins on another commit, and does not hear it."""
    subtask, words = attempt.subtask, str(clean(text))
    message = Message.objects.create(swarm=subtask.swarm, subtask=subtask, text=words)
    Delivery.objects.create(message=message, subtask=subtask, only=attempt)
    whom = {"subtask": subtask.public_id, "name": subtask.name}
    together.record("message.sent", id=message.public_id, by=message.author, text=words[:MAX_LOGGED], **whom)


_unheard = PreparedRead(
    lambda listener, on: (
        Delivery.objects.filter(Q(only=None) | Q(only=on), subtask=listener)
        .exclude(attempt=on)
        .exclude(status=DeliveryStatus.EXPIRED)
        .order_by()
        .values_list("pk")
    )
)


_addressed = PreparedRead(
    lambda swarm, listener: (
        Delivery.objects.filter(message__swarm=swarm, subtask=listener)
        .exclude(status=DeliveryStatus.EXPIRED)
        .order_by()
        .values_list("pk")[:1]
    )
)


def is_addressed(swarm: Swarm, listener: Subtask | None) -> bool:
    """Whether there is any of `messages_for`: hardly ever, and asked after every landing."""
    return bool(_addressed(swarm=swarm.pk, listener=listener.pk if listener else None))


def told_already(attempt: Attempt) -> list[str]:
    """What this attempt has heard, for an agent that begins again without its conversation."""
    rows = messages_for(attempt.subtask.swarm, attempt.subtask).filter(attempt=attempt)
    return [message_told(one.message.author, one.message.text) for one in rows]


class Ear:
    """What one conversation hears: each message once, in the first request after it was sent."""

    def __init__(
        self,
        swarm: Swarm,
        listener: Subtask | None,
        on: Attempt | PlanIteration,
        turns: Callable[[], int] | None = None,
    ) -> None:
        self._swarm = swarm
        self._listener = listener
        self._on = on
        self._turns = turns or (lambda: on.steps)  # that its conversation has had
        self._taken: set[int] = set()
        self._going: list[Delivery] = []
        self._unanswered: list[Delivery] = []

    def news(self) -> list[str]:
        """What the model is told before its next turn; a planner is told at the beginning, and hears in the next
        iteration what comes meanwhile."""
        if isinstance(self._on, PlanIteration):
            return []
        if not self._has_news():
            return []
        rows = messages_for(self._swarm, self._listener).filter(Q(only=None) | Q(only=self._on.pk))
        fresh = list(rows.exclude(attempt=self._on).exclude(pk__in=self._taken))
        self._take(fresh)
        return [message_told(one.message.author, one.message.text) for one in fresh]

    def _has_news(self) -> bool:
        """Asked before every turn of every agent, and hardly ever so."""
        listener = self._listener.pk if self._listener else None
        return any(pk not in self._taken for (pk,) in _unheard(listener=listener, on=self._on.pk))

    def skip(self, taken: Iterable[int]) -> None:
        """These are on their way by another request."""
        self._taken |= set(taken)

    @property
    def going(self) -> set[int]:
        """What was taken for a request that has not gone out yet."""
        return {one.pk for one in self._going}

    def told(self, deliveries: Iterable[Delivery]) -> None:
        """These are part of the next request already."""
        self._take(list(deliveries))

    def sent(self) -> None:
        """The request with them has gone out."""
        going, self._going = self._going, []
        if going and self._mark(going, DeliveryStatus.DELIVERED, self._where() | {"delivered_at": timezone.now()}):
            self._unanswered += going

    def answered(self, text: str) -> None:
        heard, self._unanswered = self._unanswered, []
        if heard:
            reply_line = clean(first_line(text, MAX_REPLY))
            self._mark(heard, DeliveryStatus.ANSWERED, {"reply": reply_line, "answered_at": timezone.now()})

    def _take(self, deliveries: list[Delivery]) -> None:
        self._taken |= {one.pk for one in deliveries}
        self._going += deliveries

    def _where(self) -> dict[str, Any]:
        name = "attempt" if isinstance(self._on, Attempt) else "iteration"
        return {name: self._on, "turn": self._turns() + 1, "reply": "", "answered_at": None}

    def _mark(self, rows: list[Delivery], to: DeliveryStatus, fields: dict[str, Any]) -> bool:
        """A message is words on their way, and never ends the attempt: where its row moved on, that stands."""
        try:
            with moves(self._swarm) as together:
                for row in rows:
                    self._advance(row, to, fields, together)
            release_connection()
        except Superseded:
            logger.info("A message to %s expired while it was delivered.", self._listener or "the planner")
            return False
        return True

    def _advance(self, row: Delivery, to: DeliveryStatus, fields: dict[str, Any], together: Moves) -> None:
        if to is DeliveryStatus.DELIVERED and row.status != DeliveryStatus.WAITING:
            together.advance(row, DeliveryStatus.WAITING, reason=TOLD_AGAIN)
        together.advance(row, to, **fields)


def _unheard_anywhere() -> QuerySet[Swarm]:
    rows = Delivery.objects.filter(_for_nobody(), status=DeliveryStatus.WAITING)
    return Swarm.objects.filter(pk__in=rows.order_by().values("message__swarm"))


_with_unheard = PreparedRows(_unheard_anywhere)


def expire_unheard() -> None:
    """What waits for somebody who will not come any more."""
    for swarm in _with_unheard():
        expire_in(swarm)


def expire_in(swarm: Swarm) -> None:
    rows = Delivery.objects.filter(_for_nobody(), message__swarm=swarm, status=DeliveryStatus.WAITING)
    try:
        with moves(swarm) as together:
            for row in rows.select_related("message", "subtask"):
                together.advance(row, DeliveryStatus.EXPIRED, reason=NOBODY_LEFT)
    except Superseded:
        logger.info("A message of swarm %s was delivered at the last moment.", swarm.public_id)


def _for_nobody() -> Q:
    over = Q(subtask__status__in=SUBTASK_SETTLED) | Q(message__swarm__status__in=SWARM_OVER)
    return over | (Q(only__isnull=False) & ~Q(only__status__in=ATTEMPT_LIVE))
