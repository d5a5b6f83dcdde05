"""How each strategy judges a plan, and when its longest chain is to be cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from orchestration.domain import graph
from orchestration.domain.config import Strategy
from orchestration.domain.planning import PlannedTask
from orchestration.domain.scopes import overlap
from orchestration.domain.states import SUBTASK_LOST, SubtaskStatus


def strategy_problems(
    strategy: Strategy, tasks: Sequence[PlannedTask], known: Mapping[str, SubtaskStatus]
) -> Iterable[str]:
    """What the swarm's strategy has against new tasks beside those of `known`."""
    match strategy:
        case Strategy.NONE:
            return _one_task(tasks, known)
        case Strategy.BY_DOMAIN:
            return _specialties(tasks)
        case Strategy.BY_DATA:
            return _disjoint(tasks)
        case Strategy.BY_STAGE:
            return _stages(tasks, known)
        case Strategy.AUTOMATIC:
            return ()


def _one_task(tasks: Sequence[PlannedTask], known: Mapping[str, SubtaskStatus]) -> Iterable[str]:
    standing = [name for name, status in known.items() if status not in SUBTASK_LOST]
    if len(tasks) + len(standing) > 1:
        yield "The strategy is not to split: plan the whole request as exactly one task."


def _specialties(tasks: Sequence[PlannedTask]) -> Iterable[str]:
    for task in tasks:
        if not task.specialty.strip():
            yield f"The strategy is to split by domain: name the specialty of {task.name!r}."


def _disjoint(tasks: Sequence[PlannedTask]) -> Iterable[str]:
    for task in tasks:
        if task.kind == "change" and not task.scope:
            yield f"The strategy is to split by data: name the scope of {task.name!r}."
    for one, other in combinations(tasks, 2):
        shared = next(((a, b) for a in one.scope for b in other.scope if overlap(a, b)), None)
        if shared:
            yield (
                f"The strategy is to split by data, so that no two tasks share a path: {one.name!r} and "
                f"{other.name!r} meet in {shared[0][:80]!r} and {shared[1][:80]!r}."
            )


def _stages(tasks: Sequence[PlannedTask], known: Mapping[str, SubtaskStatus]) -> Iterable[str]:
    loose = [task.name for task in tasks if not task.dependencies]
    if not known and len(tasks) > 1 and len(loose) == len(tasks):
        yield "The strategy is to split by stage: the tasks of a later stage name those before it in `dependencies`."
    if known and loose:
        yield f"The strategy is to split by stage: {', '.join(loose[:5])} must name what they follow in `dependencies`."


def chain_to_cut(
    tasks: Sequence[PlannedTask], earlier: Mapping[str, Sequence[str]], complete: Iterable[str], threshold: int
) -> tuple[str, ...]:
    """The longest chain of what is still to do, where a new task ends it and it is over the threshold; else empty."""
    new = {task.name: list(task.dependencies) for task in tasks}
    done = set(complete)
    weights = {name: 0.0 if name in done else 1.0 for name in (*earlier, *new)}
    chain, length = graph.longest_chain({**earlier, **new}, weights)
    return chain if length > threshold and new.keys() & set(chain) else ()
