"""How a swarm ends: from what became of its subtasks and of the checks on the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestration.domain.handoffs import CheckResult
from orchestration.domain.states import SubtaskStatus, SwarmStatus
from orchestration.domain.texts import first_line

MOST_OF_A_REASON = 300  # characters
FOR_ITSELF = frozenset({SubtaskStatus.FAILED, SubtaskStatus.TIMED_OUT, SubtaskStatus.CONFLICT})


@dataclass(frozen=True, slots=True)
class Outcome:
    status: SwarmStatus
    reason: str
    verified: bool


def outcome(
    subtasks: Mapping[str, SubtaskStatus],
    landed: int,
    checks: Sequence[CheckResult],
    planning_error: str = "",
    reasons: Mapping[str, str] | None = None,
) -> Outcome:
    """`landed` counts commits on the branch; `checks` are the repository's, run on exactly that branch. `reasons` say
    of a subtask why it is where it is."""
    verified = bool(checks) and all(check.passed for check in checks)
    undone = {name: status for name, status in subtasks.items() if status is not SubtaskStatus.COMPLETE}
    red = [check for check in checks if not check.passed]
    planning = [f"Planning stopped early: {planning_error}"] if planning_error else []
    if not subtasks:
        reason = " ".join(["The planner planned nothing, so nothing was done.", *planning])
        return Outcome(SwarmStatus.FAILED, reason, verified=False)
    if not undone and not red and not planning_error:
        unverified = "Succeeded, unverified: this repository has no checks." if not checks else ""
        return Outcome(SwarmStatus.SUCCEEDED, unverified, verified)
    why = _first_reason(undone, reasons or {})
    reason = " ".join([*planning, *_undone_sentence(undone, len(subtasks)), *why, *_red_sentence(red)])
    done_anything = landed > 0 or len(undone) < len(subtasks)
    return Outcome(SwarmStatus.PARTLY_SUCCEEDED if done_anything else SwarmStatus.FAILED, reason, verified)


def _undone_sentence(undone: Mapping[str, SubtaskStatus], total: int) -> list[str]:
    if not undone:
        return []
    named = ", ".join(f"{name} ({status.replace('_', ' ')})" for name, status in list(undone.items())[:5])
    more = f" and {len(undone) - 5} more" if len(undone) > 5 else ""
    return [f"{len(undone)} of {total} subtasks did not complete: {named}{more}."]


def _first_reason(undone: Mapping[str, SubtaskStatus], reasons: Mapping[str, str]) -> list[str]:
    """Of the first that failed for itself: what only waited for it says no more than its name."""
    names = [name for name, status in undone.items() if status in FOR_ITSELF and reasons.get(name, "").strip()]
    return [f"{name}: {first_line(reasons[name], MOST_OF_A_REASON)}" for name in names[:1]]


def _red_sentence(red: Sequence[CheckResult]) -> list[str]:
    return [f"The check `{check.command}` is red on the result ({check.ending})." for check in red[:3]]
