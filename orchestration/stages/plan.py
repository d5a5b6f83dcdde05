"""One iteration of the swarm's planner: sees what is due, asks, writes the judged plan. At most one runs in a swarm."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from django.db import IntegrityError
from django.utils import timezone

from orchestration.adapters.secrets import clean
from orchestration.agents import planner
from orchestration.domain.config import SwarmConfig
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.planning import (
    MAX_PLANNER_FAILURES,
    SubmittedPlan,
    judge,
    repeats,
    should_plan,
    single_task_plan,
)
from orchestration.domain.retries import backoff_ms
from orchestration.domain.states import (
    ATTEMPT_HOLDS_SLOT,
    SUBTASK_SETTLED,
    SWARM_OVER,
    IterationStatus,
    SubtaskStatus,
    SwarmStatus,
)
from orchestration.domain.strategies import chain_to_cut, strategy_problems
from orchestration.models import Attempt, PlanIteration, Swarm
from orchestration.stages import iterate
from orchestration.stages.accounting import nothing_begins
from orchestration.stages.due import PLANS_IN
from orchestration.stages.leases import heartbeat
from orchestration.stages.prepare import prepare
from orchestration.stages.rows import config_of, status_by_name, swarm_row
from orchestration.stages.standing import Standing
from orchestration.stages.transition import Moves, Superseded, moves, status_of

logger = logging.getLogger(__name__)
TAKEN = "A name of this plan was given to another subtask in the same moment."


def plan(swarm_id: int) -> None:
    """Does nothing where no planning is due, or another iteration runs."""
    swarm = swarm_row(swarm_id)
    if not _is_due(swarm) or _at_limit(swarm):
        return
    iteration = iterate.claim(Standing(swarm), lambda: _is_still_due(swarm))
    if iteration is None:
        return
    with heartbeat.keep(iteration) as cancellation:
        try:
            prepare(swarm)
            standing = Standing(swarm)
            jury = _jury(standing, closing=swarm.planning_done)
            planned = iterate.ask(standing, iteration, jury, cancellation)
        except (AdapterError, InvalidInput) as error:
            _failed(swarm, iteration, error)
        else:
            _planned(swarm, iteration, planned, jury)


def _is_still_due(swarm: Swarm) -> bool:
    swarm.refresh_from_db()
    return _is_due(swarm)


def _is_due(swarm: Swarm) -> bool:
    if status_of(swarm) not in PLANS_IN or (swarm.plan_not_before and swarm.plan_not_before > timezone.now()):
        return False
    standing = Standing(swarm)
    unheard = bool(standing.unheard)
    if swarm.planning_done and not unheard and (swarm.planning_error or standing.is_active):
        return False
    if unheard and swarm.planning_error:
        return False
    running = Attempt.objects.filter(subtask__swarm=swarm, status__in=ATTEMPT_HOLDS_SLOT).count()
    return should_plan(
        iterations=int(standing.last is not None),
        new_handoffs=standing.new_handoffs,
        active=standing.active,
        capacity=running < config_of(swarm).slots,
        done=swarm.planning_done,
        unseen_failures=swarm.planning_done and standing.owes_a_last_word,
        unheard=unheard,
    )


def _at_limit(swarm: Swarm) -> bool:
    """Without tool calls or time left nothing that is planned could be done: its planning ends with that reason."""
    reason = nothing_begins(swarm) or iterate.lost_too_often(Standing(swarm))
    if not reason:
        return False
    with moves(swarm) as together:
        together.record("swarm.noted", text=reason)
        end_without_plan(swarm, together, reason)
    return True


def _jury(standing: Standing, *, closing: bool) -> iterate.Jury:
    """`closing`: the planner had said done, and what it is asked for is its last word."""
    swarm, config = standing.swarm, config_of(standing.swarm)

    def problems(submitted: SubmittedPlan) -> Sequence[str]:
        known = status_by_name(swarm)
        if closing and (not submitted.tasks or repeats(submitted, known)):
            return ()
        in_flight = any(status not in SUBTASK_SETTLED for status in known.values())
        found = judge(submitted, known, work_in_flight=in_flight, working_dir=config.working_dir)
        own = Standing(swarm).statuses
        return [*found, *strategy_problems(config.strategy, submitted.tasks, own)]

    return iterate.Jury(problems, lambda submitted: _advice(standing, config, submitted))


def _advice(standing: Standing, config: SwarmConfig, submitted: SubmittedPlan) -> Sequence[str]:
    rows = standing.swarm.subtasks.prefetch_related("dependencies")
    earlier = {row.name: [one.name for one in row.dependencies.all()] for row in rows}
    complete = [row.name for row in rows if row.status == SubtaskStatus.COMPLETE]
    chain = chain_to_cut(submitted.tasks, earlier, complete, config.critical_path_threshold)
    return [_too_long(chain, config)] if chain else ()


def _too_long(chain: Sequence[str], config: SwarmConfig) -> str:
    return (
        f"The longest chain of dependencies has {len(chain)} tasks, over the {config.critical_path_threshold} that "
        f"are wanted: {' -> '.join(chain[:12])}. Cut it: drop dependencies that are not needed, split what stands in "
        f"the middle."
    )


def _planned(swarm: Swarm, iteration: PlanIteration, planned: planner.Planned, jury: iterate.Jury) -> None:
    """Writes the plan; an unusable one becomes a single subtask at first, and a failure later."""
    submitted = planned.plan
    if submitted is None and swarm.subtasks.exists():
        _failed(swarm, iteration, planned.failure)
        return
    plan, notes = _last_word(swarm, submitted or single_task_plan(swarm.request))
    try:
        _write(swarm, iteration, plan, [*planned.problems, *jury.notes, *notes], repaired=bool(planned.problems))
    except Superseded:
        logger.info("Plan %s of swarm %s came too late.", iteration.number, swarm.public_id)
    except IntegrityError:
        for row in (iteration, swarm):  # as they are: nothing of it was written
            row.refresh_from_db()
        _failed(swarm, iteration, AdapterError(Failure.TRANSIENT, TAKEN))


def _last_word(swarm: Swarm, plan: SubmittedPlan) -> tuple[SubmittedPlan, list[str]]:
    """After done, an answer that adds nothing is the end, whatever else it says."""
    if not swarm.planning_done:
        return plan, []
    known = status_by_name(swarm)
    if repeats(plan, known):
        named = ", ".join(task.name for task in plan.tasks[:5])
        note = f"The plan only repeats tasks that exist already ({named}), so nothing was added."
        return plan.model_copy(update={"tasks": [], "done": True}), [note]
    return plan.model_copy(update={"done": plan.done or not plan.tasks}), []


def _write(
    swarm: Swarm, iteration: PlanIteration, plan: SubmittedPlan, problems: Sequence[str], *, repaired: bool
) -> None:
    with moves(swarm) as together:
        iterate.record(iteration, plan, problems, together, repaired=repaired)
        swarm.refresh_from_db()
        if status_of(swarm) in SWARM_OVER:
            raise Superseded("The swarm is over.")
        iterate.create_subtasks(swarm, iteration, plan.tasks, together)
        if swarm.status == SwarmStatus.PLANNING:
            together.advance(swarm, after_first_plan(swarm))
        mended = {"status_reason": ""} if swarm.plan_failures else {}
        Swarm.objects.filter(pk=swarm.pk).update(
            planning_done=plan.done, plan_failures=0, plan_not_before=None, **mended
        )


def after_first_plan(swarm: Swarm) -> SwarmStatus:
    return SwarmStatus.AWAITING_APPROVAL if config_of(swarm).plan_approval else SwarmStatus.RUNNING


def _failed(swarm: Swarm, iteration: PlanIteration, error: AdapterError | InvalidInput) -> None:
    """A model that fails is never "no more work": it is asked again later, or the swarm ends with the reason."""
    if iterate.was_stopped(swarm, iteration, error):
        return
    reason = clean(str(error))
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
                tried = f" It was tried {failures} times." if failures > 1 else ""
                end_without_plan(swarm, together, reason + tried)
    except Superseded:
        logger.info("Plan %s of swarm %s was cancelled.", iteration.number, swarm.public_id)


def end_without_plan(swarm: Swarm, together: Moves, reason: str) -> None:
    """Nothing more can be planned: what is in flight still lands, and the end names the reason."""
    swarm.refresh_from_db()
    if swarm.subtasks.exists() and status_of(swarm) in PLANS_IN:
        Swarm.objects.filter(pk=swarm.pk).update(planning_done=True, planning_error=reason)
    elif status_of(swarm) in PLANS_IN:
        together.advance(swarm, SwarmStatus.FAILED, reason=reason)
