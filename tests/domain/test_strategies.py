"""How each strategy judges a plan, and the chain that is to be cut."""

from __future__ import annotations

import pytest

from orchestration.domain.config import Strategy
from orchestration.domain.planning import PlannedTask
from orchestration.domain.states import SubtaskStatus as S
from orchestration.domain.strategies import chain_to_cut, strategy_problems


def one(name: str = "a", *needs: str, **fields: object) -> PlannedTask:
    return PlannedTask.model_validate({"name": name, "instruction": "Do it.", "dependencies": needs} | fields)


ALIVE, DEAD = {"old": S.RUNNING}, {"old": S.FAILED}


@pytest.mark.parametrize(
    ("strategy", "tasks", "known", "words"),
    [
        (Strategy.AUTOMATIC, [one(), one("b")], ALIVE, ""),
        (Strategy.NONE, [one()], {}, ""),
        (Strategy.NONE, [one(), one("b")], {}, "exactly one task"),
        (Strategy.NONE, [one()], ALIVE, "exactly one task"),
        (Strategy.NONE, [one()], DEAD, ""),
        (Strategy.BY_DOMAIN, [one(specialty="css")], {}, ""),
        (Strategy.BY_DOMAIN, [one(specialty="css"), one("b", specialty=" ")], {}, "name the specialty of 'b'"),
        (Strategy.BY_DATA, [one(scope=["a/**"]), one("b", scope=["b/**"])], {}, ""),
        (Strategy.BY_DATA, [one(scope=["a/**"]), one("b", scope=["a/x.csv"])], {}, "'a' and 'b' meet in"),
        (Strategy.BY_DATA, [one()], {}, "name the scope of 'a'"),
        (Strategy.BY_DATA, [one(kind="verify")], {}, ""),
        (Strategy.BY_STAGE, [one(), one("b", "a")], {}, ""),
        (Strategy.BY_STAGE, [one()], {}, ""),
        (Strategy.BY_STAGE, [one(), one("b")], {}, "name those before it"),
        (Strategy.BY_STAGE, [one("c", "old"), one("d")], ALIVE, "d must name what they follow"),
    ],
)
def test_a_strategy_judges(strategy: Strategy, tasks: list[PlannedTask], known: dict[str, S], words: str):
    found = " ".join(strategy_problems(strategy, tasks, known))
    assert (words in found) if words else not found


def test_a_chain_over_the_threshold_is_found_with_what_stands_before_it():
    tasks = [one("c", "b"), one("d", "c")]
    earlier: dict[str, list[str]] = {"a": [], "b": ["a"]}
    assert chain_to_cut(tasks, earlier, (), 3) == ("a", "b", "c", "d")
    assert chain_to_cut(tasks, earlier, (), 4) == ()
    assert chain_to_cut(tasks, earlier, ("a", "b"), 2) == (), "what is done stands in nobody's way"
    assert chain_to_cut([one("x")], {"a": [], "b": ["a"], "c": ["b"]}, (), 2) == (), "it is not new"
