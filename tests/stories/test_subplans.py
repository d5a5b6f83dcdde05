"""Requests that are split again and again, planners that think for long or are away: through the command line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestration.demo.service import Answer, Request, ScriptedService
from tests.stories.rig import finish, git, handoff, plan, task

pytestmark = pytest.mark.sandbox

DEPARTMENTS = ("kitchen", "garden")
ROOMS = ("north", "south")


def leaf_path(name: str) -> str:
    department, room, shelf = name.split("-")
    return f"{department}/{room}/{shelf}.txt"


def worker(request: Request) -> Answer:
    calls = [
        ("write_file", {"path": leaf_path(request.subtask), "content": f"{request.subtask}\n"}),
        ("handoff", dict(handoff(summary=f"Filled {request.subtask}.")[1]) | {"concerns": ["It creaks."]}),
    ]
    return Answer(calls=(calls[min(request.turns, 1)],))


def three_levels(request: Request) -> Answer:
    """The planner names departments, a subplanner their rooms, another one the shelves: a foundation, then the rest."""
    if request.closing == "handoff":
        return worker(request)
    newest = str(request.messages[-1]["content"])
    name = request.subtask
    if not name:
        first = "Tasks so far" not in newest
        tasks = [task(one, scope=[f"{one}/{n}/**" for n in (*ROOMS, "east", "west")]) for one in DEPARTMENTS]
        return Answer(calls=(plan(*(tasks if first else ()), done=not first),))
    if "-" not in name:
        tasks = [task(f"{name}-{room}", scope=[f"{name}/{room}/**"], decompose=True) for room in ROOMS]
        return Answer(calls=(plan(*tasks),))
    path = name.replace("-", "/")
    if "Tasks so far" not in newest:
        return Answer(calls=(plan(task(f"{name}-base", scope=[f"{path}/base.txt"]), done=False),))
    tasks = [task(f"{name}-{shelf}", f"{name}-base", scope=[f"{path}/{shelf}.txt"]) for shelf in ("left", "right")]
    return Answer(calls=(plan(*tasks),))


def test_a_request_of_three_levels_lands_every_leaf_and_reports_the_sum(install: Any, repository: Any):
    installation = install(three_levels)

    done = installation.run(repository, "--wait", config={"max_subagents": 2})

    assert done.code == 0, done.err
    leaves = {f"{d}/{r}/{s}.txt" for d in DEPARTMENTS for r in ROOMS for s in ("base", "left", "right")}
    changed = git(repository, "diff", "--name-only", done.last["base_sha"], done.last["branch"]).split()
    assert set(changed) == leaves
    assert (done.last["status"], done.last["landed"]) == ("succeeded", len(leaves))
    shown = installation.swarm("show", done.last["id"], "--json").last
    rows = {row["name"]: row for row in shown["subtasks"]}
    assert len(rows) == 2 + 4 + len(leaves)
    assert {row["status"] for row in rows.values()} == {"complete"}
    split = [name for name in rows if name.count("-") < 2]
    assert [rows[name]["attempts"] for name in split] == [[]] * 6, "a subtask that is split runs no agent itself"
    north = rows["kitchen-north"]
    assert (north["parent"], north["aggregate"]["status"]) == ("kitchen", "complete")
    assert north["aggregate"]["files_changed"] == [f"kitchen/north/{s}.txt" for s in ("base", "left", "right")]
    assert rows["kitchen"]["aggregate"]["insertions"] == 6
    planners = [one for one in installation.service.requests if one.closing == "submit_plan" and not one.subtask]
    told = str(planners[-1].messages[-1]["content"])
    assert "kitchen (complete): Split into 2 parts; 2 of them are complete." in told
    assert "- kitchen-north (complete): Split into 3 parts; 3 of them are complete." in told
    assert "concern: kitchen-north: kitchen-north-base: It creaks." in told
    assert "changed: kitchen/north/base.txt, kitchen/north/left.txt" in told


def test_while_a_planner_thinks_for_long_work_lands_and_what_builds_on_it_starts(install: Any, repository: Any):
    first = plan(*(task(f"a-b-{n}") for n in "cdef"), task("a-b-last", "a-b-c", "a-b-d", "a-b-e", "a-b-f"), done=False)

    def answer(request: Request) -> Answer:
        if request.closing == "handoff":
            return worker(request)
        again = any("Tasks so far" in str(message.get("content")) for message in request.messages)
        return Answer(calls=(plan(),), held="planner") if again else Answer(calls=(first,))

    installation = install(answer)
    service: ScriptedService = installation.service
    process = installation.start("swarm", "run", "--repository", str(repository), "--task", "x", "--wait", "--json")

    def both() -> bool:
        """The planner was asked again and has not answered, and the last one, which needs the others, is at work."""
        thinks = sum(one.closing == "submit_plan" for one in service.requests) == 2
        return thinks and any(one.subtask == "a-b-last" and one.turns == 1 for one in service.requests)

    service.wait_for(both, timeout=120)
    service.release("planner")
    done = finish(process)

    assert (done.code, done.last["landed"]) == (0, 5)


def test_a_planner_that_is_away_says_why_and_goes_on_when_it_is_back(install: Any, repository: Any):
    away = [True]
    broken = Answer(status=503, error={"message": "out to lunch"})

    def answer(request: Request) -> Answer:
        if request.closing == "handoff":
            return worker(request)
        return broken if away else replace(broken, status=200, calls=(plan(task("a-b-c")),))

    installation = install(answer)
    service: ScriptedService = installation.service
    process = installation.start(
        "swarm", "run", "--repository", str(repository), "--task", "x", "--wait", "--json",
        "--config", '{"base_delay_ms": 100, "max_delay_ms": 1000}',
    )  # fmt: skip
    service.wait_for(lambda: service.total >= 2, timeout=120)
    swarm_id = installation.swarm("list", "--json").last[0]["id"]
    shown = installation.swarm("show", swarm_id, "--json").last
    away.clear()
    done = finish(process)

    assert shown["status"] == "planning"
    assert "out to lunch" in shown["status_reason"]
    assert (done.code, done.last["status"], done.last["landed"]) == (0, "succeeded", 1)
