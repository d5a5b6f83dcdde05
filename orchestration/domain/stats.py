"""A swarm's figures, from what was really executed. Times are seconds since its start, steps are model turns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestration.domain.states import AttemptStatus, EntryStatus

FAILED = frozenset({AttemptStatus.FAILED, AttemptStatus.TIMED_OUT, AttemptStatus.PARTIAL, AttemptStatus.BLOCKED})
# By a person, at a budget's end, or with the process that ran it: nobody's failure.
STOPPED = frozenset({AttemptStatus.CANCELLED, AttemptStatus.LOST})
COMPARISON = (
    "An estimate: the times of all attempts and planner calls added up, without their waits for people, for a place at "
    "a model service or for a budget, as if a single agent had worked alone. No single agent was really run."
)


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """`landed` is when its change was on the branch; `plan` is the number of the planner call that asked for it;
    `waited` for people and in the queues of model services it did no work."""

    subtask: str
    number: int
    level: int
    status: AttemptStatus
    steps: int
    tool_calls: int
    start: float
    end: float
    landed: float | None = None
    plan: int = 0
    waited: float = 0.0


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """One planner call; `parent` is the subtask that it splits, empty for the planner of the swarm."""

    number: int
    steps: int
    start: float
    end: float
    parent: str = ""
    tool_calls: int = 0  # its looks at the repository
    waited: float = 0.0  # as an attempt


@dataclass(frozen=True, slots=True)
class MergeFacts:
    """`waited` is the time from handoff to landed, of an entry that landed."""

    status: EntryStatus
    conflicted: bool
    waited: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Model calls of one role at one endpoint."""

    role: str
    endpoint: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    estimated_calls: int
    retries: int = 0  # tries before the one that was answered
    refused: int = 0  # of these, because the service wanted fewer calls
    waited_s: float = 0.0  # of all its calls together: for a place, for the service's pace, and between tries


@dataclass(frozen=True)
class Executed:
    """Everything that the figures are made of. `needs` and `parents` are names by name."""

    wall_s: float
    attempts: Sequence[AttemptFacts] = ()
    plans: Sequence[PlanFacts] = ()
    merges: Sequence[MergeFacts] = ()
    usage: Sequence[Usage] = ()
    needs: Mapping[str, Iterable[str]] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)
    cache_hits: int = 0
    cache_misses: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """One piece of the chain that decided how long it took."""

    kind: str  # plan, attempt
    name: str
    number: int
    steps: int
    seconds: float


def statistics(executed: Executed) -> dict[str, Any]:
    """The figures of SwarmStats. What is not measured is left out, never told as zero."""
    attempts, wall = executed.attempts, executed.wall_s
    chain = executed_chain(executed)
    pieces: list[_Piece] = [*attempts, *executed.plans]
    sequential = sum(_took(one, wall) for one in pieces)
    return {
        "subagents_spawned": len(attempts),
        "subagents_completed": sum(one.status is AttemptStatus.COMPLETE for one in attempts),
        "subagents_failed": sum(one.status in FAILED for one in attempts),
        "subagents_stopped": sum(one.status in STOPPED for one in attempts),
        "total_tool_calls": sum(one.tool_calls for one in pieces),
        "critical_path": list(dict.fromkeys(link.name for link in chain if link.kind == "attempt")),
        "critical_chain": [_told(link) for link in chain],
        "critical_path_steps": sum(link.steps for link in chain),
        "critical_path_s": round(min(sum(link.seconds for link in chain), wall, sequential), 3),
        "wall_s": round(wall, 3),
        "sequential_estimate_s": round(sequential, 3),
        "speedup": round(sequential / wall, 2) if wall > 0 else 0.0,
        "comparison": COMPARISON,
        "levels": _levels(attempts, wall),
        "cache_hits": executed.cache_hits,
        "cache_misses": executed.cache_misses,
        "usage": [_usage(one) for one in executed.usage],
        "rate_limit": _rate_limit(executed.usage),
        "merges": _merges(executed.merges),
    }


def executed_chain(executed: Executed) -> tuple[Link, ...]:
    """From the last landing back through what each piece really waited for: the landing of a dependency, an earlier
    attempt, or the planner call that asked for it; for a planner call, the handoff before it."""
    chain: list[Link] = []
    here: _Piece | None = _last(executed)
    while here is not None:
        chain.append(_link(here, executed.wall_s))
        after = here
        here = max(_before(after, executed), key=lambda one: _ready(one, after), default=None)
    return tuple(reversed(chain))


_Piece = AttemptFacts | PlanFacts


