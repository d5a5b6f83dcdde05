"""Gives ready subtasks to agents: a snapshot, a decision, one transaction. Never waits for a model.

Decisions are taken one at a time in the whole installation (the lease row is locked first), so that no limit
can be overshot by two of them at once. Where places are scarce, the decision is about every swarm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from orchestration.domain.scheduling import Block, Decision, Installation, Split, Start, Terms, Wait, Waiting, decide
from orchestration.domain.scopes import Held
from orchestration.domain.states import (
    ATTEMPT_HOLDS_SLOT,
    ENTRY_OPEN,
    SUBTASK_SETTLED,
    AttemptStatus,
    IterationStatus,
    SubtaskStatus,
    SwarmStatus,
)
from orchestration.models import Attempt, Lease, Subtask, Swarm
from orchestration.models.prepared import PreparedRead, PreparedRows, PreparedUpdate, create
from orchestration.stages.accounting import pause_if_spent_up, steps_used_up
from orchestration.stages.caching import recall, to_ask, unasked
from orchestration.stages.conflicts import paths_to_settle, to_settle
from orchestration.stages.pending import Needed, Pending, Ready, needs_of, pending, read, with_terms
from orchestration.stages.rows import config_of, swarm_row
from orchestration.stages.splitting import Splits
from orchestration.stages.standing import owes_a_last_word
from orchestration.stages.transition import Moves, Superseded, advance, moves

LOCK = "dispatch"
IS_SPLIT = "It is split into parts."
HOLDS_SCOPE = (SubtaskStatus.ASSIGNED, SubtaskStatus.RUNNING, SubtaskStatus.HANDED_OFF)


_runs = PreparedRead(
    lambda pk: Swarm.objects.filter(pk=pk, status=SwarmStatus.RUNNING).values_list(Exists(to_ask(OuterRef("pk"))))
)
_others_run = PreparedRead(
    lambda beside: Swarm.objects.filter(status=SwarmStatus.RUNNING).exclude(pk=beside).order_by().values_list("pk")[:1]
)
_lock_row = PreparedRead(lambda name: Lease.objects.select_for_update().filter(name=name).values_list("pk"))
_resting = PreparedRead(
    lambda swarms: (
        Attempt.objects.filter(
            status=AttemptStatus.WAITING, subtask__status=SubtaskStatus.PENDING, subtask__swarm__in=swarms
        )
        .order_by()
        .values_list("subtask")
    )
)
_waits = PreparedUpdate(lambda pk, reason: (Subtask.objects.filter(pk=pk), {"wait_reason": reason}))
_pending = PreparedRows(
    lambda pks: (
        Subtask.objects.select_for_update(no_key=True).filter(pk__in=pks, status=SubtaskStatus.PENDING).order_by("pk")
    )
)
_statuses = PreparedRead(lambda subtask: Attempt.objects.filter(subtask=subtask).order_by().values_list("status"))
_places = PreparedRead(
    lambda: (
        Attempt.objects.filter(status__in=ATTEMPT_HOLDS_SLOT)
        .order_by()
        .values_list("subtask__swarm", "subtask__swarm__repository", "subtask__swarm__requester")
        .annotate(Count("pk"))
    )
)


def dispatch(swarm_id: int) -> None:
    """Starts what may start, says why the rest waits, and sends the swarm to its end when nothing is left."""
    asks = _runs(pk=swarm_id)
    if not asks:
        return
    if asks == [(True,)]:
        recall(swarm_id)
    with transaction.atomic():
        _one_at_a_time()
        swarm = swarm_row(swarm_id)
        if swarm.status == SwarmStatus.RUNNING and not pause_if_spent_up(swarm):
            _dispatch(swarm)


def _one_at_a_time() -> None:
    """In the whole installation, until the commit."""
    if not _lock_row(name=LOCK):
        Lease.objects.get_or_create(name=LOCK)
        _lock_row(name=LOCK)


def _dispatch(swarm: Swarm) -> None:
    busy = _Busy()
    own, rivals = pending(swarm), _rivals(swarm, busy)
    swarms = {row.swarm_id: row.swarm for row in rivals} | {swarm.pk: swarm}
    needs = needs_of(swarms)  # later than the rows: one without needs is ready
    rows = {row.pk: row for row in (*with_terms(own, needs), *rivals)}
    splits = Splits(list(swarms.values()))
    resting = frozenset(subtask for (subtask,) in _resting(swarms=list(swarms)))
    decisions = decide(
        [_waiting(row, needs.get(row.pk, ()), splits, resting, busy.conflicts.get(row.pk)) for row in rows.values()],
        busy.installation(swarms.values()),
        timezone.now(),
    )
    for each in swarms.values():
        _carry_out(each, [(rows[one.id], one) for one in decisions if rows[one.id].swarm_id == each.pk])
    if all(row.swarm_id != swarm.pk for row in rows.values()) and _nothing_left(swarm):
        advance(swarm, swarm, SwarmStatus.FINALIZING)


class _Busy:
    """Who holds the places for attempts at this moment."""

    def __init__(self) -> None:
        self.swarms: Counter[int] = Counter()
        self.repositories: Counter[int] = Counter()
        self.owners: Counter[int] = Counter()
        self.conflicts = paths_to_settle()
        for swarm, repository, owner, count in _places():
            self.swarms[swarm] += count
            self.repositories[repository] += count
            self.owners[owner] += count

    @property
    def full(self) -> bool:
        return bool(self.swarms.total() >= settings.SWARM["MAX_AGENTS"])

    def installation(self, swarms: Collection[Swarm]) -> Installation:
        held = _held(swarms, self.conflicts)
        return Installation(
            slots=settings.SWARM["MAX_AGENTS"],
            swarms={one.pk: self._terms(one, held.get(one.pk, ())) for one in swarms},
            running=self.swarms.total(),
            by_owner=self.owners,
            by_repository=self.repositories,
            repository_slots={
                one.repository_id: one.repository.max_agents for one in swarms if one.repository.max_agents
            },
        )

    def _terms(self, swarm: Swarm, held: tuple[Held, ...]) -> Terms:
        config = config_of(swarm)
        return Terms(
            slots=config.slots,
            running=self.swarms[swarm.pk],
            owner=swarm.requester_id,
            repository=swarm.repository_id,
            deadline=config.deadline,
            closed=steps_used_up(swarm),
            held=held,
        )


def _rivals(swarm: Swarm, busy: _Busy) -> Sequence[Ready]:
    """What is ready in other swarms and could have a place: it competes for the same ones."""
    if busy.full or not _others_run(beside=swarm.pk):
        return ()
    others = Swarm.objects.filter(status=SwarmStatus.RUNNING).exclude(pk=swarm.pk).select_related("repository")
    room = {one.pk: one for one in others if busy.swarms[one.pk] < config_of(one).slots}
    return read(_ready().filter(swarm__in=room), room) if room else ()


def _ready() -> QuerySet[Subtask]:
    needs = Subtask.dependencies.through.objects.filter(from_subtask=OuterRef("pk"))
    pending = Subtask.objects.filter(status=SubtaskStatus.PENDING, swarm__status=SwarmStatus.RUNNING)
    return pending.exclude(Exists(needs.exclude(to_subtask__status=SubtaskStatus.COMPLETE)))


def _held(swarms: Iterable[Swarm], conflicts: Mapping[int, Sequence[str]]) -> dict[int, tuple[Held, ...]]:
    """What is being changed in each swarm: by an agent, or by a commit that has not landed yet. Of conflicts that are
    being settled, exactly the files."""
    rows = _changing(swarms=[one.pk for one in swarms])
    held = ((swarm, Held(name, tuple(conflicts.get(pk, scope)))) for swarm, pk, name, scope in rows)
    return {swarm: tuple(one for _, one in each) for swarm, each in groupby(held, key=itemgetter(0))}


def _rests_with_changes(swarms: Collection[int]) -> QuerySet[Attempt, int]:
    """Subtasks whose agent waits for a person with changed files: what others land there meanwhile would only break
    its work. One that has changed nothing would keep everybody out for as long as a person takes, for nothing."""
    resting = Attempt.objects.filter(status=AttemptStatus.WAITING, subtask__swarm__in=swarms)
    return resting.exclude(head_sha=F("base_sha")).order_by().values_list("subtask", flat=True)


_changing = PreparedRead(
    lambda swarms: (
        Subtask.objects.filter(
            Q(status__in=HOLDS_SCOPE) | Q(pk__in=_rests_with_changes(swarms)), swarm__in=swarms, kind="change"
        )
        .order_by("swarm", "pk")
        .values_list("swarm", "pk", "name", "scope")
    )
)


def _waiting(
    row: Pending, needed: Sequence[Needed], splits: Splits, resting: Collection[int], conflict: Sequence[str] | None
) -> Waiting:
    landing = splits.waits_for_change_of(row)
    own_change = {f"the change of {landing} itself": SubtaskStatus.HANDED_OFF} if landing else {}
    needs = {name: status for name, status, _ in needed} | own_change
    resumes = row.pk in resting
    if not isinstance(row, Ready):
        return Waiting(row.pk, row.name, row.priority, needs, swarm=row.swarm_id, resumes=resumes)
    moments = [row.created_at, row.not_before, *(finished_at for *_, finished_at in needed)]
    return Waiting(
        id=row.pk,
        name=row.name,
        priority=row.priority,
        dependencies=needs,
        not_before=row.not_before,
        since=max(moment for moment in moments if moment),
        changes=row.kind == "change",
        scope=tuple(row.scope if conflict is None else conflict),
        swarm=row.swarm_id,
        splits=conflict is None and splits.is_due(row),
        resumes=resumes,
    )


def _carry_out(swarm: Swarm, decisions: list[tuple[Pending, Decision]]) -> None:
    news = {row.pk: decision for row, decision in decisions if _is_news(row, decision)}
    if not news:
        return
    try:
        with moves(swarm) as together:
            rows = _lock(swarm, news)
            for pk, decision in news.items():
                _apply(rows[pk], decision, together)
    except Superseded:
        return  # whoever was first has nudged us again


def _is_news(row: Pending, decision: Decision) -> bool:
    return not isinstance(decision, Wait) or row.wait_reason != decision.reason


def _lock(swarm: Swarm, subtasks: Collection[int]) -> dict[int, Subtask]:
    """In the order in which a cancel locks them, whatever the order of the decisions is."""
    rows = {row.pk: row for row in _pending(pks=list(subtasks))}
    if len(rows) < len(subtasks):
        raise Superseded("A subtask was cancelled or changed in this moment.")
    for row in rows.values():
        row.swarm = swarm
    return rows


def _apply(row: Subtask, decision: Decision, together: Moves) -> None:
    match decision:
        case Start(remark=remark):
            _start(row, remark, together)
        case Wait(reason=reason):
            _waits(pk=row.pk, reason=reason)
        case Block(reason=reason):
            for attempt in row.attempts.filter(status=AttemptStatus.WAITING):
                together.advance(attempt, AttemptStatus.CANCELLED, reason=reason)
            together.advance(row, SubtaskStatus.BLOCKED, reason=reason)
        case Split():
            together.advance(row, SubtaskStatus.WAITING, reason=IS_SPLIT, wait_reason="", not_before=None)


def _start(row: Subtask, remark: str, together: Moves) -> None:
    if unasked(row):  # it became ready since we asked the cache: what made it ready nudges its swarm
        return
    together.advance(row, SubtaskStatus.ASSIGNED, reason=remark, wait_reason="", not_before=None)
    known = _statuses(subtask=row.pk)
    if (AttemptStatus.WAITING.value,) in known:
        together.advance(row.attempts.get(status=AttemptStatus.WAITING), AttemptStatus.ASSIGNED)
        return
    entry = to_settle(row)
    rung = entry.rung if entry else ""
    together.created(create(Attempt(subtask=row, number=len(known) + 1, resolves=entry, rung=rung)))


_unsettled = PreparedRead(
    lambda swarm: (
        Subtask.objects.filter(swarm=swarm).exclude(status__in=SUBTASK_SETTLED).order_by().values_list("pk")[:1]
    )
)


def _nothing_left(swarm: Swarm) -> bool:
    """The planner is done, every subtask is settled, and nothing is on its way to land."""
    return (
        swarm.planning_done
        and not _unsettled(swarm=swarm.pk)
        and not swarm.iterations.filter(status=IterationStatus.RUNNING).exists()
        and not swarm.merge_entries.filter(status__in=ENTRY_OPEN).exists()
        and not owes_a_last_word(swarm)
    )
