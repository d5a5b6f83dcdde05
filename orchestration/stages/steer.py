"""What people do to a swarm that is on its way: pause, resume, approve, cancel, retry."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import QuerySet

from orchestration.domain.budgets import Budget, spent_up
from orchestration.domain.errors import InvalidInput
from orchestration.domain.rights import Action
from orchestration.domain.states import (
    ATTEMPT_LIVE,
    SUBTASK_SETTLED,
    SWARM_OVER,
    AttemptStatus,
    EntryStatus,
    IterationStatus,
    SubtaskStatus,
    SwarmStatus,
)
from orchestration.models import Attempt, Subtask, Swarm, User
from orchestration.stages.accounting import limits_of
from orchestration.stages.ask import withdraw_unasked
from orchestration.stages.family import ancestors, descendants
from orchestration.stages.finish import lease_name
from orchestration.stages.leases import withdraw
from orchestration.stages.plan import after_first_plan
from orchestration.stages.tell import expire_in
from orchestration.stages.transition import Moves, Superseded, moves, status_of

CHANGED = "It changed in this moment; look again."
AGAIN = frozenset({SubtaskStatus.FAILED, SubtaskStatus.TIMED_OUT, SubtaskStatus.BLOCKED, SubtaskStatus.CONFLICT})


def pause(swarm: Swarm, person: User) -> None:
    """No new attempt and no planning starts; what runs goes on to its handoff and lands."""
    _require(person, swarm)
    if status_of(swarm) not in {SwarmStatus.PLANNING, SwarmStatus.RUNNING}:
        raise InvalidInput(f"A swarm that is {_words(swarm)} cannot be paused.")
    _move(swarm, SwarmStatus.PAUSED, f"Paused by {person.username}.", resume_to=swarm.status)


def resume(swarm: Swarm, person: User) -> None:
    _require(person, swarm)
    if status_of(swarm) is not SwarmStatus.PAUSED:
        raise InvalidInput(f"A swarm that is {_words(swarm)} cannot be resumed.")
    if swarm.stopped_by == Budget.SWARM or spent_up(limits_of(swarm)):
        raise InvalidInput(swarm.status_reason or "Its budget is used up. Raise it, then resume.")
    to = SwarmStatus(swarm.resume_to or SwarmStatus.RUNNING)
    try:
        with moves(swarm) as together:
            together.advance(swarm, to, resume_to="", stopped_by="")
            if to is SwarmStatus.PLANNING and swarm.subtasks.exists():  # the first plan came while it was paused
                together.advance(swarm, after_first_plan(swarm))
    except Superseded:
        raise InvalidInput(CHANGED) from None


def approve(swarm: Swarm, person: User) -> None:
    """The plan may be carried out."""
    _require(person, swarm)
    if status_of(swarm) is not SwarmStatus.AWAITING_APPROVAL:
        raise InvalidInput(f"There is no plan to approve: the swarm is {_words(swarm)}.")
    _move(swarm, SwarmStatus.RUNNING, f"Plan approved by {person.username}.")


def cancel(swarm: Swarm, person: User) -> None:
    """Everything that runs is stopped; what has landed stays on the branch, unfinished commits stay pinned."""
    _require(person, swarm)
    if status_of(swarm) in SWARM_OVER:
        raise InvalidInput(f"The swarm is over already: {_words(swarm)}.")
    reason = f"Cancelled by {person.username}."
    try:
        with moves(swarm) as together:
            for attempt in _live(swarm):
                together.advance(attempt, AttemptStatus.CANCELLED, reason=reason)
            for iteration in swarm.iterations.filter(status=IterationStatus.RUNNING):
                together.advance(iteration, IterationStatus.FAILED, reason=reason)
            _cancel_rest(swarm, together, reason)
            _require_none(_live(swarm))
            withdraw(lease_name(swarm))
            together.advance(swarm, SwarmStatus.CANCELLED, reason=reason)
    except Superseded:
        raise InvalidInput(CHANGED) from None
    _nobody_listens(swarm)


def cancel_subtask(subtask: Subtask, person: User) -> None:
    """With all its parts, where it was split; what of them is landing at this moment lands."""
    _require(person, subtask.swarm)
    if status_of(subtask) in SUBTASK_SETTLED or status_of(subtask) is SubtaskStatus.HANDED_OFF:
        raise InvalidInput(f"{subtask.name} is {subtask.status.replace('_', ' ')}; there is nothing to cancel.")
    reason = f"Cancelled by {person.username}."
    try:
        with moves(subtask.swarm) as together:
            family = [subtask, *descendants(subtask)]
            for attempt in _live(subtask.swarm).filter(subtask__in=family):
                together.advance(attempt, AttemptStatus.CANCELLED, reason=reason)
            for iteration in subtask.swarm.iterations.filter(status=IterationStatus.RUNNING, parent__in=family):
                together.advance(iteration, IterationStatus.FAILED, reason=reason)
            _cancel_rest(subtask.swarm, together, reason, family)
            _require_none(_live(subtask.swarm).filter(subtask__in=family))
    except Superseded:
        raise InvalidInput(CHANGED) from None
    _nobody_listens(subtask.swarm)


def retry_subtask(subtask: Subtask, person: User) -> None:
    """Another attempt from today's integration head; what was blocked by it is looked at again. Of a subtask that was
    split, what failed of its parts; and what a part belongs to is open again."""
    _require(person, subtask.swarm)
    if status_of(subtask.swarm) not in {SwarmStatus.RUNNING, SwarmStatus.PAUSED}:
        raise InvalidInput(f"The swarm is {_words(subtask.swarm)}; its subtasks cannot be tried again.")
    if status_of(subtask) not in AGAIN:
        raise InvalidInput(f"{subtask.name} is {subtask.status.replace('_', ' ')}; it cannot be tried again.")
    family = [one for one in (*ancestors(subtask), subtask, *descendants(subtask)) if status_of(one) in AGAIN]
    blocked = {row.pk: row for one in family for row in _blocked_by(one)}
    rows = {row.pk: row for row in family} | blocked
    try:
        with moves(subtask.swarm) as together:
            for _, row in sorted(rows.items()):
                together.advance(row, SubtaskStatus.PENDING, reason="", not_before=None)
            conflicts = subtask.swarm.merge_entries.filter(status=EntryStatus.CONFLICT, subtask__in=family)
            for entry in conflicts.select_related("subtask"):
                together.advance(entry, EntryStatus.SUPERSEDED, reason=f"Tried again by {person.username}.")
    except Superseded:
        raise InvalidInput(CHANGED) from None
    subtask.refresh_from_db()


def _blocked_by(subtask: Subtask) -> list[Subtask]:
    """What never ran because of it, along the whole chain."""
    found: dict[int, Subtask] = {}
    waiting = [subtask]
    while waiting:
        rows = waiting.pop().dependents.filter(status=SubtaskStatus.BLOCKED, attempts__isnull=True)
        fresh = [row for row in rows if row.pk not in found]
        found |= {row.pk: row for row in fresh}
        waiting += fresh
    return list(found.values())


def _require(person: User, swarm: Swarm) -> None:
    if not person.may(Action.STEER, swarm.repository.team):
        raise InvalidInput("Only members of the repository's team may steer this swarm.")


def _move(swarm: Swarm, to: SwarmStatus, reason: str, **fields: str) -> None:
    try:
        with moves(swarm) as together:
            together.advance(swarm, to, reason=reason, **fields)
    except Superseded:
        raise InvalidInput(CHANGED) from None


def _nobody_listens(swarm: Swarm) -> None:
    """Of what people were asked and what they said, only what still concerns somebody is left."""
    withdraw_unasked(swarm)
    expire_in(swarm)


def _live(swarm: Swarm) -> QuerySet[Attempt]:
    return Attempt.objects.filter(subtask__swarm=swarm, status__in=ATTEMPT_LIVE).select_related("subtask")


def _require_none(attempts: QuerySet[Attempt]) -> None:
    """Of a dispatch that came between their cancel and their subtasks', which are ours from then on."""
    if attempts.exists():
        raise Superseded("An attempt was made in this moment.")


def _cancel_rest(swarm: Swarm, together: Moves, reason: str, only: Collection[Subtask] = ()) -> None:
    """An entry that is being merged at this moment is left to its writer: a landing is a fact."""
    waiting = [EntryStatus.QUEUED, EntryStatus.GATING, EntryStatus.CONFLICT]
    entries, left = swarm.merge_entries.all(), swarm.subtasks.all()
    if only:
        entries, left = entries.filter(subtask__in=only), left.filter(pk__in=[row.pk for row in only])
    for entry in entries.filter(status__in=waiting).select_related("subtask"):
        together.advance(entry, EntryStatus.CANCELLED, reason=reason)
    merging = swarm.merge_entries.filter(status=EntryStatus.MERGING).values("subtask")
    left = left.exclude(status__in=SUBTASK_SETTLED).exclude(pk__in=merging, status=SubtaskStatus.HANDED_OFF)
    for subtask in left.order_by("pk"):  # dispatch's order, or the two would lock each other out
        together.advance(subtask, SubtaskStatus.CANCELLED, reason=reason)


def _words(swarm: Swarm) -> str:
    return swarm.status.replace("_", " ")
