"""A planner's answer: its shape, what is wrong with it, and what stands in when it is useless."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from orchestration.domain import graph, paths
from orchestration.domain.errors import InvalidInput
from orchestration.domain.requests import MAX_CHARACTERS
from orchestration.domain.states import SUBTASK_LOST, SubtaskStatus
from orchestration.domain.texts import storable
from orchestration.domain.validation import MOST, FromModel, sentences

MAX_TASKS_IN_PLAN = 300
MAX_TASKS_IN_SWARM = 2000
MAX_PLANNER_FAILURES = 10  # in a row, then the swarm ends with the reason
REPLAN_AFTER_HANDOFFS = 3
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,49}")

Text = Annotated[str, Field(max_length=20_000)]
Line = Annotated[str, Field(min_length=1, max_length=1000)]


class PlannedTask(FromModel):
    name: Annotated[str, Field(max_length=200)]
    instruction: Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]
    acceptance: Text = ""
    acceptance_checks: Annotated[list[Line], Field(max_length=20)] = []
    scope: Annotated[list[Line], Field(max_length=200)] = []
    dependencies: Annotated[list[str], Field(max_length=200)] = []
    priority: Annotated[int, Field(ge=1, le=10)] = 5
    specialty: Annotated[str, Field(max_length=80)] = ""
    kind: Literal["change", "verify", "research"] = "change"
    decompose: bool = False
    variants: Annotated[int, Field(ge=1, le=10)] = 1


class SubmittedPlan(FromModel):
    scratchpad: Annotated[str, Field(max_length=100_000)] = ""
    done: bool = False
    tasks: Annotated[list[PlannedTask], Field(max_length=MAX_TASKS_IN_PLAN)] = []


def parse_plan(arguments: Mapping[str, Any]) -> SubmittedPlan:
    """The shape of `submit_plan`; raises InvalidInput with what is wrong."""
    tasks = arguments.get("tasks")
    if tasks is None and arguments.get("done") is None:
        raise InvalidInput("That is no plan: it has neither `tasks` nor `done`.")
    if isinstance(tasks, list) and len(tasks) > MAX_TASKS_IN_PLAN:
        raise InvalidInput(f"The plan has {len(tasks)} tasks; at most {MAX_TASKS_IN_PLAN} are taken at once.")
    try:
        return SubmittedPlan.model_validate(storable(arguments))
    except ValidationError as error:
        raise InvalidInput(" ".join(sentences(error))) from None


def judge(
    plan: SubmittedPlan, known: Mapping[str, SubtaskStatus], *, work_in_flight: bool, working_dir: str | None
) -> list[str]:
    """Everything that makes the plan unusable, a sentence each; an empty list is a good plan."""
    problems = [
        *_name_problems([task.name for task in plan.tasks], known),
        *(problem for task in plan.tasks for problem in _scope_problems(task, working_dir)),
        *_dependency_problems(plan.tasks, known),
    ]
    if len(known) + len(plan.tasks) > MAX_TASKS_IN_SWARM:
        problems.append(f"The swarm would have over {MAX_TASKS_IN_SWARM} tasks.")
    if not plan.tasks and not work_in_flight and not (plan.done and known):
        problems.append(
            "The plan has no tasks and nothing is running: plan the next tasks, or say done when all is done."
        )
    return problems[:MOST] + ([f"And {len(problems) - MOST} more problems."] if len(problems) > MOST else [])


def _name_problems(names: list[str], known: Mapping[str, SubtaskStatus]) -> Iterable[str]:
    seen: set[str] = set()
    for name in names:
        if not _NAME.fullmatch(name):
            yield f"The name {name[:60]!r} must be 1 to 50 of a-z, 0-9 and -, and begin with a letter or digit."
        elif name in known:
            yield f"The name {name!r} is taken by an earlier task; every name is used once."
        elif name in seen:
            yield f"The name {name!r} occurs twice."
        seen.add(name)


def _scope_problems(task: PlannedTask, working_dir: str | None) -> Iterable[str]:
    bound = paths.parts(working_dir or "") or ()
    for glob in task.scope:
        names = paths.parts(glob)
        if names is None:
            yield f"The scope {glob[:80]!r} of {task.name!r} leaves the repository; write paths relative to its root."
        elif names[: len(bound)] != bound:
            yield f"The scope {glob[:80]!r} of {task.name!r} lies outside {working_dir!r}."


def _dependency_problems(tasks: list[PlannedTask], known: Mapping[str, SubtaskStatus]) -> Iterable[str]:
    names = {task.name for task in tasks}
    for task in tasks:
        for dependency in task.dependencies:
            if dependency not in names and dependency not in known:
                yield f"{task.name!r} depends on {dependency[:60]!r}, which is no task."
            elif known.get(dependency) in SUBTASK_LOST:
                yield f"{task.name!r} depends on {dependency!r}, which is {known[dependency]}."
    cycle = graph.find_cycle({task.name: [d for d in task.dependencies if d in names] for task in tasks})
    if cycle:
        yield f"The dependencies go in a circle: {' -> '.join(cycle)}."


def single_task_plan(request: str) -> SubmittedPlan:
    """What stands in for a first plan that is unusable twice: the whole request as one subtask."""
    task = PlannedTask(name="main", instruction=request, acceptance="The request is fulfilled.")
    return SubmittedPlan(
        scratchpad="The planner gave no usable plan, so the request is worked on as one subtask.",
        done=True,
        tasks=[task],
    )


def should_plan(
    *,
    iterations: int,
    new_handoffs: int,
    active: int,
    capacity: bool,
    done: bool,
    unseen_failures: bool = False,
    unheard: bool = False,
) -> bool:
    """Until the planner is done, where there is room: at first, after 3 handoffs, or with nothing active. One that is
    done is asked once more when nothing is active and it has not heard of something that failed. What a person said
    to it waits for nothing but room."""
    if unheard and iterations:
        return capacity
    if done:
        return active == 0 and unseen_failures
    return capacity and (iterations == 0 or active == 0 or new_handoffs >= REPLAN_AFTER_HANDOFFS)


def repeats(plan: SubmittedPlan, known: Collection[str]) -> bool:
    """Whether it names only what is planned already."""
    return bool(plan.tasks) and all(task.name in known for task in plan.tasks)
