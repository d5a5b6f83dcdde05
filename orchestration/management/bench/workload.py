"""What the simulated agents do and how long their model takes: the same numbers in every process that has the seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

FASTEST_S, SLOWEST_S = 0.5, 3.0
TURNS = 8  # of an attempt; three of them run a command
DEPENDENCIES = 2


@dataclass(frozen=True)
class Workload:
    """Layers of subtasks, each needing two of the layer above. `pace` stretches every latency; 0 is at once."""

    subtasks: int = 200
    layers: int = 5
    agents: int = 100
    seed: int = 1
    pace: float = 1.0

    @cached_property
    def needs(self) -> Mapping[str, tuple[str, ...]]:
        """Every subtask's name, in order, with the names that it needs."""
        chance = random.Random(f"{self.seed}/graph")  # noqa: S311 - a workload, no secret
        above: list[str] = []
        found: dict[str, tuple[str, ...]] = {}
        for layer in range(self.layers):
            names = [f"layer-{layer}-{number:03d}" for number in range(layer, self.subtasks, self.layers)]
            for name in names:
                found[name] = tuple(sorted(chance.sample(above, min(DEPENDENCIES, len(above)))))
            above = names
        return found

    def latency_s(self, subtask: str, turn: int) -> float:
        """How long the model takes for one turn; the planner's subtask has no name."""
        chance = random.Random(f"{self.seed}/{subtask}/{turn}")  # noqa: S311
        return self.pace * chance.uniform(FASTEST_S, SLOWEST_S)

    def work_s(self, subtask: str) -> float:
        return sum(self.latency_s(subtask, turn) for turn in range(TURNS))

    @cached_property
    def critical_path_s(self) -> float:
        ends: dict[str, float] = {}
        for name, needed in self.needs.items():
            ends[name] = self.work_s(name) + max((ends[one] for one in needed), default=0.0)
        return max(ends.values())

    @property
    def lower_bound_s(self) -> float:
        """No schedule ends sooner: the planner's turn, then the longest chain or all work shared evenly."""
        shared = sum(map(self.work_s, self.needs)) / self.agents
        return self.latency_s("", 0) + max(self.critical_path_s, shared)

    @property
    def steps(self) -> int:
        return TURNS * len(self.needs)
