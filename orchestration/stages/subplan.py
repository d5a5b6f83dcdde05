"""Splits one subtask: asks its subplanner batch by batch, and sums the parts up when all of them are settled."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from django.db import IntegrityError
from django.utils import timezone

from orchestration.adapters.secrets import clean
from orchestration.agents import planner
from orchestration.domain.aggregation import Aggregate, Piece, aggregate
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.handoffs import Claim
from orchestration.domain.planning import MAX_PLANNER_FAILURES, SubmittedPlan
from orchestration.domain.retries import backoff_ms
from orchestration.domain.states import (
    ATTEMPT_LIVE,
    ENTRY_OPEN,
    SUBTASK_SETTLED,
    EntryStatus,
    IterationStatus,
    SubtaskStatus,
    SwarmStatus,
)
from orchestration.domain.subplans import MAX_BATCHES
from orchestration.models import Attempt, Handoff, PlanIteration, Subtask
from orchestration.stages import iterate
from orchestration.stages.accounting import nothing_begins
from orchestration.stages.leases import heartbeat
from orchestration.stages.rows import config_of
from orchestration.stages.splitting import part_problems
from orchestration.stages.standing import Standing
from orchestration.stages.transition import Superseded, moves, status_of

logger = logging.getLogger(__name__)
ALONE = "The subplanner gave no usable plan, so one agent works on the whole."
TAKEN = "A name of this plan was given to another subtask in the same moment."


def subplan(subtask_id: int) -> None:
    """Does nothing where the subtask waits for no parts, or they are still being worked on."""
    parent = Subtask.objects.select_related("swarm__repository", "swarm__endpoint").get(pk=subtask_id)
    if not _is_next(parent):
        return
    standing = Standing(parent.swarm, parent)
    if not _is_due(standing, parent):
        _sum_up(parent)
        return
    if parent.not_before and parent.not_before > timezone.now():
        return
    if limit := nothing_begins(parent.swarm) or iterate.lost_too_often(standing):
        _give_up(parent, limit)
        return
    iteration = iterate.claim(standing, lambda: _is_still_next(parent))
    if iteration is not None:
        _iterate(parent, iteration)


def _is_next(parent: Subtask) -> bool:
    """It waits for parts, and none of them is on its way, nor its own change."""
    if parent.status != SubtaskStatus.WAITING or parent.swarm.status != SwarmStatus.RUNNING:
        return False
    if parent.attempts.filter(status__in=ATTEMPT_LIVE).exists():  # it waits for an answer or a person
        return False
    if parent.merge_entries.filter(status__in=ENTRY_OPEN).exists():
        return False
    return not parent.children.exclude(status__in=SUBTASK_SETTLED).exists()


def _is_still_next(parent: Subtask) -> bool:
    parent.refresh_from_db()
    parent.swarm.refresh_from_db()
    return _is_next(parent) and _is_due(Standing(parent.swarm, parent), parent)


def _is_due(standing: Standing, parent: Subtask) -> bool:
    """Until its subplanner is done, and once more where it has not heard of what failed since."""
    if standing.last is None:
        return True
    if parent.subplans.filter(status=IterationStatus.DONE).count() >= MAX_BATCHES:
        return False
    return not standing.last.planner_said_done or standing.owes_a_last_word


def _iterate(parent: Subtask, iteration: PlanIteration) -> None:
    standing = Standing(parent.swarm, parent)
    jury = iterate.Jury(lambda submitted: part_problems(parent, submitted))
    with heartbeat.keep(iteration) as cancellation:
        try:
            planned = iterate.ask(standing, iteration, jury, cancellation)
        except (AdapterError, InvalidInput) as error:
            _failed(parent, iteration, error)
        else:
            _planned(parent, iteration, planned)


def _planned(parent: Subtask, iteration: PlanIteration, planned: planner.Planned) -> None:
    submitted = planned.plan
    if submitted is None and parent.children.exists():
        _failed(parent, iteration, planned.failure)
        return
    plan = submitted or SubmittedPlan(scratchpad=ALONE, done=True)
    try:
        _write(parent, iteration, plan.model_copy(update={"done": plan.done or not plan.tasks}), planned.problems)
    except Superseded:
        logger.info("Subplan %s of %s came too late.", iteration.number, parent.name)
    except IntegrityError:
        for row in (iteration, parent):  # as they are: nothing of it was written
            row.refresh_from_db()
        _failed(parent, iteration, AdapterError(Failure.TRANSIENT, TAKEN))


def _write(parent: Subtask, iteration: PlanIteration, plan: SubmittedPlan, problems: Sequence[str]) -> None:
    """A first answer without tasks: it is one agent's work, and the subtask goes back to be started as such."""
    with moves(parent.swarm) as together:
        iterate.record(iteration, plan, problems, together, repaired=bool(problems))
        parent.refresh_from_db()
        if parent.status != SubtaskStatus.WAITING:
            raise Superseded(f"{parent.name} does not wait for parts any more.")
        Subtask.objects.filter(pk=parent.pk).update(not_before=None, status_reason="")
        if plan.tasks:
            iterate.create_subtasks(parent.swarm, iteration, plan.tasks, together)
        elif not parent.children.exists():
            together.advance(parent, SubtaskStatus.PENDING, not_before=None, wait_reason="")


