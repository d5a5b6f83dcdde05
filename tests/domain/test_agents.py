"""What an operator may write about an agent, how templates are filled in, and what an agent may do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestration.domain.agents import (
    PLACEHOLDERS,
    PROMPTS,
    AgentKind,
    AgentSpec,
    Permissions,
    asks_for,
    check_agent,
    fill,
    filled,
    refusal,
    table,
    texts,
)
from orchestration.domain.errors import InvalidInput
from orchestration.domain.presets import PRESETS

VALUES = {name: f"<{name}>" for name in PLACEHOLDERS | PROMPTS}


def spec(**fields: Any) -> AgentSpec:
    return AgentSpec(**{"name": "coder", "kind": AgentKind.ACP, "argv": ("/opt/coder/bin/coder", "acp")} | fields)


def refused(**fields: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        check_agent(spec(**fields))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    return str(caught.value)


def test_a_plain_description_is_accepted():
    check_agent(spec(environment={"KEY": "{token}"}, files={".config/c.json": '{"a": "{model}"}'}, mounts=("/opt/x",)))
    check_agent(spec(kind=AgentKind.COMMAND, argv=("coder", "{prompt}", "{prompt_file}")))
    check_agent(spec(kind=AgentKind.BUILTIN, argv=()))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": ""}, "Name"),
        ({"name": "-x"}, "Name"),
        ({"name": "builtin"}, "our own agent"),
        ({"kind": AgentKind.BUILTIN}, "leave it empty"),
        ({"argv": ()}, "name the program"),
        ({"argv": (" ",)}, "name the program"),
        ({"argv": ("x", "{modell}")}, "{modell} is no placeholder; there are: anthropic_url,"),
        ({"argv": ("x", "{prompt}")}, "over the protocol"),
        ({"argv": ("x", "a\0b")}, "NUL"),
        ({"environment": {"A-B": "1"}}, "'A-B' is no name of a variable"),
        ({"environment": {"A": "{key}"}}, "{key} is no placeholder"),
        ({"files": {"/etc/passwd": ""}}, "beneath the agent's home"),
        ({"files": {"../x": ""}}, "beneath the agent's home"),
        ({"files": {"a/../../x": ""}}, "beneath the agent's home"),
        ({"files": {"a\nb": ""}}, "beneath the agent's home"),
        ({"files": {"a": "x" * 100_001}}, "more than 100000"),
        ({"files": {"a": "{prompt}"}}, "command agents: prompt"),
        ({"mounts": ("opt",)}, "no full path"),
        ({"mounts": ("/opt/../etc",)}, "without '..'"),
        ({"mounts": ("/opt/x/",)}, "a slash at the end"),
        ({"mounts": ("/",)}, "too much"),
        ({"mounts": ("/root",)}, "too much"),
        ({"mounts": ("/tmp",)}, "too much"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(fields: dict[str, Any], said: str):
    assert said in refused(**fields)


@pytest.mark.parametrize("value", [None, "x", [1], {"a": "b"}])
def test_a_command_line_is_a_list_of_texts(value: object):
    with pytest.raises(InvalidInput, match="Argv: write a list"):
        texts(value, "Argv")


@pytest.mark.parametrize("value", [None, "x", ["a"], {"a": 1}])
def test_variables_and_files_are_tables_of_texts(value: object):
    with pytest.raises(InvalidInput, match="Files: write an object"):
        table(value, "Files")


def test_known_placeholders_are_filled_in_and_nothing_else_is_touched():
    assert fill("{model} {other} {} ${HOME} {{token}}", VALUES) == "<model> {other} {} ${HOME} {<token>}"


def test_a_value_is_never_filled_in_again():
    assert fill("{model} {token}", {"model": "{token}", "token": "t"}) == "{token} t"


def test_in_json_a_value_stays_a_text():
    odd = {"model": 'a"b\\c'}
    made = filled(spec(files={"a.json": '{"m": "{model}"}', "a.toml": "m={model}"}), odd)
    assert json.loads(made.files["a.json"]) == {"m": 'a"b\\c'}
    assert made.files["a.toml"] == 'm=a"b\\c'


def test_the_whole_description_is_filled_in_and_the_rest_kept():
    before = spec(argv=("x", "{model}"), environment={"A": "{token}"}, session_mode="plan", memory_mb=99)
    after = filled(before, VALUES)
    assert (after.argv, after.environment) == (("x", "<model>"), {"A": "<token>"})
    assert (after.session_mode, after.memory_mb, after.name) == ("plan", 99, "coder")


def test_where_a_placeholder_is_asked_for():
    assert asks_for(spec(files={"a": "see {prompt}"}), "prompt")
    assert not asks_for(spec(files={"a": "see {prompt_file}"}), "prompt")


@pytest.mark.parametrize(
    ("policy", "kind", "paths", "granted"),
    [
        (Permissions.WORKSPACE, "edit", ("/workspace/a",), True),
        (Permissions.WORKSPACE, "edit", ("a/b",), True),
        (Permissions.WORKSPACE, "execute", (), True),
        (Permissions.WORKSPACE, "edit", ("/workspace",), True),
        (Permissions.WORKSPACE, "edit", ("/workspace2/a",), False),
        (Permissions.WORKSPACE, "edit", ("/workspace/../a",), False),
        (Permissions.WORKSPACE, "edit", ("a", "../a"), False),
        (Permissions.WORKSPACE, "fetch", (), False),
        (Permissions.ALL, "fetch", ("/etc",), True),
        (Permissions.NONE, "edit", ("/workspace/a",), False),
        (Permissions.NONE, "search", ("/etc",), True),
    ],
)
def test_permissions(policy: Permissions, kind: str, paths: tuple[str, ...], granted: bool):
    assert (refusal(policy, kind, paths, "/workspace") == "") is granted


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_description_that_can_be_used(name: str):
    preset = PRESETS[name]
    fields = preset.fields("/opt/it/bin/it")
    assert fields["argv"][0] == "/opt/it/bin/it"
    assert preset.fields()["argv"][0] == preset.program
    made = AgentSpec(name=name, **fields | {"kind": AgentKind(fields["kind"]), "argv": tuple(fields["argv"])})
    check_agent(made)
    assert asks_for(made, "openai_url") or asks_for(made, "anthropic_url")
    assert asks_for(made, "token"), "each agent needs the token of its attempt"
    after = filled(made, VALUES)
    for path, text in after.files.items():
        assert not path.endswith(".json") or json.loads(text)
