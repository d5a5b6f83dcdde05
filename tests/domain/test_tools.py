"""The tools that models are offered are those of the contract, and say of themselves what the code takes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import BaseModel

from orchestration.domain.conversation import ToolSpec
from orchestration.domain.handoffs import Claim, SubmittedHandoff, parse_handoff
from orchestration.domain.planning import MAX_TASKS_IN_PLAN, PlannedTask, SubmittedPlan, parse_plan
from orchestration.domain.tools import HANDOFF, PLANNER_TOOLS, SUBMIT_PLAN, WORKER_TOOLS, tools_for

# The contract's table: the tool, its arguments, and the defaults of those that may be left out.
WORKER: dict[str, tuple[set[str], dict[str, Any]]] = {
    "list_files": ({"path", "depth"}, {"path": ".", "depth": 2}),
    "read_file": ({"path", "offset", "limit"}, {"offset": 0, "limit": 2000}),
    "write_file": ({"path", "content"}, {}),
    "edit_file": ({"path", "old", "new", "replace_all"}, {"replace_all": False}),
    "glob": ({"pattern"}, {}),
    "grep": ({"pattern", "path", "glob"}, {"path": "."}),
    "bash": ({"command", "timeout_s"}, {"timeout_s": 120}),
    "save_artifact": ({"type", "name", "path", "content", "mime"}, {}),
    "share_result": ({"key", "value", "tags"}, {}),
    "get_results": ({"key", "tags", "prefix", "producer"}, {}),
    "ask_human": ({"question", "options"}, {}),
}
EVERY = {tool.name: tool for tool in (*PLANNER_TOOLS, *WORKER_TOOLS)}


def properties(tool: ToolSpec) -> dict[str, Any]:
    found: dict[str, Any] = tool.parameters["properties"]
    return found


def defaults(found: dict[str, Any]) -> dict[str, Any]:
    return {name: one["default"] for name, one in found.items() if "default" in one}


def agree(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """What is offered is what is read, and a stated default is the one that is taken."""
    assert set(schema["properties"]) == set(model.model_fields)
    for name, value in defaults(schema["properties"]).items():
        assert model.model_fields[name].default == value


def test_a_worker_is_offered_every_tool_of_the_contract():
    assert [tool.name for tool in WORKER_TOOLS] == [*WORKER, "handoff"]


def test_a_planner_is_offered_its_closing_call_and_ways_to_look():
    assert {tool.name for tool in PLANNER_TOOLS} == {"submit_plan", "list_files", "read_file", "grep", "git_log"}


def test_each_caller_is_known_by_one_closing_call():
    closing = {"submit_plan", "handoff", "submit_review", "submit_fixes"}
    assert {tool.name for tool in WORKER_TOOLS} & closing == {"handoff"}
    assert {tool.name for tool in PLANNER_TOOLS} & closing == {"submit_plan"}


@pytest.mark.parametrize("name", WORKER)
def test_the_arguments_are_those_of_the_contract(name: str):
    names, plain = WORKER[name]
    assert set(properties(EVERY[name])) == names
    assert defaults(properties(EVERY[name])) == plain


def test_the_plan_that_is_offered_is_the_plan_that_is_read():
    agree(dict(SUBMIT_PLAN.parameters), SubmittedPlan)
    assert SUBMIT_PLAN.parameters["properties"]["tasks"]["maxItems"] == MAX_TASKS_IN_PLAN
    task = SUBMIT_PLAN.parameters["properties"]["tasks"]["items"]
    agree(task, PlannedTask)
    needed = {name for name, field in PlannedTask.model_fields.items() if field.is_required()}
    assert set(task["required"]) == needed
    assert parse_plan({"scratchpad": "", "done": True, "tasks": [{"name": "a", "instruction": "b"}]}).tasks


def test_the_kinds_of_task_that_are_offered_are_taken():
    offered = SUBMIT_PLAN.parameters["properties"]["tasks"]["items"]["properties"]["kind"]["enum"]
    for kind in offered:
        parse_plan({"done": True, "tasks": [{"name": "a", "instruction": "b", "kind": kind}]})
    assert offered == ["change", "verify", "research"]


def test_the_handoff_that_is_offered_is_the_handoff_that_is_read():
    agree(dict(HANDOFF.parameters), SubmittedHandoff)
    assert HANDOFF.parameters["properties"]["status"]["enum"] == [str(claim) for claim in Claim]
    assert parse_handoff({"status": "complete", "summary": "x"}).concerns == []
    assert set(HANDOFF.parameters["required"]) == {"status", "summary"}


@pytest.mark.parametrize("tool", EVERY.values(), ids=EVERY)
def test_a_tool_is_a_valid_function_for_every_service(tool: ToolSpec):
    assert re.fullmatch(r"[a-z_]{1,64}", tool.name)
    assert tool.description.endswith(".")
    assert tool.parameters["type"] == "object"
    assert set(tool.parameters["required"]) <= set(properties(tool))
    assert not set(tool.parameters["required"]) & set(defaults(properties(tool)))
    json.dumps(tool.parameters, allow_nan=False)


def test_each_kind_of_task_is_offered_what_it_needs_and_no_more():
    offered = {kind: {tool.name for tool in tools_for(kind)} for kind in ("change", "verify", "research")}
    assert offered["change"] == {tool.name for tool in WORKER_TOOLS}
    assert offered["change"] - offered["verify"] == {"write_file", "edit_file"}
    assert offered["verify"] - offered["research"] == {"bash"}
    assert {"read_file", "grep", "share_result", "save_artifact", "ask_human", "handoff"} <= offered["research"]
