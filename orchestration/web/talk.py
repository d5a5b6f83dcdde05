"""What people and agents say to each other, as the swarm's page and a subtask's page show it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from django.db.models import Q

from orchestration.domain.states import (
    ATTEMPT_LIVE,
    SUBTASK_SETTLED,
    SWARM_OVER,
    DeliveryStatus,
    QuestionStatus,
    SubtaskStatus,
    SwarmStatus,
)
from orchestration.domain.steering import message_status
from orchestration.models import Attempt, Delivery, Message, Question, Subtask, Swarm

MOST_MESSAGES = 20
MOST_DELIVERIES = 12  # of one message; the rest is counted
MOST_ANSWERED = 10


@dataclass(frozen=True)
class Way:
    """One message on its way to one listener."""

    delivery: Delivery

    @property
    def to(self) -> str:
        return self.delivery.subtask.name if self.delivery.subtask else "the planner"

    @property
    def where(self) -> str:
        if self.delivery.iteration:
            return f"call {self.delivery.iteration.number}"
        if self.delivery.attempt:
            return f"attempt {self.delivery.attempt.number}, turn {self.delivery.turn}"
        return ""


@dataclass(frozen=True)
class Letter:
    message: Message

    @property
    def to(self) -> str:
        return self.message.subtask.name if self.message.subtask else "the swarm"

    @cached_property
    def _ways(self) -> list[Way]:
        return [Way(one) for one in self.message.deliveries.all()]

    @property
    def ways(self) -> list[Way]:
        return self._ways[:MOST_DELIVERIES]

    @property
    def more(self) -> int:
        return len(self._ways) - len(self.ways)

    @property
    def status(self) -> str:
        return message_status(DeliveryStatus(one.delivery.status) for one in self._ways)


class Talk:
    """Of a swarm, or of one of its subtasks. Asked for only where it is shown."""

    def __init__(self, swarm: Swarm, subtask: Subtask | None = None, *, may_steer: bool) -> None:
        self.swarm = swarm
        self.subtask = subtask
        self.may_steer = may_steer

    @property
    def may_write(self) -> bool:
        """Where somebody can still read it."""
        status = SwarmStatus(self.swarm.status)
        if not self.may_steer or status in SWARM_OVER or status is SwarmStatus.FINALIZING:
            return False
        return self.subtask is None or SubtaskStatus(self.subtask.status) not in SUBTASK_SETTLED

    @cached_property
    def _messages(self) -> list[Message]:
        rows = Message.objects.filter(swarm=self.swarm)
        if self.subtask:
            rows = rows.filter(Q(subtask=self.subtask) | Q(deliveries__subtask=self.subtask)).distinct()
        rows = rows.select_related("sender", "subtask").order_by("-pk")
        heard = ("deliveries__subtask", "deliveries__attempt", "deliveries__iteration")
        return list(rows.prefetch_related(*heard)[: MOST_MESSAGES + 1])

    @property
    def letters(self) -> list[Letter]:
        return [Letter(one) for one in self._messages[:MOST_MESSAGES]]

    @property
    def has_more_letters(self) -> bool:
        return len(self._messages) > MOST_MESSAGES

    @cached_property
    def _questions(self) -> list[Question]:
        rows = Question.objects.filter(swarm=self.swarm)
        if self.subtask:
            rows = rows.filter(askers__subtask=self.subtask).distinct()
        return list(rows.select_related("answered_by").order_by("-pk"))

    @property
    def open(self) -> list[Question]:
        """Oldest first: who waits longest comes first."""
        return [one for one in reversed(self._questions) if one.status == QuestionStatus.OPEN]

    @property
    def settled(self) -> list[Question]:
        return [one for one in self._questions if one.status != QuestionStatus.OPEN][:MOST_ANSWERED]

    @cached_property
    def _askers(self) -> dict[int, list[Attempt]]:
        found: dict[int, list[Attempt]] = {}
        rows = Attempt.objects.filter(question__in=[one.pk for one in self.open], status__in=ATTEMPT_LIVE)
        for attempt in rows.select_related("subtask"):
            found.setdefault(attempt.question_id or 0, []).append(attempt)
        return found

    @property
    def asked(self) -> list[tuple[Question, list[Attempt]]]:
        """What is open, with who waits for it."""
        return [(one, self._askers.get(one.pk, [])) for one in self.open]
