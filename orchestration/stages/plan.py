"""One planner iteration: sees what is due, asks the planner, writes the judged plan. At most one runs in a swarm."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import IntegrityError
from django.db.models import QuerySet
from django.utils import timezone

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.gateway import RetryPolicy
from orchestration.agents import planner
from orchestration.agents.conversation import Clock, Conversation
from orchestration.domain import graph
from orchestration.domain.conversation import Message
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.planning import (
    MAX_PLANNER_FAILURES,
    SubmittedPlan,
    judge,
    should_plan,
    single_task_plan,
)
from orchestration.domain.retries import backoff_ms
from orchestration.domain.states import (
    ATTEMPT_LIVE,
    SUBTASK_SETTLED,
    IterationStatus,
    SwarmStatus,
    is_final,
)
from orchestration.domain.texts import storable
from orchestration.domain.tools import PLANNER_TOOLS
from orchestration.models import Attempt, Handoff, PlanIteration, Subtask, Swarm
from orchestration.stages import briefing
from orchestration.stages.accounting import book
from orchestration.stages.leases import heartbeat, lease_end, new_token, release_connection
from orchestration.stages.prepare import prepare
from orchestration.stages.rows import config_of, endpoint_of, status_by_name, store_of
from orchestration.stages.transition import Moves, Superseded, advance, moves, status_of

logger = logging.getLogger(__name__)
PLANNING_TIMEOUT_S = 1800.0
PLANS_IN = (SwarmStatus.PLANNING, SwarmStatus.RUNNING)


def plan(swarm_id: int) -> None:
    """Does nothing where no planning is due, or another iteration runs."""
    swarm = Swarm.objects.select_related("repository", "endpoint").get(pk=swarm_id)
    if not _is_due(swarm) or _at_limit(swarm):
        return
    iteration = _claim(swarm)
    if iteration is None:
        return
    with heartbeat.keep(iteration) as cancellation:
        try:
            prepare(swarm)
            planned = _ask(swarm, iteration, cancellation)
        except (AdapterError, InvalidInput) as error:
            _failed(swarm, iteration, error)
        else:
            _planned(swarm, iteration, planned)


def _is_due(swarm: Swarm) -> bool:
    if status_of(swarm) not in PLANS_IN or (swarm.plan_not_before and swarm.plan_not_before > timezone.now()):
        return False
    statuses = list(swarm.subtasks.values_list("status", flat=True))
    running = Attempt.objects.filter(subtask__swarm=swarm, status__in=ATTEMPT_LIVE).count()
    last = swarm.iterations.filter(status=IterationStatus.DONE).last()
    return should_plan(
        iterations=int(last is not None),
        new_handoffs=_handoffs(swarm).count() - (last.handoffs_seen if last else 0),
        active=sum(status not in SUBTASK_SETTLED for status in statuses),
        capacity=running < config_of(swarm).slots,
        done=swarm.planning_done,
    )


def _at_limit(swarm: Swarm) -> bool:
    """A swarm without tool calls left could not carry out what is planned: its planning ends with that reason."""
    limit = config_of(swarm).max_total_steps
    if swarm.tool_calls <= limit:
        return False
    with moves(swarm) as together:
        reason = f"The swarm's limit of {limit} tool calls is used up."
        together.record("swarm.noted", text=reason)
        end_without_plan(swarm, together, reason)
    return True


def _handoffs(swarm: Swarm) -> QuerySet[Handoff]:
    return Handoff.objects.filter(attempt__subtask__swarm=swarm).select_related("attempt__subtask")


def _claim(swarm: Swarm) -> PlanIteration | None:
    """The row of this iteration, ours; None where one runs already (the database holds that) or none is due."""
    try:
        with moves(swarm) as together:
            iteration = PlanIteration.objects.create(
                swarm=swarm,
                number=swarm.iterations.count() + 1,
                lease_token=new_token(),
                lease_expires_at=lease_end(),
            )
            swarm.refresh_from_db()
            if not _is_due(swarm):
                raise Superseded("It was planned, paused or cancelled since we looked.")
            together.created(iteration)
    except (IntegrityError, Superseded):
        return None
    return iteration


def _ask(swarm: Swarm, iteration: PlanIteration, cancellation: Cancellation) -> planner.Planned:
    config, store, known = config_of(swarm), store_of(swarm), status_by_name(swarm)
    tip = store.tip(swarm.branch) or swarm.base_sha
    handoffs = list(_handoffs(swarm))
    iteration.handoffs_seen = len(handoffs)
    conversation = Conversation(
        endpoint_of(swarm.endpoint, config),
        PLANNER_TOOLS,
        "planner",
        Clock(PLANNING_TIMEOUT_S),
        RetryPolicy(max_retries=0),  # each try is an iteration of its own, with its reason on the page
        cancellation,
        on_reply=lambda reply: book(swarm, reply, on=iteration),
    )
    first = briefing.for_planner(swarm, store, tip, known, handoffs)
    conversation.messages = [Message("system", briefing.planner_system(config)), Message("user", first)]
    release_connection()

    def verdict(submitted: SubmittedPlan) -> list[str]:
        now = status_by_name(swarm)
        in_flight = any(status not in SUBTASK_SETTLED for status in now.values())
        return judge(submitted, now, work_in_flight=in_flight, working_dir=config.working_dir)

    return planner.plan(conversation, store, tip, verdict)


def _planned(swarm: Swarm, iteration: PlanIteration, planned: planner.Planned) -> None:
    """Writes the plan; an unusable one becomes a single subtask at first, and a failure later."""
    submitted = planned.plan
    if submitted is None and swarm.subtasks.exists():
        _failed(swarm, iteration, AdapterError(Failure.TRANSIENT, " ".join(planned.problems)))
        return
    try:
        _write(swarm, iteration, submitted or single_task_plan(swarm.request), planned.problems)
    except Superseded:
        logger.info("Plan %s of swarm %s came too late.", iteration.number, swarm.public_id)


def _write(swarm: Swarm, iteration: PlanIteration, plan: SubmittedPlan, problems: tuple[str, ...]) -> None:
    with moves(swarm) as together:
        together.advance(
            iteration,
            IterationStatus.DONE,
            lease=iteration.lease_token,
            scratchpad=plan.scratchpad,
            planner_said_done=plan.done,
            repaired=bool(problems),
            problems=list(problems),
            handoffs_seen=iteration.handoffs_seen,
        )
        swarm.refresh_from_db()
        if is_final(status_of(swarm)):
            raise Superseded("The swarm is over.")
        _create_subtasks(swarm, iteration, plan, together)
        if swarm.status == SwarmStatus.PLANNING:
            together.advance(swarm, after_first_plan(swarm))
        mended = {"status_reason": ""} if swarm.plan_failures else {}
        Swarm.objects.filter(pk=swarm.pk).update(
            planning_done=plan.done, plan_failures=0, plan_not_before=None, **mended
        )


def after_first_plan(swarm: Swarm) -> SwarmStatus:
    return SwarmStatus.AWAITING_APPROVAL if config_of(swarm).plan_approval else SwarmStatus.RUNNING


def _create_subtasks(swarm: Swarm, iteration: PlanIteration, plan: SubmittedPlan, together: Moves) -> None:
    known = {row.name: row for row in swarm.subtasks.all()}
    depth = graph.levels({task.name: [d for d in task.dependencies if d not in known] for task in plan.tasks})
    for task in sorted(plan.tasks, key=lambda task: depth[task.name]):
        needed = [known[name] for name in dict.fromkeys(task.dependencies)]
        row = Subtask.objects.create(
            swarm=swarm,
            iteration=iteration,
            level=1 + max((one.level for one in needed), default=-1),
            **task.model_dump(exclude={"dependencies", "decompose", "variants"}),
        )
        row.dependencies.set(needed)
        known[row.name] = row
        together.created(row)


def _failed(swarm: Swarm, iteration: PlanIteration, error: AdapterError | InvalidInput) -> None:
    """A model that fails is never "no more work": it is asked again later, or the swarm ends with the reason."""
    if isinstance(error, AdapterError) and error.kind is Failure.CANCELLED:  # this process goes down, no fault of it
        advance(swarm, iteration, IterationStatus.LOST, reason=str(error), lease=iteration.lease_token)
        return
    reason = storable(str(error))
    failures = swarm.plan_failures + 1
    transient = isinstance(error, AdapterError) and error.transient
    again = timezone.now() + timedelta(milliseconds=backoff_ms(failures, config_of(swarm)))
    try:
        with moves(swarm) as together:
            together.advance(iteration, IterationStatus.FAILED, reason=reason, lease=iteration.lease_token)
            if transient and failures < MAX_PLANNER_FAILURES:
                together.record("plan.retrying", reason=reason, failures=failures)
                Swarm.objects.filter(pk=swarm.pk).update(
                    plan_failures=failures, plan_not_before=again, status_reason=f"The planner failed: {reason}"
                )
            else:
                end_without_plan(swarm, together, reason)
    except Superseded:
        logger.info("Plan %s of swarm %s was cancelled.", iteration.number, swarm.public_id)


def end_without_plan(swarm: Swarm, together: Moves, reason: str) -> None:
    """Nothing more can be planned: what is in flight still lands, and the end names the reason."""
    swarm.refresh_from_db()
    if swarm.subtasks.exists() and status_of(swarm) in PLANS_IN:
        Swarm.objects.filter(pk=swarm.pk).update(planning_done=True, planning_error=reason)
    elif status_of(swarm) in PLANS_IN:
        together.advance(swarm, SwarmStatus.FAILED, reason=reason)
