"""Writes an attempt's ending, and what it means for its subtask: on to the queue, again, or over."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from django.db import IntegrityError
from django.utils import timezone

from orchestration.adapters.git.values import DiffStat
from orchestration.adapters.secrets import clean
from orchestration.domain.errors import Failure
from orchestration.domain.handoffs import CheckResult, Claim, SubmittedHandoff
from orchestration.domain.planning import SubmittedPlan
from orchestration.domain.retries import GiveUp, Retry, after_failure, after_loss
from orchestration.domain.scopes import doubt
from orchestration.domain.states import AttemptStatus, EntryStatus, SubtaskStatus
from orchestration.models import Attempt, CheckRun, Handoff, MergeEntry, PlanIteration
from orchestration.models.prepared import create, insert
from orchestration.stages import iterate
from orchestration.stages.rows import config_of, store_of
from orchestration.stages.splitting import proposal_problems
from orchestration.stages.transition import Moves, Superseded, moves

logger = logging.getLogger(__name__)
MAX_SUMMARY = 2000  # characters of our own words

# An attempt that ended so leaves its subtask so; the others are decided below.
_ENDS_AS = {
    AttemptStatus.PARTIAL: SubtaskStatus.FAILED,
    AttemptStatus.BLOCKED: SubtaskStatus.BLOCKED,
    AttemptStatus.TIMED_OUT: SubtaskStatus.TIMED_OUT,
}


@dataclass(frozen=True, slots=True)
class Ending:
    status: AttemptStatus
    reason: str
    head_sha: str
    failure: Failure | None = None
    handoff: SubmittedHandoff | None = None
    suspicious: str = ""
    checks: tuple[CheckResult, ...] = ()
    split: bool = False  # the agent's handoff names the parts, and they can be used
    lands: bool = False  # of a split: its own change holds by itself
    resolved: Sequence[dict[str, str]] = ()  # of a conflict: what becomes of each path


def settle(attempt: Attempt, ending: Ending) -> None:
    """All of it or nothing. Nothing where the attempt is no longer ours: it was cancelled or taken over."""
    stat = None
    if ending.head_sha not in {"", attempt.base_sha}:
        stat = store_of(attempt.subtask.swarm).diffstat(attempt.base_sha, ending.head_sha)
    try:
        _settle(attempt, ending, stat)
    except IntegrityError:  # somebody took the name of a part, or the subplan's number, in the same moment
        if not ending.split:
            raise
        token = attempt.lease_token
        attempt.refresh_from_db()
        attempt.lease_token = token
        problems = proposal_problems(attempt.subtask, ending.handoff.split) if ending.handoff else []
        _settle(attempt, replace(ending, split=not problems), stat)


def _settle(attempt: Attempt, ending: Ending, stat: DiffStat | None) -> None:
    try:
        with moves(attempt.subtask.swarm) as together:
            together.advance(
                attempt,
                ending.status,
                reason=ending.reason,
                lease=attempt.lease_token,
                failure=ending.failure or "",
                head_sha=ending.head_sha,
                doing="",
            )
            _record_checks(attempt, ending)
            goes_on = _move_subtask(attempt, ending, together)
            if not goes_on:
                _record_handoff(attempt, ending, stat)
    except Superseded:
        logger.info("Attempt %s ended after somebody else had ended it.", attempt.public_id)
        Attempt.objects.filter(pk=attempt.pk, head_sha="").update(head_sha=ending.head_sha)  # its work can be looked at


def lose(attempt: Attempt, reason: str) -> None:
    """The process that ran it is gone."""
    settle(attempt, Ending(AttemptStatus.LOST, reason, attempt.head_sha))


def _move_subtask(attempt: Attempt, ending: Ending, together: Moves) -> bool:
    """True where the same work is tried again, and there is nothing to tell the planner yet."""
    subtask = attempt.subtask
    if ending.split and ending.handoff:
        _split(attempt, ending.handoff, ending, together)
        return False
    if ending.status is AttemptStatus.COMPLETE:
        _complete(attempt, ending, together)
        return False
    decision = _again(attempt, ending)
    if isinstance(decision, Retry):
        start = timezone.now() + timedelta(milliseconds=decision.delay_ms)
        together.advance(subtask, SubtaskStatus.PENDING, not_before=start, wait_reason=ending.reason)
        return True
    if attempt.resolves_id is not None:
        MergeEntry.objects.filter(pk=attempt.resolves_id).update(rung="")  # somebody else has to
        together.advance(subtask, SubtaskStatus.CONFLICT, reason=f"Its conflict was not settled: {ending.reason}")
        return False
    to = _ENDS_AS.get(ending.status, SubtaskStatus.FAILED)
    together.advance(subtask, to, reason=ending.reason + (decision.reason if decision else ""))
    return False


def _again(attempt: Attempt, ending: Ending) -> Retry | GiveUp | None:
    earlier = attempt.subtask.attempts
    if ending.status is AttemptStatus.CANCELLED:  # at a budget's end, which says nothing against it
        return Retry(delay_ms=0)
    if ending.status is AttemptStatus.LOST:
        return after_loss(earlier.filter(status=AttemptStatus.LOST).count())
    if ending.status is AttemptStatus.FAILED and ending.handoff is None:
        failures = earlier.filter(status=AttemptStatus.FAILED).count()
        return after_failure(ending.failure, failures, config_of(attempt.subtask.swarm), jitter=random.random())  # noqa: S311
    return None


def _complete(attempt: Attempt, ending: Ending, together: Moves) -> None:
    subtask = attempt.subtask
    if subtask.kind != "change":
        together.advance(subtask, SubtaskStatus.COMPLETE)
        return
    together.advance(subtask, SubtaskStatus.HANDED_OFF)
    enqueue(attempt, ending.head_sha, ending.resolved, together)


def enqueue(attempt: Attempt, head_sha: str, resolved: Sequence[dict[str, str]], together: Moves) -> None:
    """In the queue for the first time; or in the place of the conflict that it settles, as old as that one is."""
    before = attempt.resolves
    age = {"enqueued_at": before.enqueued_at, "rounds": before.rounds + 1} if before else {}
    if before:
        together.advance(
            before, EntryStatus.SUPERSEDED, reason=f"Its conflict was settled by attempt {attempt.number}."
        )
    entry = MergeEntry(
        swarm=attempt.subtask.swarm,
        subtask=attempt.subtask,
        attempt=attempt,
        head_sha=head_sha,
        priority=attempt.subtask.priority,
        resolved=list(resolved),
        **age,
    )
    together.created(create(entry))


def _split(attempt: Attempt, handoff: SubmittedHandoff, ending: Ending, together: Moves) -> None:
    """The parts are the subtask's subplan; they wait for its own change where that lands."""
    subtask = attempt.subtask
    iteration = PlanIteration.objects.create(
        swarm=subtask.swarm, parent=subtask, number=iterate.next_number(subtask.swarm)
    )
    together.created(iteration)
    plan = SubmittedPlan(scratchpad=f"Proposed by its agent: {handoff.summary}", done=True, tasks=handoff.split)
    iterate.record(iteration, plan, (), together, repaired=False)
    iterate.create_subtasks(subtask.swarm, iteration, plan.tasks, together)
    together.advance(subtask, SubtaskStatus.WAITING, reason=ending.reason)
    if ending.lands:
        enqueue(attempt, ending.head_sha, ending.resolved, together)


