"""An agent at work is told what landed in its way, in time to mend it: through the real engine, from end to end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestration.demo.service import Answer, Request
from tests.stories.rig import Installation, finish, git, handoff, make_repository, plan, task

pytestmark = pytest.mark.sandbox

Install = Callable[[Callable[[Request], Answer]], Installation]
QUICK, SLOW = "QUICK\ntwo\nthree\n", "SLOW\ntwo\nthree\n"
TOLD = "A message from the merge queue"


def wrote(path: str, content: str) -> tuple[str, dict[str, Any]]:
    return ("write_file", {"path": path, "content": content})


def script(request: Request) -> Answer:
    """`quick` changes a line and lands once `slow` has changed the same line; `slow` looks about until it is told."""
    if request.closing == "submit_plan":
        return Answer(calls=(plan(task("quick"), task("slow")),))
    if request.subtask == "quick":
        work = [wrote("a.txt", QUICK), handoff(summary="Made the first line loud.")]
        return Answer(calls=(work[min(request.turns, 1)],), held="" if request.turns else "quick")
    if request.turns == 0:
        return Answer(calls=(wrote("a.txt", SLOW),))
    if "slow.txt" in str(request.messages):
        return Answer(calls=(handoff(),))
    if TOLD in str(request.messages):
        return Answer(calls=(wrote("a.txt", QUICK), wrote("slow.txt", "SLOW\n")))
    look = ("bash", {"command": f"echo {request.turns}"})
    return Answer(calls=(look,), held="slow" if request.turns == 1 else "", delay_s=1.0)


def landed(installation: Installation, swarm: str) -> list[str]:
    shown = installation.swarm("show", swarm, "--json").last
    return [entry["subtask"] for entry in shown["merge_entries"] if entry["status"] == "landed"]


def test_a_conflict_that_was_foreseen_never_happens(install: Install, tmp_path: Path):
    installation = install(script)
    installation.more |= {"SWARM_FORECAST_SECONDS": "1"}
    repository = make_repository(tmp_path / "shop", {"a.txt": "one\ntwo\nthree\n"})
    service = installation.service
    running = installation.start("swarm", "run", "--repository", str(repository), "--task", "x", "--wait", "--json")
    service.wait_for(lambda: any(one.subtask == "slow" and one.turns == 1 for one in service.requests), timeout=200)
    service.release("quick")
    service.wait_for(lambda: any(one.subtask == "quick" and one.turns == 1 for one in service.requests), timeout=200)
    swarm = installation.swarm("list", "--json").last[0]["id"]
    while landed(installation, swarm) != ["quick"]:
        assert running.poll() is None
    service.release("slow")
    done = finish(running)
    assert done.code == 0, done.err

    shown = installation.swarm("show", swarm, "--json").last
    assert {entry["status"] for entry in shown["merge_entries"]} == {"landed"}, "nothing was ever in conflict"
    (message,) = shown["messages"]
    assert (message["sender"], message["to"]) == ("the merge queue", "slow")
    assert "Your work will conflict with quick in a.txt." in message["text"]
    assert "It says: Made the first line loud." in message["text"]
    assert [one["status"] for one in message["deliveries"]] == ["answered"]
    assert shown["merge_queue"]["forecast_warnings"] == 1
    assert shown["conflicts_ahead"] == []
    assert git(repository, "show", f"{done.last['branch']}:a.txt") == QUICK
    assert git(repository, "show", f"{done.last['branch']}:slow.txt") == "SLOW\n"
