"""How fast the queue lands, and whether the thousandth landing takes longer than the first: one branch, maintained as
in earnest."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from orchestration.domain.errors import SwarmsiteError
from orchestration.domain.states import EntryStatus
from orchestration.management.bench.figures import percentile
from orchestration.management.bench.merging import Bench, Edits, beside_plumbing
from orchestration.management.bench.synthetic import PER_PACKAGE
from orchestration.models import Swarm
from orchestration.stages.maintain import maintain
from orchestration.stages.merge import merge as drain

WATCHED = 100  # landings at the start and at the end, each timed alone
LOT = 200  # landings between two looks of the maintenance


def merge(options: Mapping[str, Any]) -> dict[str, Any]:
    bench = Bench()
    figures = beside_plumbing(bench, options["seed"])
    return figures | (soak(bench, options["landings"]) if options["landings"] else {})


def soak(bench: Bench, landings: int) -> dict[str, Any]:
    """Of the first and the last ones, what a landing takes that comes alone."""
    heads = bench.heads([added(number) for number in range(landings)])
    swarm = bench.queue(())
    watched = min(WATCHED, landings // 2)
    first = _one_by_one(bench, swarm, heads[:watched])
    for start in range(watched, landings - watched, LOT):
        _together(bench, swarm, heads[start : min(start + LOT, landings - watched)])
        maintain(bench.repository.pk)
    last = _one_by_one(bench, swarm, heads[landings - watched :])
    landed = swarm.merge_entries.filter(status=EntryStatus.LANDED).count()
    if landed != landings:
        raise SwarmsiteError(f"Only {landed} of {landings} have landed.")
    before, after = percentile(first, 0.95), percentile(last, 0.95)
    return {
        "landings": landings,
        "p95_ms_first_100": round(before, 2),
        "p95_ms_last_100": round(after, 2),
        "p95_ratio": round(after / before, 2) if before else None,
    }


def added(number: int) -> Edits:
    """A new file beside those that there are."""
    return {f"package_{number // PER_PACKAGE:02d}/added_{number}.py": f"ADDED = {number}\n"}


def _one_by_one(bench: Bench, swarm: Swarm, heads: list[str]) -> list[float]:
    """Milliseconds of each."""
    took = []
    for head in heads:
        bench.enqueue(swarm, f"work-{head[:12]}", head)
        started = time.perf_counter()
        drain(swarm.pk)
        took.append(1000 * (time.perf_counter() - started))
    return took


def _together(bench: Bench, swarm: Swarm, heads: list[str]) -> None:
    for head in heads:
        bench.enqueue(swarm, f"work-{head[:12]}", head)
    drain(swarm.pk)
