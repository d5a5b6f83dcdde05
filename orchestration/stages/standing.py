"""How a planner's work stands: the swarm's own planner, or the subplanner of one subtask."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from django.db.models import Q, QuerySet

from orchestration.domain.context import digest
from orchestration.domain.states import SUBTASK_SETTLED, IterationStatus, SubtaskStatus
from orchestration.models import Delivery, Handoff, PlanIteration, Subtask, Swarm
from orchestration.stages.due import NOT_KEPT
from orchestration.stages.tell import is_addressed, messages_for

FAILURES = "Not done, and nothing will happen to it unless you plan it"
# What was cancelled, a person wanted so; a conflict is being settled.
HEARD_OF = frozenset({SubtaskStatus.FAILED, SubtaskStatus.BLOCKED, SubtaskStatus.TIMED_OUT})


@dataclass(frozen=True)
class Standing:
    """What a planner planned itself, and what was reported to it. Read when it is first asked for."""

    swarm: Swarm
    parent: Subtask | None = None

    @property
    def subtasks(self) -> QuerySet[Subtask]:
        return self.swarm.subtasks.filter(parent=self.parent).order_by("pk")

    @property
    def iterations(self) -> QuerySet[PlanIteration]:
        return self.swarm.iterations.filter(parent=self.parent)

    @property
    def handoffs(self) -> QuerySet[Handoff]:
        mine = Q(attempt__subtask__swarm=self.swarm, attempt__subtask__parent=self.parent)
        mine |= Q(parent__swarm=self.swarm, parent__parent=self.parent)
        return Handoff.objects.filter(mine).select_related("attempt__subtask", "parent").order_by("pk")

    @cached_property
    def last(self) -> PlanIteration | None:
        """The latest iteration that was carried out; its stored conversation is read only where it is used."""
        return self.iterations.filter(status=IterationStatus.DONE).defer("messages").order_by("number").last()

    @cached_property
    def said(self) -> list[Delivery]:
        """What people said to this planner."""
        if not is_addressed(self.swarm, self.parent):
            return []
        return list(messages_for(self.swarm, self.parent).select_related("iteration").defer("iteration__messages"))

    @property
    def unheard(self) -> list[Delivery]:
        """Of it, what its conversation does not hold: an iteration that failed took nothing with it."""
        return [one for one in self.said if one.iteration is None or one.iteration.status in NOT_KEPT]

    @cached_property
    def statuses(self) -> dict[str, SubtaskStatus]:
        return {name: SubtaskStatus(status) for name, status in self.subtasks.values_list("name", "status")}

    @property
    def active(self) -> int:
        return sum(status not in SUBTASK_SETTLED for status in self.statuses.values())

    @property
    def is_active(self) -> bool:
        """Asked after every landing, so without reading them all."""
        return self.subtasks.order_by().exclude(status__in=SUBTASK_SETTLED).exists()

    @property
    def new_handoffs(self) -> int:
        return self.handoffs.count() - (self.last.handoffs_seen if self.last else 0)

    @cached_property
    def failures(self) -> str:
        return failures_of(self.subtasks.filter(status__in=HEARD_OF))

    @property
    def unseen_failures(self) -> bool:
        """A failure is never mistaken for done: the planner hears of it before its word is the last."""
        return bool(self.failures) and (self.last is None or self.last.sent.get(FAILURES) != digest(self.failures))

    @property
    def owes_a_last_word(self) -> bool:
        """Nothing is active any more, and the planner that said done has not heard of what failed since."""
        return bool(self.last and self.last.planner_said_done) and not self.active and self.unseen_failures


def failures_of(rows: Iterable[Subtask]) -> str:
    return "\n".join(f"- {row.name}: {row.status} ({row.status_reason or 'no reason is known'})" for row in rows)


def owes_a_last_word(swarm: Swarm) -> bool:
    """Whether the swarm's planner is to be asked once more before the end."""
    standing = Standing(swarm)
    return not swarm.planning_error and (standing.owes_a_last_word or bool(standing.unheard))
