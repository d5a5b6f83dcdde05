"""What model calls cost: held back before each, booked after it on the call, its attempt or iteration, its swarm."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import ROUND_UP, Decimal
from functools import lru_cache, partial
from typing import Any

from django.db import transaction
from django.db.models import F, Q, Sum, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.llm.failures import NoCredit
from orchestration.domain.budgets import (
    Amount,
    Ask,
    Budget,
    Decision,
    Grant,
    Hold,
    Limit,
    Stop,
    Unit,
    ask_of,
    decide,
    said,
    spent_up,
)
from orchestration.domain.config import SwarmConfig
from orchestration.domain.conversation import Endpoint, Message, Reply, ToolSpec
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.scheduling import passed
from orchestration.domain.states import ATTEMPT_LIVE, IterationStatus, SwarmStatus
from orchestration.models import Attempt, ModelCall, ModelEndpoint, PlanIteration, Repository, Swarm
from orchestration.models.prepared import PreparedRead, PreparedUpdate, insert
from orchestration.stages.leases import release_connection
from orchestration.stages.rows import config_of
from orchestration.stages.transition import Superseded, moves, status_of

MOST_TOKENS = 100_000_000  # of one answer: far beyond every model, and what a column holds
MOST_USD = Decimal(10_000)
MILLIONTH = Decimal("0.000001")
FIRST_LOOK_S, LONGEST_LOOK_S = 0.05, 1.0  # while calls in flight hold the rest of a budget
TO_DO = {
    Budget.SWARM: "Raise it, then resume.",
    Budget.MONTH: "Raise it in the repository's settings or wait for the next month, then resume.",
    Budget.SERVICE: "Then resume.",
}

Spender = Attempt | PlanIteration


@dataclass(frozen=True, slots=True)
class Calls:
    """The tool calls that an answer asks for, and how many may have been made in the whole swarm."""

    wanted: int
    most: int


class OverBudget(AdapterError):
    """A budget's end: nobody's failure. The swarm is paused, and what ran is tried again when it goes on."""

    def __init__(self, reason: str) -> None:
        super().__init__(Failure.BUDGET, reason)


def plausible(reply: Reply) -> Reply:
    """A service may say any figure; one that no database holds must not end the attempt."""
    said, most = reply.usage, MOST_TOKENS
    if 0 <= said.input_tokens <= most and 0 <= said.output_tokens <= most and 0 <= reply.cost_usd <= MOST_USD:
        return reply
    usage = replace(
        reply.usage,
        input_tokens=_tokens(reply.usage.input_tokens),
        output_tokens=_tokens(reply.usage.output_tokens),
    )
    return replace(reply, usage=usage, cost_usd=max(Decimal(0), min(reply.cost_usd, MOST_USD)))


def _tokens(said: int) -> int:
    return max(0, min(said, MOST_TOKENS))


def book(swarm: Swarm, reply: Reply, *, on: Spender, calls: Calls | None = None, **seen: Any) -> int:
    """One transaction; the swarm's row comes last, as everywhere. What was held back for the call is free again.

    How many of the answer's tool calls may run: they are counted here, before they do. `seen`: of the spender's row.
    """
    reply, wanted = plausible(reply), calls.wanted if calls else 0
    spent = {"tokens": reply.usage.input_tokens + reply.usage.output_tokens, "usd": reply.cost_usd}
    with transaction.atomic(savepoint=False):
        freed = _take_back(on)
        _spend[type(on)](pk=on.pk, calls=wanted, queued=reply.waited_ms, **spent, **seen)
        _record_call(swarm, reply, on)
        booked = {"pk": swarm.pk, "freed_tokens": freed.tokens, "freed_usd": freed.usd, **spent}
        most = calls.most - wanted if calls and wanted else None
        if _spend_of_swarm(calls=wanted, most=most, **booked) or not calls:
            return wanted
        return _book_in_part(swarm, on, calls, booked)


def _book_in_part(swarm: Swarm, on: Spender, calls: Calls, booked: dict[str, Any]) -> int:
    """Where not all of the calls may run, unless the limit was raised meanwhile."""
    row = Swarm.objects.select_for_update(no_key=True).get(pk=swarm.pk)
    granted = max(0, min(calls.wanted, config_of(row).max_total_steps - row.tool_calls))
    _row(on).update(tool_calls=F("tool_calls") - (calls.wanted - granted))
    _spend_of_swarm(calls=granted, most=None, **booked)
    return granted


def _plus(tokens: int, usd: Decimal, calls: int) -> dict[str, Any]:
    return {"tokens": F("tokens") + tokens, "cost_usd": F("cost_usd") + usd, "tool_calls": F("tool_calls") + calls}


def _less(tokens: int, usd: Decimal) -> dict[str, Any]:
    return {"reserved_tokens": F("reserved_tokens") - tokens, "reserved_usd": F("reserved_usd") - usd}


_spend: Mapping[type[Spender], PreparedUpdate] = {
    Attempt: PreparedUpdate(
        lambda pk, tokens, usd, calls, queued, **seen: (
            Attempt.objects.filter(pk=pk),
            {"steps": F("steps") + 1, "queued_ms": F("queued_ms") + queued, **_plus(tokens, usd, calls), **seen},
        )
    ),
    PlanIteration: PreparedUpdate(
        lambda pk, tokens, usd, calls, queued, **seen: (
            PlanIteration.objects.filter(pk=pk),
            {"steps": F("steps") + 1, "queued_ms": F("queued_ms") + queued, **_plus(tokens, usd, calls), **seen},
        )
    ),
}
_spend_of_swarm = PreparedUpdate(
    lambda pk, tokens, usd, calls, most, freed_tokens, freed_usd: (
        Swarm.objects.filter(pk=pk) if most is None else Swarm.objects.filter(pk=pk, tool_calls__lte=most),
        _plus(tokens, usd, calls) | _less(freed_tokens, freed_usd),
    )
)


def _record_call(swarm: Swarm, reply: Reply, on: Spender) -> None:
    attempt = on if isinstance(on, Attempt) else None
    call = ModelCall(
        swarm_id=swarm.pk,
        attempt_id=attempt.pk if attempt else None,
        endpoint_id=_answered_by(reply, swarm),
        detour=reply.detour,
        purpose="worker" if attempt else "planner",
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        estimated=reply.usage.estimated,
        cost_usd=reply.cost_usd,
        latency_ms=reply.latency_ms,
        retries=reply.retries,
        refused=reply.refused,
        waited_ms=reply.waited_ms,
    )
    insert([call])


_endpoints: dict[str, int] = {}  # those that answered: their calls protect them from being deleted


def _answered_by(reply: Reply, swarm: Swarm) -> int:
    """The endpoint that answered; the swarm's own where that is gone by now."""
    if reply.endpoint_id not in _endpoints:
        found = ModelEndpoint.objects.filter(public_id=reply.endpoint_id).values_list("pk", flat=True).first()
        if found is None:
            return swarm.endpoint_id
        _endpoints[reply.endpoint_id] = found
    return _endpoints[reply.endpoint_id]


