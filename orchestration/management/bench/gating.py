"""How many gates the prefix ladder needs: the real decisions on a made-up queue, with gates that take one unit each."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from orchestration.domain.gating import FIRST_CAP, Evict, Known, Land, Start, Trouble, View, decide, grown, halved

ENTRIES, BAD, SEEDS = 100, 5, 20


@dataclass(slots=True)
class Queue:
    """Entries are numbers, and a candidate is the set of entries that it holds."""

    waiting: list[int]
    slots: int
    cap: int = FIRST_CAP
    strict: bool = False
    landed: list[int] = field(default_factory=list)
    evicted: list[int] = field(default_factory=list)
    running: list[frozenset[int]] = field(default_factory=list)
    greens: set[frozenset[int]] = field(default_factory=lambda: {frozenset()})
    reds: dict[frozenset[int], int] = field(default_factory=dict)
    gates: int = 0
    trouble: Trouble = field(default_factory=Trouble)

    def candidate(self, prefix: int) -> frozenset[int]:
        return frozenset(self.landed + self.waiting[:prefix])

    def view(self) -> View:
        chain = [self.candidate(prefix) for prefix in range(len(self.waiting) + 1)]
        known = {
            prefix: Known(one in self.running, one in self.greens, self.reds.get(one, 0))
            for prefix, one in enumerate(chain)
        }
        stray = sum(one not in chain for one in self.running)
        return View(len(self.waiting), known, self.cap, self.slots, stray, self.strict, self.trouble)

    def step(self) -> bool:
        """Does what is decided; False where that is to wait."""
        moved = False
        for decision in decide(self.view()):
            match decision:
                case Land(prefix):
                    self.landed += self.waiting[:prefix]
                    del self.waiting[:prefix]
                    self.cap = grown(self.cap)
                case Evict():
                    self.evicted.append(self.waiting.pop(0))
                    self.cap = halved(self.cap)
                case Start(prefix):
                    self.running.append(self.candidate(prefix))
                    self.gates += 1
                case _:
                    return moved
            moved = True
        return moved

    def ended(self, candidate: frozenset[int], *, green: bool) -> None:
        self.running.remove(candidate)
        if green:
            self.greens.add(candidate)
        else:
            self.reds[candidate] = self.reds.get(candidate, 0) + 1


def gate(options: Mapping[str, Any]) -> dict[str, Any]:
    """Medians over the seeds, with one gate at a time and with four."""
    seeds = range(options["seed"], options["seed"] + SEEDS)
    runs = {slots: [simulate(seed, slots) for seed in seeds] for slots in (1, 4)}
    return {
        figure: {str(slots): median(one[figure] for one in of_slots) for slots, of_slots in runs.items()}
        for figure in ("gate_runs_per_landing", "makespan_in_gates", "innocents_evicted")
    }


def simulate(seed: int, slots: int) -> dict[str, float]:
    """All gates take equally long, so those that started together end together."""
    bad = frozenset(random.Random(seed).sample(range(ENTRIES), BAD))  # noqa: S311 - a workload, no secret
    queue, rounds = Queue(list(range(ENTRIES)), slots), 0
    while queue.waiting:
        while queue.step():
            pass
        rounds += bool(queue.running)
        for candidate in list(queue.running):
            queue.ended(candidate, green=not candidate & bad)
    return {
        "gate_runs_per_landing": round(queue.gates / len(queue.landed), 3),
        "makespan_in_gates": rounds,
        "innocents_evicted": len(set(queue.evicted) - bad),
    }
