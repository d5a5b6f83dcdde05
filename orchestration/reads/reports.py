"""A swarm as JSON: the summary that scripts act on, and the whole result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from orchestration.domain.clashes import as_row
from orchestration.domain.states import SUBTASK_LOST, EntryStatus, SubtaskStatus
from orchestration.models import (
    Attempt,
    Delivery,
    Handoff,
    MergeEntry,
    Message,
    PlanIteration,
    Publication,
    Subtask,
    Swarm,
)
from orchestration.models.figures import statistics_of
from orchestration.models.queues import queue_figures
from orchestration.reads.clashes import clashes_ahead

LANDING = ("mode", "target", "status", "status_reason", "landed_sha", "pull_request", "url", "tries", "not_before")
QUESTION = ("text", "options", "status", "status_reason", "answer")
ARTIFACT = ("type", "name", "mime", "sha256", "size")
CHECK = ("command", "passed", "exit_code", "sha", "duration_ms")
DEFAULT_URL = "http://127.0.0.1:8000"


def summary(swarm: Swarm) -> dict[str, Any]:
    """The closing object of `swarm run --json`."""
    stats = swarm.stats or statistics_of(swarm)
    return {
        "id": swarm.public_id,
        "status": swarm.status,
        "verified": swarm.verified,
        "base_sha": swarm.base_sha,
        "head_sha": swarm.head_sha,
        "landed": swarm.merge_entries.filter(status=EntryStatus.LANDED).count(),
        "failed": swarm.subtasks.filter(status__in=SUBTASK_LOST - {SubtaskStatus.CANCELLED}).count(),
        "branch": swarm.branch,
        "cost_usd": float(swarm.cost_usd),
        "tokens": swarm.tokens,
        "wall_s": round(swarm.wall_s(timezone.now()), 3),
        "speedup": stats["speedup"],
        "critical_path_steps": stats["critical_path_steps"],
        "status_reason": swarm.status_reason,
        "url": f"{settings.PUBLIC_URL or DEFAULT_URL}/swarms/{swarm.public_id}/",
    }


def whole(swarm: Swarm) -> dict[str, Any]:
    """Everything that `show --json` tells: text, error, plan, subtasks with handoffs, artifacts, statistics."""
    handoffs = [one.handoff.summary for one in _attempts(swarm) if hasattr(one, "handoff")]
    succeeded = swarm.status == "succeeded"
    publications = Publication.objects.filter(swarm=swarm)
    return summary(swarm) | {
        "request": swarm.request,
        "repository": swarm.repository.name,
        "base_branch": swarm.base_branch,
        "text": "\n\n".join(handoffs),
        "error": "" if succeeded else swarm.status_reason,
        "config": swarm.config,
        "iterations": [_iteration(one) for one in _iterations(swarm)],
        "subtasks": [_subtask(row) for row in swarm.subtasks.select_related("parent").prefetch_related("dependencies")],
        "merge_entries": [_entry(one) for one in swarm.merge_entries.select_related("subtask")],
        "merge_queue": queue_figures(swarm),
        "conflicts_ahead": [as_row(one) for one in clashes_ahead(swarm)],
        "landing": next(iter(_named(publications, LANDING)), None),
        "questions": _named(swarm.questions.all(), QUESTION),
        "messages": [_message(one) for one in swarm.messages.select_related("sender", "subtask")],
        "checks": list(swarm.check_runs.filter(attempt=None).values(*CHECK)),
        "artifacts": _named(swarm.artifacts.all(), ARTIFACT),
        "statistics": swarm.stats or statistics_of(swarm),
    }


def _message(one: Message) -> dict[str, Any]:
    return {
        "id": one.public_id,
        "to": one.subtask.name if one.subtask else None,
        "sender": one.author,
        "text": one.text,
        "deliveries": [_delivery(each) for each in one.deliveries.select_related("subtask", "attempt", "iteration")],
    }


def _delivery(one: Delivery) -> dict[str, Any]:
    return {
        "subtask": one.subtask.name if one.subtask else None,
        "attempt": one.attempt.number if one.attempt else None,
        "iteration": one.iteration.number if one.iteration else None,
        "turn": one.turn,
        "status": one.status,
        "status_reason": one.status_reason,
    }


def _named(rows: QuerySet[Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Known outside by their public id alone."""
    return [{"id": one["public_id"]} | {name: one[name] for name in names} for one in rows.values("public_id", *names)]


def _iterations(swarm: Swarm) -> QuerySet[PlanIteration]:
    return swarm.iterations.select_related("parent").prefetch_related("subtasks")


def _iteration(one: PlanIteration) -> dict[str, Any]:
    return {
        "number": one.number,
        "parent": one.parent.name if one.parent else None,
        "status": one.status,
        "status_reason": one.status_reason,
        "scratchpad": one.scratchpad,
        "done": one.planner_said_done,
        "repaired": one.repaired,
        "problems": one.problems,
        "subtasks": [row.name for row in one.subtasks.all()],
        "handoffs_seen": one.handoffs_seen,
        "sent_characters": one.sent_characters,
        "saved_characters": one.saved_characters,
        **_spent(one),
    }


def _entry(one: MergeEntry) -> dict[str, Any]:
    return {
        "id": one.public_id,
        "subtask": one.subtask.name,
        "status": one.status,
        "status_reason": one.status_reason,
        "conflict_paths": one.conflict_paths,
        "head_sha": one.head_sha,
        "landed_sha": one.landed_sha,
    }


def _spent(one: Attempt | PlanIteration) -> dict[str, Any]:
    return {
        "steps": one.steps,
        "tool_calls": one.tool_calls,
        "tokens": one.tokens,
        "cost_usd": float(one.cost_usd),
        "started_at": one.started_at.isoformat() if one.started_at else None,
        "finished_at": one.finished_at.isoformat() if one.finished_at else None,
    }


def _attempts(swarm: Swarm) -> list[Attempt]:
    return list(Attempt.objects.filter(subtask__swarm=swarm).select_related("handoff").order_by("pk"))


def _subtask(row: Subtask) -> dict[str, Any]:
    return {
        "id": row.public_id,
        "name": row.name,
        "status": row.status,
        "status_reason": row.status_reason or row.wait_reason,
        "instruction": row.instruction,
        "acceptance": row.acceptance,
        "acceptance_checks": row.acceptance_checks,
        "scope": row.scope,
        "priority": row.priority,
        "specialty": row.specialty,
        "kind": row.kind,
        "level": row.level,
        "parent": row.parent.name if row.parent else None,
        "dependencies": [needed.name for needed in row.dependencies.all()],
        "attempts": [_attempt(one) for one in row.attempts.select_related("handoff")],
        "aggregate": _handoff(row.aggregates.last()),
    }


def _attempt(one: Attempt) -> dict[str, Any]:
    return {
        "id": one.public_id,
        "number": one.number,
        "status": one.status,
        "status_reason": one.status_reason,
        "base_sha": one.base_sha,
        "head_sha": one.head_sha,
        **_spent(one),
        "handoff": _handoff(getattr(one, "handoff", None)),
    }


def _handoff(one: Handoff | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "status": one.status,
        "summary": one.summary,
        "concerns": one.concerns,
        "suggestions": one.suggestions,
        "suspicious": one.suspicious,
        "files_changed": one.files_changed,
        "insertions": one.insertions,
        "deletions": one.deletions,
    }