_LIMITS = ("stopped_by", "tool_calls", "repository__monthly_budget_usd")
_limits = PreparedRead(lambda pk: Swarm.objects.filter(pk=pk).values_list(Cast("config", TextField()), *_LIMITS))
_config_in = lru_cache(maxsize=64)(SwarmConfig.model_validate_json)  # of the same words, asked before every call


class Spending:
    """The model calls of one attempt or iteration, each within the budgets that bind its swarm.

    Its `on` remembers what is held back for one call: of several at once, each has a copy of the row.
    """

    def __init__(self, on: Spender, swarm: Swarm, cancellation: Cancellation) -> None:
        self._on = on
        self._swarm = swarm
        self._cancellation = cancellation

    @contextmanager
    def call(
        self, endpoint: Endpoint, messages: Sequence[Message], tools: Sequence[ToolSpec], left: Callable[[], float]
    ) -> Iterator[None]:
        """Around one call. Raises OverBudget, also where the service wants to be paid first; `left` raises when the
        caller has no more time to wait."""
        self._reserve(partial(ask_of, endpoint, messages, tools), left)
        release_connection()
        try:
            yield
        except AdapterError as error:
            self._queued(error.waited_s)
            if not isinstance(error, NoCredit):
                raise
            pause_at(self._swarm, Stop(str(error), Budget.SERVICE))
            raise OverBudget(str(error)) from error
        finally:
            self._release()

    def _reserve(self, ask: Callable[[], Ask], left: Callable[[], float]) -> None:
        decision = self._try(ask)
        if isinstance(decision, Hold):
            asked = time.monotonic()
            try:
                decision = self._try_again(ask, left)
            finally:
                self._queued(time.monotonic() - asked)
        if isinstance(decision, Stop):
            pause_at(self._swarm, decision)
            raise OverBudget(decision.reason)

    def _try_again(self, ask: Callable[[], Ask], left: Callable[[], float]) -> Decision:
        look = FIRST_LOOK_S
        while True:
            release_connection()
            self._cancellation.wait(min(look, left()))
            self._cancellation.check()
            decision = self._try(ask)
            if not isinstance(decision, Hold):
                return decision
            look = min(2 * look, LONGEST_LOOK_S)

    def _queued(self, seconds: float) -> None:
        """What it waited beside the calls that were answered: those say it themselves."""
        if seconds:
            _row(self._on).update(queued_ms=F("queued_ms") + round(seconds * 1000))

    def _try(self, ask: Callable[[], Ask]) -> Decision:
        if self._unbound():
            return Grant(Amount())
        wanted = ask()
        with transaction.atomic():
            _lock(self._on)
            swarm = Swarm.objects.select_for_update(no_key=True).get(pk=self._swarm.pk)
            if swarm.stopped_by:
                return Stop(swarm.status_reason, Budget(swarm.stopped_by))
            self._require_steps(swarm)
            decision = decide(limits_of(swarm, locked=True), wanted)
            if isinstance(decision, Grant):
                _hold_back(self._on, swarm, decision.amount)
            return decision

    def _unbound(self) -> bool:
        """Without a lock: a budget that is set after this look binds the next call. What is in flight holds nothing
        back then, and is booked like all else."""
        [(config, stopped_by, calls, month)] = _limits(pk=self._swarm.pk)
        limits = _config_in(config)
        budgets = (limits.budget_usd, limits.budget_tokens, month)
        return not stopped_by and calls < limits.max_total_steps and budgets == (None, None, None)

    def _require_steps(self, swarm: Swarm) -> None:
        """A worker without a tool call left could not even hand off."""
        reason = steps_used_up(swarm)
        if reason and isinstance(self._on, Attempt):
            raise AdapterError(Failure.BUDGET, reason)

    def _release(self) -> None:
        """Where the call failed: one that was answered is booked already."""
        if not self._on.reserved_tokens:
            return
        with transaction.atomic():
            freed = _take_back(self._on)
            Swarm.objects.filter(pk=self._swarm.pk).update(**_less(freed.tokens, freed.usd))


