"""Which subtasks are split, and what their parts must keep to."""

from __future__ import annotations

import pytest

from orchestration.domain.config import Strategy
from orchestration.domain.planning import PlannedTask
from orchestration.domain.subplans import MAX_DEPTH, batch_problems, inside, may_split, wants_split


def problems(*tasks: PlannedTask, scope: tuple[str, ...] = ("src/**",)) -> list[str]:
    return list(batch_problems(tasks, parent="big", scope=scope, siblings={"part"}, known={"part", "other", "big"}))


def part(name: str = "x", **fields: object) -> PlannedTask:
    return PlannedTask.model_validate({"name": name, "instruction": "Do it."} | fields)


@pytest.mark.parametrize(
    ("entry", "scope", "found"),
    [
        ("src/a.py", ["src/**"], True),
        ("src/**", ["src/**"], True),
        ("src/lib/*.py", ["src"], True),
        ("src/a.py", ["docs/x", "src/a.py"], True),
        ("src/a.py", ["src/*.py"], True),
        ("src/a/b.py", ["src/**/b.py"], True),
        ("d/x.py", ["*.py"], True),
        ("anything/at/all", ["."], True),
        ("src/*.py", ["src/*.txt"], False),
        ("**", ["src/**"], False),
        ("srcs/a.py", ["src"], False),
        ("src", ["src/a.py"], False),
        ("../x", ["**"], False),
        ("/etc/passwd", ["**"], False),
        ("a", [], False),
    ],
)
def test_a_path_is_inside_only_where_all_that_it_names_is(entry: str, scope: list[str], found: bool):
    assert inside(entry, scope) is found


def test_parts_keep_to_the_scope_the_number_and_their_siblings():
    assert not problems(part(scope=["src/a.py"], dependencies=["part"]), part("y", dependencies=["x"]))
    assert problems(part(scope=["docs/a.md"])) == ["The scope 'docs/a.md' of 'x' lies outside that of 'big'."]
    assert not problems(part(scope=["docs/a.md"]), scope=())
    for foreign in ("other", "big"):
        assert problems(part(dependencies=[foreign])) == [f"'x' depends on {foreign!r}, which is no part of 'big'."]
    assert not problems(*(part(f"p{n}") for n in range(10)))
    assert "at most 10 at once" in problems(*(part(f"p{n}") for n in range(11)))[0]


def test_depth_and_strategy_end_it():
    assert [may_split(depth, Strategy.AUTOMATIC) for depth in range(5)] == [True] * MAX_DEPTH + [False] * 2
    assert not may_split(0, Strategy.NONE)


def test_four_places_or_a_mark_ask_for_it():
    four = ["a", "b", "c", "d"]
    assert wants_split(four, "change", marked=False)
    assert not wants_split(four[:3], "change", marked=False)
    assert not wants_split(["a"] * 4, "change", marked=False)
    assert not wants_split(four, "research", marked=False)
    assert wants_split([], "research", marked=True)
