"""Every prompt is asked for with exactly the inputs that it declares, and uses each of them."""

from __future__ import annotations

import ast
import re

import pytest

from orchestration.adapters.prompts import Prompt, load, parse_prompt
from tests.architecture import tree

NAMES = sorted(
    name.removeprefix("prompts/").removesuffix(".md") for name in tree.files() if name.startswith("prompts/")
)
Call = tuple[str, frozenset[str]]


def calls(source: str) -> list[Call]:
    """The calls of `prompts.render`: the prompt's name and the inputs. What cannot be read is named `?`."""
    return [
        (_name(node), frozenset(keyword.arg or "?" for keyword in node.keywords))
        for node in ast.walk(tree.parsed(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "prompts.render"
    ]


def _name(call: ast.Call) -> str:
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else "?"


def unlike(found: list[Call], declared: dict[str, frozenset[str]]) -> list[str]:
    wrong = [f"{name} is called with {sorted(given)}" for name, given in found if declared.get(name) != given]
    return wrong + [f"{name} is never used" for name in sorted(set(declared) - {name for name, _ in found})]


def unused(prompt: Prompt) -> set[str]:
    return set(prompt.inputs) ^ set(re.findall(r"\$\{?([a-z][a-z0-9_]*)", prompt.body.replace("$$", "")))


def test_the_calls_give_what_the_prompts_declare():
    found = [call for source in tree.product().values() for call in calls(source)]
    assert not unlike(found, {name: load(name).inputs for name in NAMES})


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_uses_each_input_and_no_other(name: str):
    assert not unused(load(name))


def test_a_missing_a_superfluous_and_a_hidden_input_are_found():
    declared = {"plan": frozenset({"request", "files"})}
    assert not unlike(calls("prompts.render('plan', request=1, files=2)"), declared)
    assert unlike(calls("prompts.render('plan', request=1)"), declared) == ["plan is called with ['request']"]
    assert unlike(calls("prompts.render('plan', request=1, files=2, log=3)"), declared)
    assert unlike(calls("prompts.render('plan', **values)"), declared) == ["plan is called with ['?']"]


def test_a_prompt_that_is_not_there_and_one_that_nobody_uses_are_found():
    declared = {"plan": frozenset({"request"})}
    assert unlike(calls("prompts.render('plam', request=1)"), declared) == [
        "plam is called with ['request']",
        "plan is never used",
    ]
    assert unlike(calls("prompts.render(chosen, request=1)"), declared)


def test_an_input_that_is_declared_and_not_used_is_found():
    assert unused(parse_prompt("x", "---\ninputs: a, b\n---\nSay $a, never $c, for $$5.\n")) == {"b", "c"}