def nothing_begins(swarm: Swarm) -> str:
    """Why nothing new may begin in this swarm any more; empty: it may."""
    deadline = config_of(swarm).deadline
    return steps_used_up(swarm) or (passed(deadline) if deadline and deadline <= timezone.now() else "")


def steps_used_up(swarm: Swarm) -> str:
    limit = config_of(swarm).max_total_steps
    return f"The swarm's limit of {limit} tool calls is used up." if swarm.tool_calls >= limit else ""


def limits_of(swarm: Swarm, *, locked: bool = False) -> list[Limit]:
    """The budgets that bind it, as they stand. `locked`: inside a transaction that is about to spend."""
    config, limits = config_of(swarm), []
    if config.budget_usd is not None:
        words = f"The swarm's budget of {said(Unit.USD, config.budget_usd)}"
        limits.append(Limit(words, Unit.USD, config.budget_usd, swarm.cost_usd, swarm.reserved_usd))
    if config.budget_tokens is not None:
        most = Decimal(config.budget_tokens)
        words = f"The swarm's budget of {said(Unit.TOKENS, most)}"
        limits.append(Limit(words, Unit.TOKENS, most, Decimal(swarm.tokens), Decimal(swarm.reserved_tokens)))
    return [*limits, *_month(swarm, locked=locked)]


_bound_by_the_month = PreparedRead(
    lambda pk: Repository.objects.filter(pk=pk, monthly_budget_usd__isnull=False).values_list("pk")
)


