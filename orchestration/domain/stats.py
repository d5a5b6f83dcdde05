"""A swarm's figures, from what was really executed. Times in seconds, steps are model turns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.domain import graph
from orchestration.domain.states import ATTEMPT_LIVE, AttemptStatus


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    subtask: str
    level: int
    status: AttemptStatus
    steps: int
    tool_calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Planning:
    """The planner's own turns, which stand before everything else on the critical path."""

    steps: int
    seconds: float


def statistics(
    attempts: Sequence[AttemptFacts],
    dependencies: Mapping[str, Iterable[str]],
    planning: Planning,
    *,
    wall_s: float,
) -> dict[str, Any]:
    """The figures of SwarmStats. The sequential estimate is the sum of all turns' times, one after another."""
    steps, seconds = _by_subtask(attempts)
    chain, chain_steps = graph.longest_chain(dependencies, steps)
    _, chain_seconds = graph.longest_chain(dependencies, seconds)
    sequential = planning.seconds + sum(one.seconds for one in attempts)
    return {
        "subagents_spawned": len(attempts),
        "subagents_completed": sum(one.status is AttemptStatus.COMPLETE for one in attempts),
        "subagents_failed": sum(
            one.status not in ATTEMPT_LIVE and one.status is not AttemptStatus.COMPLETE for one in attempts
        ),
        "total_tool_calls": sum(one.tool_calls for one in attempts),
        "critical_path": list(chain),
        "critical_path_steps": round(chain_steps) + planning.steps,
        "critical_path_s": round(chain_seconds + planning.seconds, 3),
        "wall_s": round(wall_s, 3),
        "sequential_estimate_s": round(sequential, 3),
        "speedup": round(sequential / wall_s, 2) if wall_s > 0 else 0.0,
        "levels": _levels(attempts),
    }


def _by_subtask(attempts: Sequence[AttemptFacts]) -> tuple[dict[str, float], dict[str, float]]:
    """What each subtask really took, its failed attempts included: they stood in the way too."""
    steps: dict[str, float] = defaultdict(float)
    seconds: dict[str, float] = defaultdict(float)
    for one in attempts:
        steps[one.subtask] += one.steps
        seconds[one.subtask] += one.seconds
    return steps, seconds


def _levels(attempts: Sequence[AttemptFacts]) -> list[dict[str, Any]]:
    grouped: dict[int, list[AttemptFacts]] = defaultdict(list)
    for one in attempts:
        grouped[one.level].append(one)
    return [
        {
            "level": level,
            "subagents": len(members),
            "max_steps": max(one.steps for one in members),
            "total_steps": sum(one.steps for one in members),
            "seconds": round(max(one.seconds for one in members), 3),
        }
        for level, members in sorted(grouped.items())
    ]
