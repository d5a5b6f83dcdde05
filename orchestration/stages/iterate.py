"""One iteration of a planner, the swarm's or a subtask's: claimed, asked, judged, and written as subtasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from django.db import IntegrityError, transaction
from django.db.models import F

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.gateway import RetryPolicy, get_gateway
from orchestration.adapters.git.store import BareRepository
from orchestration.agents import planner
from orchestration.agents.conversation import Clock, Conversation
from orchestration.domain import context, graph
from orchestration.domain.conversation import Message
from orchestration.domain.endpoints import ModelRole
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.fitting import tokens
from orchestration.domain.planning import PlannedTask, SubmittedPlan
from orchestration.domain.retries import MAX_LOST, GiveUp, after_loss
from orchestration.domain.states import IterationStatus
from orchestration.domain.tools import PLANNER_TOOLS
from orchestration.models import PlanIteration, Subtask, Swarm
from orchestration.stages import briefing
from orchestration.stages.accounting import OverBudget, Spending, book
from orchestration.stages.leases import lease_end, new_token, release_connection
from orchestration.stages.rows import config_of, endpoint_for, store_of
from orchestration.stages.standing import Standing
from orchestration.stages.tell import Ear
from orchestration.stages.transition import Moves, Superseded, advance, moves

PLANNING_TIMEOUT_S = 1800.0
MAX_CLAIMS = 50  # tries for a number: others claim theirs at the same time


@dataclass(slots=True)
class Jury:
    """Judges each answer of one iteration. Advice sends the first one back; where it is not taken, that is noted."""

    problems: Callable[[SubmittedPlan], Sequence[str]]
    advice: Callable[[SubmittedPlan], Sequence[str]] = lambda _: ()
    notes: list[str] = field(default_factory=list)
    _asked: bool = False

    def __call__(self, plan: SubmittedPlan) -> list[str]:
        first, self._asked = not self._asked, True
        problems = list(self.problems(plan))
        if problems:
            return problems
        advice = list(self.advice(plan))
        if not first:
            self.notes += [f"Taken all the same: {sentence}" for sentence in advice]
        return advice if first else []


def claim(standing: Standing, still_due: Callable[[], bool]) -> PlanIteration | None:
    """The row of this iteration, ours; None where one runs already (the database holds that) or none is due."""
    for _ in range(MAX_CLAIMS):
        try:
            return _create(standing, still_due)
        except Superseded:
            return None
        except IntegrityError:
            if standing.iterations.filter(status=IterationStatus.RUNNING).exists():
                return None
    return None


def _create(standing: Standing, still_due: Callable[[], bool]) -> PlanIteration:
    swarm = standing.swarm
    with moves(swarm) as together:
        iteration = PlanIteration.objects.create(
            swarm=swarm,
            parent=standing.parent,
            number=next_number(swarm),
            lease_token=new_token(),
            lease_expires_at=lease_end(),
        )
        if not still_due():
            raise Superseded("It was planned, paused or cancelled since we looked.")
        together.created(iteration)
    return iteration


def next_number(swarm: Swarm) -> int:
    """Of the swarm's next iteration, whoever's it is; the database refuses the second of two that take it at once."""
    return (swarm.iterations.order_by("number").values_list("number", flat=True).last() or 0) + 1


def ask(
    standing: Standing, iteration: PlanIteration, jury: Callable[[SubmittedPlan], list[str]], cancellation: Cancellation
) -> planner.Planned:
    """The planner's answer; what it was told is kept on the iteration. Raises AdapterError."""
    swarm, store = standing.swarm, store_of(standing.swarm)
    tip = store.tip(swarm.branch) or swarm.base_sha
    endpoint = endpoint_for(swarm, ModelRole.SUBPLANNER if standing.parent else ModelRole.PLANNER)
    conversation = Conversation(
        endpoint,
        PLANNER_TOOLS,
        "planner",
        Clock(PLANNING_TIMEOUT_S),
        RetryPolicy(max_retries=0),  # each try is an iteration of its own, with its reason on the page
        cancellation,
        on_reply=lambda reply: book(swarm, reply, on=iteration),
        around=partial(Spending(iteration, swarm, cancellation).call, endpoint),
    )
    conversation.messages = _opening(standing, iteration, store, tip, get_gateway().room(endpoint, PLANNER_TOOLS))
    conversation.inbox = ear = Ear(swarm, standing.parent, iteration)
    ear.told(standing.unheard)
    release_connection()
    planned = planner.plan(conversation, store, tip, jury, partial(_count_looks, swarm, iteration))
    iteration.messages = context.dump(conversation.messages)
    return planned


