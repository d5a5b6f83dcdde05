"""What people change in a plan while it runs: a pending subtask, another one, how many agents, a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils import timezone
from pydantic import ValidationError

from orchestration.domain import graph
from orchestration.domain.budgets import Budget, Unit, said
from orchestration.domain.config import SwarmConfig, parse_config
from orchestration.domain.errors import InvalidInput
from orchestration.domain.planning import PlannedTask, SubmittedPlan, judge
from orchestration.domain.rights import Action
from orchestration.domain.scheduling import passed
from orchestration.domain.states import SWARM_OVER, SubtaskStatus, SwarmStatus
from orchestration.domain.texts import storable
from orchestration.domain.validation import sentences
from orchestration.models import PlanIteration, Subtask, Swarm, User
from orchestration.stages import iterate
from orchestration.stages.rows import config_of, status_by_name
from orchestration.stages.transition import Moves, Superseded, moves, status_of

CHANGED = "It changed in this moment; look again."
TAKES_SUBTASKS = (SwarmStatus.AWAITING_APPROVAL, SwarmStatus.RUNNING, SwarmStatus.PAUSED)
LIMITS: Mapping[str, str] = {
    "max_subagents": "Agents at once",
    "max_total_steps": "Tool calls in all",
    "budget_usd": "Budget in US dollars",
    "budget_tokens": "Budget in tokens",
    "deadline": "Deadline",
}
BUDGETS = ("budget_usd", "budget_tokens")
EDITABLE = ("instruction", "acceptance", "acceptance_checks", "scope", "priority", "dependencies")


def edit_subtask(subtask: Subtask, person: User, **changes: Any) -> None:
    """Only while it is pending; raises InvalidInput with everything that is wrong."""
    swarm = subtask.swarm
    _require(person, swarm)
    if unknown := sorted(set(changes) - set(EDITABLE)):
        raise InvalidInput(f"{', '.join(unknown)} cannot be changed; {', '.join(EDITABLE)} can.")
    before = {name: getattr(subtask, name) for name in EDITABLE if name != "dependencies"}
    before["dependencies"] = [one.name for one in subtask.dependencies.all()]
    task = _parse({"name": subtask.name, "kind": subtask.kind} | before | changes)
    _judge(swarm, task, but=subtask.name)
    _require_no_circle(swarm, task)
    fields = {name: getattr(task, name) for name in EDITABLE if name != "dependencies" and name in changes}
    with moves(swarm) as together:
        rows = Subtask.objects.filter(pk=subtask.pk, status=SubtaskStatus.PENDING)
        if rows.update(name=subtask.name, **fields) != 1:
            raise InvalidInput(f"{subtask.name} is no longer pending; only what has not begun can be changed.")
        if "dependencies" in changes:
            subtask.dependencies.set(swarm.subtasks.filter(name__in=task.dependencies))
            _level_again(swarm)
        was = {name: before[name] for name in changes}
        _steered(together, person, f"{subtask.name} was changed.", was)


def add_subtask(swarm: Swarm, person: User, given: Mapping[str, Any]) -> Subtask:
    """One more task, as a planner would write it."""
    _require(person, swarm)
    if status_of(swarm) not in TAKES_SUBTASKS:
        raise InvalidInput(f"A swarm that is {swarm.status.replace('_', ' ')} takes no more subtasks.")
    task = _parse(given)
    _judge(swarm, task)
    iteration = PlanIteration.objects.filter(swarm=swarm, parent=None, status="done").last()
    if iteration is None:
        raise InvalidInput("There is no plan yet to which a subtask could be added.")
    try:
        with moves(swarm) as together:
            swarm.refresh_from_db()
            if status_of(swarm) not in TAKES_SUBTASKS:
                raise Superseded("It is over.")
            (row,) = iterate.create_subtasks(swarm, iteration, [task], together)
            _steered(together, person, f"{row.name} was added.", {})
    except Superseded:
        raise InvalidInput(CHANGED) from None
    return row


def change_limits(swarm: Swarm, person: User, **changes: Any) -> None:
    """Any of LIMITS, at once and for what runs too; None takes a budget or the deadline away. A swarm that its own
    budget had stopped may be resumed once that is raised. Raises InvalidInput."""
    if unknown := sorted(set(changes) - set(LIMITS)):
        raise InvalidInput(f"{', '.join(unknown)} cannot be changed while a swarm runs; {', '.join(LIMITS)} can.")
    _require(person, swarm)
    if status_of(swarm) in SWARM_OVER:
        raise InvalidInput(f"The swarm is over: {swarm.status.replace('_', ' ')}.")
    with moves(swarm) as together:
        row = Swarm.objects.select_for_update(no_key=True).get(pk=swarm.pk)
        old, new = config_of(row), parse_config(row.config | changes)
        changed = [name for name in changes if getattr(new, name) != getattr(old, name)]
        if not changed:
            raise InvalidInput("Nothing was changed: these are the limits already.")
        _require_sense(row, new, changed)
        freed = any(_is_more(old, new, name) for name in BUDGETS) and row.stopped_by == Budget.SWARM
        Swarm.objects.filter(pk=swarm.pk).update(
            config=new.model_dump(mode="json"), **{"stopped_by": ""} if freed else {}
        )
        told = [f"{LIMITS[name]}: {_words(old, name)} became {_words(new, name)}." for name in changed]
        _steered(together, person, " ".join(told), {name: str(getattr(old, name)) for name in changed})
    swarm.refresh_from_db()


def _is_more(old: SwarmConfig, new: SwarmConfig, name: str) -> bool:
    """Than a budget was; no budget at all is the most."""
    before, after = getattr(old, name), getattr(new, name)
    return after != before and (after is None or (before is not None and after > before))


def _require_sense(swarm: Swarm, new: SwarmConfig, changes: Sequence[str]) -> None:
    if new.deadline and "deadline" in changes and new.deadline <= timezone.now():
        raise InvalidInput(f"Configuration: {passed(new.deadline)} Give a later one.")
    used = {
        "budget_usd": (swarm.cost_usd, said(Unit.USD, swarm.cost_usd)),
        "budget_tokens": (swarm.tokens, said(Unit.TOKENS, Decimal(swarm.tokens))),
        "max_total_steps": (swarm.tool_calls, f"{swarm.tool_calls:,} tool calls"),
    }
    for name, (spent, words) in used.items():
        most = getattr(new, name)
        if name in changes and most is not None and most <= spent:
            raise InvalidInput(f"{LIMITS[name]}: {words} are used already; give more than that, or cancel the swarm.")


def _words(config: SwarmConfig, name: str) -> str:
    value = getattr(config, name)
    if value is None:
        return "none"
    if isinstance(value, Decimal):
        return said(Unit.USD, value)
    return f"{value:%Y-%m-%d %H:%M} {value.tzname()}" if isinstance(value, datetime) else f"{value:,}"


def _parse(given: Mapping[str, Any]) -> PlannedTask:
    try:
        return PlannedTask.model_validate(storable(given))
    except ValidationError as error:
        raise InvalidInput(" ".join(sentences(error))) from None


def _judge(swarm: Swarm, task: PlannedTask, *, but: str = "") -> None:
    known = {name: status for name, status in status_by_name(swarm).items() if name != but}
    plan = SubmittedPlan(tasks=[task])
    problems = judge(plan, known, work_in_flight=True, working_dir=config_of(swarm).working_dir)
    if problems:
        raise InvalidInput(" ".join(problems))


def _require_no_circle(swarm: Swarm, task: PlannedTask) -> None:
    rows = swarm.subtasks.prefetch_related("dependencies")
    needs: dict[str, Sequence[str]] = {row.name: [one.name for one in row.dependencies.all()] for row in rows}
    if cycle := graph.find_cycle(needs | {task.name: task.dependencies}):
        raise InvalidInput(f"The dependencies go in a circle: {' -> '.join(cycle)}.")


def _level_again(swarm: Swarm) -> None:
    """Of the changed one and of all that stand behind it: a subtask's level is its longest chain of dependencies."""
    rows = {row.name: row for row in swarm.subtasks.select_related("parent").prefetch_related("dependencies")}
    needs = {name: [one.name for one in row.dependencies.all()] for name, row in rows.items()}
    order = graph.levels({name: [*needs[name], *_whole(row)] for name, row in rows.items()})
    for name in sorted(rows, key=lambda name: order[name]):
        row = rows[name]
        first = rows[row.parent.name].level if row.parent else 0
        level = max([first, *(rows[need].level + 1 for need in needs[name])])
        if level != row.level:
            row.level = level
            Subtask.objects.filter(pk=row.pk).update(level=level)


def _whole(row: Subtask) -> list[str]:
    return [row.parent.name] if row.parent else []


def _steered(together: Moves, person: User, what: str, was: Mapping[str, Any]) -> None:
    together.record("swarm.steered", text=what, by=person.username, was=dict(was))


def _require(person: User, swarm: Swarm) -> None:
    if not person.may(Action.STEER, swarm.repository.team):
        raise InvalidInput("Only members of the repository's team may steer this swarm.")
