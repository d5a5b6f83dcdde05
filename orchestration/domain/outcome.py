"""How a swarm ends: from what became of its subtasks and of the checks on the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestration.domain.handoffs import CheckResult
from orchestration.domain.states import SubtaskStatus, SwarmStatus


@dataclass(frozen=True, slots=True)
class Outcome:
    status: SwarmStatus
    reason: str
    verified: bool


def outcome(
    subtasks: Mapping[str, SubtaskStatus], landed: int, checks: Sequence[CheckResult], planning_error: str = ""
) -> Outcome:
    """`landed` counts commits on the branch; `checks` are the repository's, run on exactly that branch."""
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
    reason = " ".join([*planning, *_undone_sentence(undone, len(subtasks)), *_red_sentence(red)])
    done_anything = landed > 0 or len(undone) < len(subtasks)
    return Outcome(SwarmStatus.PARTLY_SUCCEEDED if done_anything else SwarmStatus.FAILED, reason, verified)


def _undone_sentence(undone: Mapping[str, SubtaskStatus], total: int) -> list[str]:
    if not undone:
        return []
    named = ", ".join(f"{name} ({status.replace('_', ' ')})" for name, status in list(undone.items())[:5])
    more = f" and {len(undone) - 5} more" if len(undone) > 5 else ""
    return [f"{len(undone)} of {total} subtasks did not complete: {named}{more}."]


def _red_sentence(red: Sequence[CheckResult]) -> list[str]:
    return [f"The check `{check.command}` is red on the result ({check.ending})." for check in red[:3]]