def _record_checks(attempt: Attempt, ending: Ending) -> None:
    insert(
        [
            CheckRun(
                swarm=attempt.subtask.swarm,
                attempt=attempt,
                sha=ending.head_sha,
                command=check.command,
                passed=check.passed,
                exit_code=check.exit_code,
                output=check.output,
                duration_ms=check.duration_ms,
            )
            for check in ending.checks
        ]
    )


def _record_handoff(attempt: Attempt, ending: Ending, stat: DiffStat | None) -> None:
    """The agent's words, or ours where it found none: the planner hears of every end."""
    said = attempt.status_reason[:MAX_SUMMARY] or "It ended without a word."
    words = ending.handoff or SubmittedHandoff(status=Claim.FAILED, summary=said)
    words = SubmittedHandoff.model_validate(clean(words.model_dump()))
    started = attempt.started_at or attempt.created_at
    changed = [file.path for file in stat.files] if stat else []
    own = attempt.subtask.kind == "change" and not ending.resolved  # a resolution brings others' files
    outside = doubt(attempt.subtask.scope, changed) if own else ""
    handoff = Handoff(
        attempt=attempt,
        status=words.status,
        summary=words.summary,
        concerns=words.concerns,
        suggestions=words.suggestions,
        suspicious=" ".join(filter(None, (ending.suspicious, outside))),
        files_changed=changed,
        insertions=stat.insertions if stat else 0,
        deletions=stat.deletions if stat else 0,
        duration_ms=max(0, round((timezone.now() - started).total_seconds() * 1000) - attempt.waited_ms),
    )
    create(handoff)