def _last(executed: Executed) -> _Piece | None:
    pieces: list[_Piece] = [*executed.attempts, *executed.plans]
    landed = [one for one in pieces if isinstance(one, AttemptFacts) and one.landed is not None]
    return max(landed or pieces, key=_ready, default=None)


def _ready(one: _Piece, after: _Piece | None = None) -> float:
    """When `after` could build on it: planners and retries wait for a handoff, all others for its landing."""
    if isinstance(one, PlanFacts) or one.landed is None or isinstance(after, PlanFacts):
        return one.end
    return one.end if after and after.subtask == one.subtask else max(one.landed, one.end)


def _before(piece: _Piece, executed: Executed) -> list[_Piece]:
    """What it may have waited for: of these, the one that was ready last decided when it could start."""
    if isinstance(piece, PlanFacts):
        found = _before_plan(piece, executed)
    else:
        found = [plan for plan in executed.plans if plan.number == piece.plan]
        wanted = {piece.subtask, *executed.needs.get(piece.subtask, ())}
        found += [one for one in executed.attempts if _belongs(one.subtask, wanted, executed.parents)]
    # An earlier start, so that the walk ends whatever the clocks say.
    return [one for one in found if one.start < piece.start and _ready(one, piece) <= piece.start]


def _before_plan(plan: PlanFacts, executed: Executed) -> list[_Piece]:
    plans = [one for one in executed.plans if one.number < plan.number]
    if not plan.parent:
        return [*plans, *executed.attempts]
    wanted = {plan.parent, *executed.needs.get(plan.parent, ())}
    return [*plans, *(one for one in executed.attempts if _belongs(one.subtask, wanted, executed.parents))]


def _belongs(name: str, wanted: set[str], parents: Mapping[str, str]) -> bool:
    """Whether it is one of these or part of one."""
    while name:
        if name in wanted:
            return True
        name = parents.get(name, "")
    return False


def _took(piece: _Piece, wall: float) -> float:
    """Clocks of several machines may disagree; nothing happened before the start or after the end."""
    return max(0.0, min(piece.end, wall) - max(piece.start, 0.0) - piece.waited)


def _link(piece: _Piece, wall: float) -> Link:
    seconds = _took(piece, wall)
    if isinstance(piece, PlanFacts):
        return Link("plan", piece.parent, piece.number, piece.steps, seconds)
    return Link("attempt", piece.subtask, piece.number, piece.steps, seconds)


def _told(link: Link) -> dict[str, Any]:
    return {
        "kind": link.kind,
        "name": link.name,
        "number": link.number,
        "steps": link.steps,
        "seconds": round(link.seconds, 3),
    }


def _levels(attempts: Sequence[AttemptFacts], wall: float) -> list[dict[str, Any]]:
    grouped: dict[int, list[AttemptFacts]] = defaultdict(list)
    for one in attempts:
        grouped[one.level].append(one)
    return [
        {
            "level": level,
            "subagents": len(members),
            "max_steps": max(one.steps for one in members),
            "total_steps": sum(one.steps for one in members),
            "seconds": round(max(_took(one, wall) for one in members), 3),
        }
        for level, members in sorted(grouped.items())
    ]


def _usage(one: Usage) -> dict[str, Any]:
    return {
        "role": one.role,
        "endpoint": one.endpoint,
        "calls": one.calls,
        "input_tokens": one.input_tokens,
        "output_tokens": one.output_tokens,
        "cost_usd": round(one.cost_usd, 6),
        "estimated_calls": one.estimated_calls,
    }


def _rate_limit(usage: Sequence[Usage]) -> dict[str, Any]:
    """Of the calls that were answered."""
    return {
        "calls": sum(one.calls for one in usage),
        "retries": sum(one.retries for one in usage),
        "refused": sum(one.refused for one in usage),
        "waited_s": round(sum(one.waited_s for one in usage), 3),
    }


def _merges(merges: Sequence[MergeFacts]) -> dict[str, Any]:
    waits = sorted(one.waited for one in merges if one.waited is not None)
    counts: dict[str, Any] = {
        "landed": sum(one.status is EntryStatus.LANDED for one in merges),
        "conflicted": sum(one.conflicted for one in merges),
        "rejected": sum(one.status is EntryStatus.REJECTED for one in merges),
    }
    if waits:
        counts |= {f"handoff_to_landed_p{part}_s": round(quantile(waits, part / 100), 3) for part in (50, 95)}
    return counts


def quantile(ordered: Sequence[float], part: float) -> float:
    """Of values in order, at least one: between neighbours by proportion."""
    place = (len(ordered) - 1) * part
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
