"""The words of a pull request, from the swarm's rows."""

from __future__ import annotations

from django.conf import settings

from orchestration.adapters.secrets import clean
from orchestration.domain.pull_requests import Done, Report, body, harmless
from orchestration.models import Handoff, Subtask, Swarm

DEFAULT_URL = "http://127.0.0.1:8000"


def describe(swarm: Swarm) -> tuple[str, str]:
    """Title and body, the same for the same rows, and without any secret of this server."""
    runs = {run.command: run.passed for run in swarm.check_runs.filter(attempt=None, sha=swarm.head_sha)}
    report = Report(
        id=swarm.public_id,
        request=swarm.request,
        requester=swarm.requester.username,
        outcome=_outcome(runs),
        url=f"{settings.PUBLIC_URL or DEFAULT_URL}/swarms/{swarm.public_id}/",
        subtasks=[_done(row) for row in swarm.subtasks.order_by("pk")],
        checks=list(runs.items()),
        figures=f"{swarm.tokens:,} tokens, {swarm.tool_calls:,} tool calls, ${swarm.cost_usd:,.2f}.",
    )
    return clean(harmless(swarm.title))[:256], clean(body(report))


def _outcome(runs: dict[str, bool]) -> str:
    if not runs:
        return "Unverified: this repository has no checks."
    return "Every check passed on the result." if all(runs.values()) else "Not every check passed on the result."


def _done(row: Subtask) -> Done:
    handoff = Handoff.objects.filter(attempt__subtask=row).order_by("pk").last()
    return Done(row.name, row.status, handoff.summary if handoff else "")