def _count_looks(swarm: Swarm, iteration: PlanIteration, looks: int) -> None:
    """A planner's looks are tool calls like those of workers, counted before they are made. The plan itself is none:
    it runs nothing. Raises AdapterError(BUDGET) where not all of them may be made."""
    limit = config_of(swarm).max_total_steps
    with transaction.atomic():
        PlanIteration.objects.filter(pk=iteration.pk).update(tool_calls=F("tool_calls") + looks)
        rows = Swarm.objects.filter(pk=swarm.pk, tool_calls__lte=limit - looks)
        if rows.update(tool_calls=F("tool_calls") + looks) != 1:
            raise AdapterError(Failure.BUDGET, f"The swarm's limit of {limit} tool calls is used up.")


def lost_too_often(standing: Standing) -> str:
    """Why it is not asked any more. One that takes its process with it every time must end some day."""
    losses = 0
    for status in standing.iterations.order_by("-number").values_list("status", flat=True)[: MAX_LOST + 1]:
        if status != IterationStatus.LOST:
            break
        losses += 1
    decision = after_loss(losses)
    return f"The planner ended without an answer.{decision.reason}" if isinstance(decision, GiveUp) else ""


def _opening(standing: Standing, iteration: PlanIteration, store: BareRepository, tip: str, room: int) -> list[Message]:
    """The last conversation and what is new; or, where half of the `room` in the model's window would be gone with
    that, a new one that begins with all parts and the scratchpads."""
    handoffs = list(standing.handoffs)
    iteration.handoffs_seen = len(handoffs)
    seen = standing.last.handoffs_seen if standing.last else 0
    before = dict(standing.last.sent) if standing.last else {}
    old = context.load(standing.last.messages) if standing.last else []
    parts = briefing.planner_parts(standing, store, tip, before.get(briefing.TIP, ""), handoffs[seen:])
    told = context.compose(parts, before if old else {})
    text = briefing.for_planner_again(standing, told.text)
    goes_on = [*old, Message("user", text)]
    if not old or context.size(goes_on) > context.MAX_CHARACTERS or tokens(goes_on) > room // 2:
        told = context.compose(parts, {})
        text = briefing.for_planner_first(standing, tip, told.text)
        old = [Message("system", briefing.planner_system(standing))]
    iteration.sent = told.sent | {briefing.TIP: tip}
    iteration.sent_characters, iteration.saved_characters = len(text), told.saved
    return [*old, Message("user", text)]


def record(
    iteration: PlanIteration, plan: SubmittedPlan, problems: Iterable[str], together: Moves, *, repaired: bool
) -> None:
    """The iteration is over: what the planner wrote and was told. Only the newest keeps its conversation."""
    together.advance(
        iteration,
        IterationStatus.DONE,
        lease=iteration.lease_token or None,
        scratchpad=plan.scratchpad,
        planner_said_done=plan.done,
        repaired=repaired,
        problems=list(problems),
        handoffs_seen=iteration.handoffs_seen,
        sent=iteration.sent,
        messages=iteration.messages,
        sent_characters=iteration.sent_characters,
        saved_characters=iteration.saved_characters,
    )
    older = PlanIteration.objects.filter(swarm_id=iteration.swarm_id, parent=iteration.parent)
    older.filter(number__lt=iteration.number).exclude(messages=[]).update(messages=[])


def create_subtasks(
    swarm: Swarm, iteration: PlanIteration, tasks: Sequence[PlannedTask], together: Moves
) -> list[Subtask]:
    """The plan's rows, each after what it depends on; inside the subtask whose subplan it is."""
    parent = iteration.parent
    known = {row.name: row for row in swarm.subtasks.all()}
    depth = graph.levels({task.name: [d for d in task.dependencies if d not in known] for task in tasks})
    needs: dict[str, list[Subtask]] = {}
    for task in sorted(tasks, key=lambda task: depth[task.name]):
        needs[task.name] = needed = [known[name] for name in dict.fromkeys(task.dependencies)]
        first_level = parent.level if parent else 0
        known[task.name] = Subtask(
            swarm=swarm,
            iteration=iteration,
            parent=parent,
            depth=parent.depth + 1 if parent else 0,
            level=max([first_level, *(one.level + 1 for one in needed)]),
            **task.model_dump(exclude={"dependencies", "variants"}),
        )
    made = Subtask.objects.bulk_create([known[name] for name in needs])
    need = Subtask.dependencies.through
    need.objects.bulk_create(need(from_subtask=row, to_subtask=one) for row in made for one in needs[row.name])
    for row in made:
        together.created(row)
    return made


def was_stopped(swarm: Swarm, iteration: PlanIteration, error: AdapterError | InvalidInput) -> bool:
    """Whether it ended through no fault of the planner, and then writes so: nobody counts it as a failure."""
    if isinstance(error, AdapterError) and error.kind is Failure.CANCELLED:  # this process goes down
        end = IterationStatus.LOST
    elif isinstance(error, OverBudget):  # the swarm is paused with the reason
        end = IterationStatus.FAILED
    else:
        return False
    advance(swarm, iteration, end, reason=str(error), lease=iteration.lease_token)
    return True
