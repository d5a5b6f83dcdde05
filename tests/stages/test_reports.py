"""What `swarm show --json` tells: everything, in one shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from orchestration.management.commands.swarm import Command
from orchestration.management.follow import as_json
from orchestration.models import PlanIteration, Publication, Swarm
from orchestration.reads.reports import summary, whole
from tests import factories as make
from tests.architecture.tree import ROOT

CLOSING = {"id", "status", "base_sha", "head_sha", "landed", "failed", "branch", "cost_usd", "tokens", "wall_s"}
CLOSING |= {"speedup", "critical_path_steps", "status_reason", "url"}  # contracts.md names these


@pytest.fixture
def swarm() -> Swarm:
    """Something of every kind, with a subplan."""
    swarm = make.make_swarm(status="running", planning_done=True)
    big = make.make_subtask(swarm, name="big", status="waiting", specialty="storage", scope=["shop/**"])
    inner = make.make_iteration(
        swarm, parent=big, planner_said_done=True, problems=["A name was taken."], repaired=True
    )
    small = make.make_subtask(swarm, name="small", parent=big, iteration=inner, needs=[big], status="running")
    done = make.make_attempt(small, status="complete")
    make.make_handoff(done)
    make.make_entry(done, status="conflict", status_reason="shop/a.py conflicts.", conflict_paths=["shop/a.py"])
    running = make.make_attempt(small, status="waiting")
    make.make_question(swarm, running)
    make.make_message(swarm, "Use tabs.", small, None)
    make.make_check(swarm)
    make.make_artifact(swarm)
    Publication.objects.create(swarm=swarm, mode="direct", target="main")
    return swarm


def told(swarm: Swarm) -> Any:
    return json.loads(as_json(whole(swarm)))


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(one)


def test_it_begins_with_what_run_ends_with(swarm: Swarm):
    shown = told(swarm)
    assert CLOSING <= set(summary(swarm)) <= set(shown)
    assert {"text", "error", "iterations", "subtasks", "artifacts", "statistics"} <= set(shown)


def test_ids_and_reasons_have_one_name_everywhere(swarm: Swarm):
    shown = told(swarm)
    for kind in ("subtasks", "merge_entries", "questions", "messages", "artifacts"):
        assert all(len(one["id"]) >= 8 for one in shown[kind]), kind
        assert shown[kind], kind
    assert len(shown["landing"]["id"]) >= 8
    parts = [shown[kind] for kind in ("iterations", "subtasks", "merge_entries", "questions", "messages", "landing")]
    for one in objects(parts):
        assert not {"public_id", "pk", "reason"} & set(one)
        assert not [name for name in one if "__" in name]
        assert ("status_reason" in one) == ("status" in one) or "summary" in one, one


def test_every_iteration_is_there_with_what_it_planned_and_cost(swarm: Swarm):
    PlanIteration.objects.filter(parent=None).update(steps=2, tool_calls=7, tokens=900, cost_usd="0.5")
    first, inner = told(swarm)["iterations"]
    assert (first["number"], first["parent"], first["subtasks"], first["done"]) == (1, None, ["big"], False)
    assert (first["steps"], first["tool_calls"], first["tokens"], first["cost_usd"]) == (2, 7, 900, 0.5)
    assert (inner["number"], inner["parent"], inner["subtasks"], inner["done"]) == (2, "big", ["small"], True)
    assert (inner["repaired"], inner["problems"]) == (True, ["A name was taken."])
    assert "sessions" in first["scratchpad"]
    assert "T" in first["started_at"]
    assert "T" in first["finished_at"]


def test_an_iteration_that_runs_or_failed_says_so(swarm: Swarm):
    make.make_iteration(swarm, status="failed", status_reason="The model is away.", steps=0)
    make.make_iteration(swarm, status="running", steps=0)
    failed, running = told(swarm)["iterations"][-2:]
    assert (failed["status"], failed["status_reason"]) == ("failed", "The model is away.")
    assert (running["status"], running["finished_at"]) == ("running", None)


def test_a_subtask_has_what_it_was_asked_and_what_became_of_it(swarm: Swarm):
    big, small = told(swarm)["subtasks"]
    assert (big["instruction"], big["specialty"], big["scope"]) == ("Write the **store**.", "storage", ["shop/**"])
    assert (small["parent"], small["dependencies"]) == ("big", ["big"])
    assert [one["status"] for one in small["attempts"]] == ["complete", "waiting"]
    assert small["attempts"][0]["handoff"]["insertions"] == 40
    assert small["attempts"][1]["handoff"] is None


def test_messages_say_who_heard_them(swarm: Swarm):
    (message,) = told(swarm)["messages"]
    heard = [(one["subtask"], one["attempt"], one["iteration"], one["status"]) for one in message["deliveries"]]
    assert heard == [("small", None, None, "waiting"), (None, None, None, "waiting")]


def test_the_document_names_every_verb():
    text = (ROOT / "docs/command-line.md").read_text(encoding="utf-8")
    parser = Command().create_parser("manage.py", "swarm")
    (verbs,) = [action.choices for action in parser._actions if action.dest == "verb"]
    assert verbs
    assert not [verb for verb in verbs if f"`{verb} " not in text and f"`{verb}`" not in text]


def test_the_document_names_every_field(swarm: Swarm):
    text = (ROOT / "docs/command-line.md").read_text(encoding="utf-8")
    shown = told(swarm)
    kinds = ("iterations", "subtasks", "merge_entries", "questions", "messages", "artifacts", "checks")
    parts = [shown | {"config": None, "statistics": None, "merge_queue": None}, shown["landing"]]
    names = {name for part in [*parts, *(shown[kind][0] for kind in kinds)] for name in part}
    names |= {name for row in shown["subtasks"] for one in row["attempts"] for name in one | (one["handoff"] or {})}
    names |= set(shown["statistics"])
    assert not sorted(name for name in names if f"`{name}`" not in text)
