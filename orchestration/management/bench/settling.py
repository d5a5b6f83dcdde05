"""A process that lands a queue and has its conflicts settled, step by step, by an agent that needs no model.

stages/resolve.py has the numbers of a resolution's steps.
"""

from __future__ import annotations

from pathlib import Path

from orchestration.adapters.cancellation import Cancellation
from orchestration.agents.assignment import Assignment, Report, Workplace
from orchestration.domain.handoffs import Claim, SubmittedHandoff
from orchestration.domain.states import AttemptStatus, EntryStatus, SubtaskStatus
from orchestration.management.bench.stops import At, Stop
from orchestration.models import Attempt, Subtask
from orchestration.stages import execute, inspection, resolve
from orchestration.stages.dispatch import dispatch
from orchestration.stages.merge import merge

STEPS: dict[str, Stop] = {
    "R1 conflict half written": EntryStatus.CONFLICT,
    "R1 conflict recorded": At("before", resolve, "_resolve"),
    "R2 decision half written": SubtaskStatus.PENDING,
    "R2 decided": At("after", resolve, "_resolve"),
    "R3 given": At("before", execute, "_claim"),
    "R4 claimed": At("before", execute, "_run"),
    "R5 begun": At("before", execute._Run, "run"),  # noqa: SLF001 - to die in the middle of it
    "R6 committed": At("after", inspection, "snapshot"),
    "R7 pinned": At("before", execute, "settle"),
    "R8 hand-off half written": EntryStatus.SUPERSEDED,
    "R8 queued": At("after", execute, "settle"),
}
MARKERS = ("<<<<<<<", "=======", ">>>>>>>")


class _KeepsBoth:
    """Takes the markers out of every file, and hands off."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace

    def run(
        self, assignment: Assignment, workplace: Workplace, report: Report, cancellation: Cancellation
    ) -> SubmittedHandoff:
        for path in self._workspace.rglob("*.py"):
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join(line for line in lines if not line.startswith(MARKERS)))
        handoff = SubmittedHandoff(status=Claim.COMPLETE, summary="Kept both.")
        report.objections(handoff)
        return handoff


def land_and_settle(swarm_id: int) -> None:
    """Until nothing waits, as an engine would. Only in a process of its own, where nobody asks a model."""
    execute.agent_of = lambda _attempt, _report, workspace: _KeepsBoth(workspace().path)  # type: ignore[assignment,attr-defined]
    while _once(swarm_id):
        pass


def _once(swarm_id: int) -> bool:
    merge(swarm_id)
    resolve.resolve(swarm_id)
    if Subtask.objects.filter(swarm=swarm_id, status=SubtaskStatus.PENDING).exists():
        dispatch(swarm_id)
    given = Attempt.objects.filter(subtask__swarm=swarm_id, status=AttemptStatus.ASSIGNED)
    attempts = list(given.values_list("pk", flat=True))
    for attempt_id in attempts:
        execute.execute(attempt_id)
    return bool(attempts)
