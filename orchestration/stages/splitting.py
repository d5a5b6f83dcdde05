"""Which subtasks are split instead of run, what their parts must keep to, and which of them wait for what."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

from orchestration.domain.planning import PlannedTask, SubmittedPlan, judge
from orchestration.domain.states import ENTRY_OPEN, IterationStatus, SubtaskStatus
from orchestration.domain.subplans import batch_problems, may_split, wants_split
from orchestration.models import MergeEntry, PlanIteration, Subtask, Swarm
from orchestration.models.prepared import PreparedRead
from orchestration.stages.pending import Pending, Ready
from orchestration.stages.rows import config_of, status_by_name

_split = PreparedRead(
    lambda swarms: (
        Subtask.objects.filter(swarm__in=swarms, parent__isnull=False).order_by().values_list("parent").distinct()
    )
)


class Splits:
    """Of some swarms at one moment; each question of the database is asked once, and only where it matters."""

    def __init__(self, swarms: Collection[Swarm]) -> None:
        self._swarms = swarms

    def is_due(self, row: Ready) -> bool:
        """It has parts already, or wants some and nobody has said yet that it is one agent's work."""
        if row.pk in self._split:
            return True
        if not wants_split(row.scope, row.kind, marked=row.decompose):
            return False
        return may_split(row.depth, config_of(row.swarm).strategy) and row.pk not in self._alone

    def waits_for_change_of(self, row: Pending) -> str:
        """The name of the subtask that it is a part of, while that one's own change is on its way."""
        return self._landing.get(row.parent_id, "") if row.parent_id else ""

    @cached_property
    def _split(self) -> frozenset[int | None]:
        return frozenset(whole for (whole,) in _split(swarms=[swarm.pk for swarm in self._swarms]))

    @cached_property
    def _alone(self) -> frozenset[int | None]:
        """A subplan was made and has no parts."""
        done = PlanIteration.objects.filter(swarm__in=self._swarms, parent__isnull=False, status=IterationStatus.DONE)
        return frozenset(done.values_list("parent", flat=True)) - self._split

    @cached_property
    def _landing(self) -> dict[int, str]:
        entries = MergeEntry.objects.filter(
            swarm__in=self._swarms, status__in=ENTRY_OPEN, subtask__status=SubtaskStatus.WAITING
        )
        return dict(entries.values_list("subtask", "subtask__name"))


def part_problems(parent: Subtask, submitted: SubmittedPlan) -> list[str]:
    """Everything that makes these parts of `parent` unusable, a sentence each."""
    known = status_by_name(parent.swarm)
    siblings = set(parent.children.values_list("name", flat=True))
    bound = config_of(parent.swarm).working_dir
    inside = batch_problems(
        submitted.tasks, parent=parent.name, scope=parent.scope, siblings=siblings, known=known.keys()
    )
    return [*judge(submitted, known, work_in_flight=True, working_dir=bound), *inside]


def proposal_problems(subtask: Subtask, tasks: list[PlannedTask]) -> list[str]:
    """The same for a split that the subtask's own agent proposes."""
    if not may_split(subtask.depth, config_of(subtask.swarm).strategy):
        return ["This subtask may not be split: do what you can of it and hand off with an honest status."]
    return part_problems(subtask, SubmittedPlan(tasks=tasks))