def _failed(parent: Subtask, iteration: PlanIteration, error: AdapterError | InvalidInput) -> None:
    """Asked again later, or the subtask ends with what its parts did and the reason."""
    swarm = parent.swarm
    if iterate.was_stopped(swarm, iteration, error):
        return
    reason = clean(str(error))
    failures = _failures_in_a_row(parent) + 1
    again = timezone.now() + timedelta(milliseconds=backoff_ms(failures, config_of(swarm)))
    goes_on = isinstance(error, AdapterError) and error.transient and failures < MAX_PLANNER_FAILURES
    try:
        with moves(swarm) as together:
            if goes_on:
                words = f"The subplanner failed: {reason}"
                Subtask.objects.filter(pk=parent.pk).update(not_before=again, status_reason=words)
                together.record("plan.retrying", reason=reason, failures=failures, name=parent.name)
            together.advance(iteration, IterationStatus.FAILED, reason=reason, lease=iteration.lease_token)
    except Superseded:
        logger.info("Subplan %s of %s was cancelled.", iteration.number, parent.name)
        return
    if not goes_on:
        _give_up(parent, reason)


def _failures_in_a_row(parent: Subtask) -> int:
    """Since the last answer that could be used; a process that went away is no failure."""
    statuses = parent.subplans.exclude(status__in=(IterationStatus.LOST, IterationStatus.RUNNING))
    failures = 0
    for status in statuses.order_by("-number").values_list("status", flat=True):
        if status != IterationStatus.FAILED:
            break
        failures += 1
    return failures


def _give_up(parent: Subtask, reason: str) -> None:
    """No more parts can be planned."""
    _sum_up(parent, f"Splitting stopped early: {reason}")


def _sum_up(parent: Subtask, trouble: str = "") -> None:
    """The subtask ends as its parts did, with an aggregate handoff for whoever builds on it and for the planner."""
    notes = [trouble] if trouble else []
    pieces, own_notes = _pieces(parent)
    found = aggregate(pieces, [*notes, *own_notes])
    complete = found.claim is Claim.COMPLETE and not trouble
    to = SubtaskStatus.COMPLETE if complete else SubtaskStatus.FAILED
    reason = " ".join(part for part in (trouble, found.reason) if part)
    try:
        with moves(parent.swarm) as together:
            parent.refresh_from_db()
            if parent.children.exclude(status__in=SUBTASK_SETTLED).exists() or status_of(parent) in SUBTASK_SETTLED:
                raise Superseded("It changed in this moment.")
            _hand_off(parent, found)
            together.advance(parent, to, reason=reason, not_before=None)
    except Superseded:
        logger.info("The parts of %s were summed up by somebody else.", parent.name)


def _hand_off(parent: Subtask, found: Aggregate) -> None:
    Handoff.objects.create(
        parent=parent,
        status=found.claim,
        summary=found.summary,
        concerns=found.concerns,
        suggestions=found.suggestions,
        files_changed=found.files,
        insertions=found.insertions,
        deletions=found.deletions,
        duration_ms=found.duration_ms,
    )


def _pieces(parent: Subtask) -> tuple[list[Piece], list[str]]:
    """The parts; before them its own change where an agent made one before it proposed the split."""
    children = [_piece(child) for child in parent.children.order_by("pk")]
    own = parent.attempts.exclude(head_sha="").filter(handoff__isnull=False).last()
    if own is None:
        return children, []
    entry = getattr(own, "merge_entry", None)
    if entry is None:
        kept = f"{parent.name}: its own unfinished change was not verified and did not land; it is {own.head_sha[:12]}."
        return children, [kept] if own.head_sha != own.base_sha else []
    landed = entry.status == EntryStatus.LANDED
    return [_piece_of(parent, own, SubtaskStatus.COMPLETE if landed else SubtaskStatus.CONFLICT), *children], []


def _piece(child: Subtask) -> Piece:
    last = child.aggregates.last()
    if last is None:
        attempt = child.attempts.filter(handoff__isnull=False).select_related("handoff").last()
        if attempt is None:
            return Piece(child.name, SubtaskStatus(child.status), child.status_reason)
        return _piece_of(child, attempt, SubtaskStatus(child.status))
    return _from_handoff(child, last, SubtaskStatus(child.status))


def _piece_of(subtask: Subtask, attempt: Attempt, status: SubtaskStatus) -> Piece:
    return _from_handoff(subtask, attempt.handoff, status)


def _from_handoff(subtask: Subtask, one: Handoff, status: SubtaskStatus) -> Piece:
    return Piece(
        subtask.name,
        status,
        one.summary,
        tuple(one.concerns),
        tuple(one.suggestions),
        tuple(one.files_changed),
        one.insertions,
        one.deletions,
        one.duration_ms,
    )