def _month(swarm: Swarm, *, locked: bool) -> list[Limit]:
    """What all swarms of the repository have spent since the first of this month, in UTC."""
    if not _bound_by_the_month(pk=swarm.repository_id):
        return []
    rows = Repository.objects.filter(pk=swarm.repository_id, monthly_budget_usd__isnull=False)
    repository = (rows.select_for_update(no_key=True) if locked else rows).first()
    if repository is None or repository.monthly_budget_usd is None:
        return []
    now = timezone.now()
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    calls = ModelCall.objects.filter(swarm__repository=repository, at__gte=first)
    swarms = Swarm.objects.filter(repository=repository)
    sums = calls.aggregate(sum=Sum("cost_usd")), swarms.aggregate(sum=Sum("reserved_usd"))
    # SQLite adds in binary: the trace of what was taken back is no call in flight, for which others would wait.
    spent, reserved = (Decimal(one["sum"] or 0).quantize(MILLIONTH) for one in sums)
    words = f"The repository's budget of {said(Unit.USD, repository.monthly_budget_usd)} for {now:%B %Y}"
    return [Limit(words, Unit.USD, repository.monthly_budget_usd, spent, reserved, Budget.MONTH)]


def pause_if_spent_up(swarm: Swarm) -> bool:
    """Before anything new begins."""
    stop = spent_up(limits_of(swarm))
    if stop:
        pause_at(swarm, stop)
    return stop is not None


def pause_at(swarm: Swarm, stop: Stop) -> None:
    """Until a person has raised the budget and resumes it. Nothing where it is over, or stopped by a budget already."""
    reason = f"{stop.reason} {TO_DO[stop.at]}"
    try:
        with moves(swarm) as together:
            swarm.refresh_from_db()
            if swarm.stopped_by:
                return
            if status_of(swarm) in {SwarmStatus.PLANNING, SwarmStatus.RUNNING}:
                to = {"resume_to": swarm.status, "stopped_by": stop.at.value}
                together.advance(swarm, SwarmStatus.PAUSED, reason=reason, **to)
            elif status_of(swarm) is SwarmStatus.PAUSED:  # by a person, while its last attempts ran on
                Swarm.objects.filter(pk=swarm.pk).update(stopped_by=stop.at.value, status_reason=reason)
                together.record("swarm.noted", text=reason)
    except Superseded:
        return  # it was paused or cancelled in this moment; the next call finds the budget as it is


def free_reservations() -> None:
    """What was held back for calls of processes that are gone."""
    for swarm in Swarm.objects.filter(Q(reserved_tokens__gt=0) | Q(reserved_usd__gt=0)):
        with transaction.atomic():
            attempts = Attempt.objects.filter(subtask__swarm=swarm, reserved_tokens__gt=0)
            attempts.exclude(status__in=ATTEMPT_LIVE).update(reserved_tokens=0, reserved_usd=0)
            iterations = PlanIteration.objects.filter(swarm=swarm, reserved_tokens__gt=0)
            iterations.exclude(status=IterationStatus.RUNNING).update(reserved_tokens=0, reserved_usd=0)
            Swarm.objects.select_for_update(no_key=True).get(pk=swarm.pk)
            sums = [
                rows.aggregate(tokens=Sum("reserved_tokens"), usd=Sum("reserved_usd"))
                for rows in (attempts, iterations)
            ]
            Swarm.objects.filter(pk=swarm.pk).update(
                reserved_tokens=sum(one["tokens"] or 0 for one in sums),
                reserved_usd=sum(one["usd"] or Decimal(0) for one in sums),
            )


def _hold_back(on: Spender, swarm: Swarm, amount: Amount) -> None:
    usd = amount.usd.quantize(MILLIONTH, ROUND_UP)
    on.reserved_tokens, on.reserved_usd = amount.tokens, usd
    more = {"reserved_tokens": F("reserved_tokens") + amount.tokens, "reserved_usd": F("reserved_usd") + usd}
    _row(on).update(**more)
    Swarm.objects.filter(pk=swarm.pk).update(**more)


def _take_back(on: Spender) -> Amount:
    """What the swarm's row has to give back in the same transaction; nothing where somebody else freed it."""
    held = Amount(on.reserved_tokens, on.reserved_usd)
    if not held.tokens:
        return Amount()
    on.reserved_tokens, on.reserved_usd = 0, Decimal(0)
    rows = _row(on).filter(reserved_tokens__gte=held.tokens)
    return held if rows.update(**_less(held.tokens, held.usd)) == 1 else Amount()


def _row(on: Spender) -> Any:
    return type(on)._default_manager.filter(pk=on.pk)  # noqa: SLF001 - Django's own name


def _lock(on: Spender) -> None:
    """Item first, swarm last."""
    _row(on).select_for_update(no_key=True).first()
