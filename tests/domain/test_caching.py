"""The key holds everything that the work depends on; what is too much goes, the oldest first."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain import scopes
from orchestration.domain.caching import (
    WHOLE,
    Depends,
    Model,
    Source,
    from_cache,
    key_of,
    roots,
    told_only_by,
    too_many,
    without_origin,
)
from orchestration.domain.tools import HANDOFF, WORKER_TOOLS

SAME = Depends(
    repository="r1",
    kind="research",
    instruction="Find the port.",
    acceptance="It is known.",
    checks=("make test",),
    scope=("src/**",),
    request="Use another port.",
    guidance="Be careful.",
    model=Model("openai", "http://one/v1", "m-1"),
    tools=WORKER_TOOLS,
    trees={"src": "1" * 40},
    handoffs=[["survey", "complete", "Found it.", [], []]],
    shared=[["port", "survey", 80, []]],
    network=False,
)
OTHERS: dict[str, Any] = {
    "repository": "r2",
    "kind": "verify",
    "instruction": "Find the host.",
    "acceptance": "",
    "checks": ("make lint",),
    "scope": ("src/*.py",),
    "request": "Use another host.",
    "guidance": "Be quick.",
    "model": Model("openai", "http://one/v1", "m-2"),
    "tools": (HANDOFF,),
    "trees": {"src": "2" * 40},
    "handoffs": [["survey", "complete", "Found another.", [], []]],
    "shared": [["port", "survey", 81, []]],
    "network": True,
}


def test_the_same_has_the_same_key():
    assert key_of(SAME) == key_of(replace(SAME))
    assert len(key_of(SAME)) == 64


@pytest.mark.parametrize("name", [field.name for field in fields(Depends)])
def test_whatever_changes_changes_the_key(name: str):
    assert key_of(replace(SAME, **{name: OTHERS[name]})) != key_of(SAME)


@pytest.mark.parametrize("model", [Model("anthropic", "http://one/v1", "m-1"), Model("openai", "http://two/v1", "m-1")])
def test_a_model_of_the_same_name_elsewhere_is_another(model: Model):
    assert key_of(replace(SAME, model=model)) != key_of(SAME)


def test_any_text_can_be_part_of_a_key():
    assert key_of(replace(SAME, instruction="\ud800 \0 ä"))


@pytest.mark.parametrize(
    ("scope", "found"),
    [
        ([], (WHOLE,)),
        (["src/**"], ("src",)),
        (["src/a.py", "docs/*.md", "src/a.py"], ("docs", "src/a.py")),
        (["src/[ab]/x"], ("src",)),
        (["src/{a,b}.py"], ("src",)),
        (["src/", "./docs"], ("docs", "src")),
        (["*.py"], (WHOLE,)),
        (["src/**", "**/x"], (WHOLE,)),
        (["!src/**"], (WHOLE,)),
        ([":(glob)src/*"], (WHOLE,)),
        (["../x"], (WHOLE,)),
        (["."], (WHOLE,)),
    ],
)
def test_the_roots_are_what_stands_before_the_first_wildcard(scope: list[str], found: tuple[str, ...]):
    assert roots(scope) == found


NAMES = st.sampled_from(["a", "b", "c.py", "*", "**", "?", "[ab]", "{a,b}", "a*"])
GLOBS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PATHS = st.lists(st.sampled_from(["a", "b", "c.py", "ab"]), min_size=1, max_size=4).map("/".join)


@given(GLOBS, PATHS)
def test_no_path_of_a_scope_lies_outside_its_roots(glob: str, path: str):
    if scopes.overlap(glob, path):
        (root,) = roots([glob])
        assert root == WHOLE or f"{path}/".startswith(f"{root}/") or f"{root}/".startswith(f"{path}/")


def test_a_hit_says_where_it_comes_from_and_builds_on_nothing_else():
    told = from_cache(Source("abc", "survey", 2), "Found it.\n\nIn src.")
    assert told.startswith("From the cache: attempt 2 of survey in swarm abc found this, and nothing")
    assert without_origin(told) == "Found it.\n\nIn src."
    assert without_origin("Found it.\n\nIn src.") == "Found it.\n\nIn src."


@pytest.mark.parametrize(
    ("asked", "repeatable"),
    [
        ([], True),
        ([{"key": "port"}], True),
        ([{"key": "port"}, {"key": "host"}], False),
        ([{}], False),
        ([{"prefix": "po"}], False),
        ([{"key": "port", "tags": ["x"]}], False),
        ([{"key": ["port"]}], False),
    ],
)
def test_only_an_answer_that_is_part_of_the_key_can_be_given_again(asked: list[dict[str, Any]], repeatable: bool):
    assert told_only_by(asked, ["port"]) is repeatable


@pytest.mark.parametrize(
    ("entries", "size", "gone"),
    [(4, 100, []), (2, 100, [2, 1]), (4, 60, [1]), (4, 25, [3, 2, 1]), (4, 5, [4, 3, 2, 1])],
)
def test_the_oldest_go_first_and_both_bounds_hold(entries: int, size: int, gone: list[int]):
    assert too_many([(4, 20), (3, 20), (2, 20), (1, 20)], entries=entries, size=size) == gone


def test_the_other_world_differs_in_every_input():
    """The control of the test above: it names each input, also one that is added."""
    assert set(OTHERS) == {field.name for field in fields(Depends)}
