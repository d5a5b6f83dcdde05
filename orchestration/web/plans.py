"""The plan before it is carried out: its graph, its price, and where it may get in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from orchestration.domain.config import SwarmConfig
from orchestration.domain.estimates import Estimate, basis, estimates
from orchestration.domain.forecast import Forecast, Planned, forecast
from orchestration.domain.states import SUBTASK_LOST, SUBTASK_SETTLED, SubtaskStatus, SwarmStatus
from orchestration.models import Subtask, Swarm
from orchestration.models.figures import experience_of, prices_of
from orchestration.web import diagrams
from orchestration.web.looks import look

MOST_ROWS = 300


@dataclass(frozen=True)
class PlanRow:
    subtask: Subtask
    needs: tuple[Subtask, ...]
    estimate: Estimate | None  # None: it is done, or will not be

    @property
    def lost(self) -> tuple[str, ...]:
        """What it needs and will not get."""
        return tuple(need.name for need in self.needs if need.status in SUBTASK_LOST)

    @property
    def editable(self) -> bool:
        return self.subtask.status == SubtaskStatus.PENDING


class PlanPage:
    def __init__(self, swarm: Swarm, *, may_steer: bool) -> None:
        self.swarm = swarm
        self.may_steer = may_steer

    @cached_property
    def config(self) -> SwarmConfig:
        return SwarmConfig.model_validate(self.swarm.config)

    @cached_property
    def subtasks(self) -> list[Subtask]:
        return list(Subtask.objects.filter(swarm=self.swarm).defer("instruction", "acceptance").order_by("level", "pk"))

    @cached_property
    def needs(self) -> dict[int, list[Subtask]]:
        by_id = {row.pk: row for row in self.subtasks}
        found: dict[int, list[Subtask]] = {pk: [] for pk in by_id}
        through = Subtask.dependencies.through.objects.filter(from_subtask__swarm=self.swarm).order_by("pk")
        for source, target in through.values_list("from_subtask_id", "to_subtask_id"):
            if source in by_id and target in by_id:
                found[source].append(by_id[target])
        return found

    @cached_property
    def by_kind(self) -> dict[str, Estimate]:
        return estimates(experience_of(self.swarm.repository), prices_of(self.swarm.endpoint))

    @cached_property
    def left(self) -> list[Subtask]:
        """What is still to be done; of a subtask that was split, its parts."""
        over = SUBTASK_SETTLED | {SubtaskStatus.HANDED_OFF}
        split = {row.parent_id for row in self.subtasks}
        return [row for row in self.subtasks if row.status not in over and row.pk not in split]

    @cached_property
    def forecast(self) -> Forecast:
        plan = [
            Planned(row.name, row.kind, tuple(row.scope), tuple(need.name for need in self.needs[row.pk]))
            for row in self.left
        ]
        return forecast(plan, self.by_kind, self.config.slots)

    @property
    def basis(self) -> str:
        return basis([row.kind for row in self.left], self.by_kind)

    @property
    def free(self) -> bool:
        """A model without prices: a cost would be invented."""
        return not (self.swarm.endpoint.input_price or self.swarm.endpoint.output_price)

    @cached_property
    def rows(self) -> list[PlanRow]:
        by_name = self.forecast.by_name
        return [PlanRow(row, tuple(self.needs[row.pk]), by_name.get(row.name)) for row in self.subtasks[:MOST_ROWS]]

    @property
    def unlisted(self) -> int:
        return len(self.subtasks) - len(self.rows)

    @cached_property
    def graph(self) -> diagrams.Graph:
        nodes = [
            diagrams.Node(
                row.name,
                row.name,
                look(row.status).role,
                look(row.status).word,
                href=f"/subtasks/{row.public_id}/",
            )
            for row in self.subtasks
        ]
        needs = {row.name: [need.name for need in self.needs[row.pk]] for row in self.subtasks}
        return diagrams.layout(*diagrams.fold(nodes, needs, href="#plan-rows"))

    @property
    def awaits(self) -> bool:
        return self.swarm.status == SwarmStatus.AWAITING_APPROVAL

    @property
    def may_change(self) -> bool:
        """While something may still start."""
        going = {SwarmStatus.AWAITING_APPROVAL, SwarmStatus.RUNNING, SwarmStatus.PAUSED}
        return self.may_steer and self.swarm.status in going
