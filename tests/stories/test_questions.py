"""Agents ask and are told, with a real engine that is killed: nothing is lost, and nobody waits for a place."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.demo.service import Answer, Request
from tests.stories.rig import LONGEST_S, Installation, finish, git, handoff, plan, task

pytestmark = [pytest.mark.sandbox, pytest.mark.long]

ASK = ("ask_human", {"question": "Tabs or spaces?", "options": ["tabs", "spaces"]})
Install = Callable[[Callable[[Request], Answer]], Installation]


def script(request: Request) -> Answer:
    """`asks` writes half, asks, and writes the rest; `works` only works. The words of a person decide the file."""
    if request.closing == "submit_plan":
        return Answer(calls=(plan(task("asks", priority=1), task("works", priority=9)),))
    words = str(request.messages)
    if request.subtask == "works":
        work = [("write_file", {"path": "works.txt", "content": "w\n"}), handoff()]
        return Answer(calls=(work[min(request.turns, 1)],))
    answered = "answered: tabs" in words
    calls = [
        ("write_file", {"path": "half.txt", "content": "half\n"}),
        ASK,
        ("write_file", {"path": "end.txt", "content": "tabs\n" if answered else "?\n"}),
        handoff(),
    ]
    return Answer(calls=(calls[min(request.turns, 3)],))


def test_a_question_outlives_its_engine_and_holds_no_place(install: Install, repository: Path):
    installation = install(script)
    asked = installation.run(repository, "--wait", config={"max_subagents": 1})
    assert asked.code == 3, asked.err
    assert "An agent asks: Tabs or spaces? Answer: manage.py swarm answer " in asked.err
    swarm = asked.lines[0]["id"]
    shown = installation.swarm("show", swarm, "--json").last
    states = {row["name"]: row["status"] for row in shown["subtasks"]}
    assert states == {"asks": "waiting", "works": "complete"}, "the only place was free for the other one"
    assert [one["status"] for one in shown["questions"]] == ["open"]

    killed = installation.start("swarm", "wait", swarm, "--json")
    assert killed.stdout
    killed.stdout.readline()  # its engine is up, or about to be
    killed.kill()
    killed.communicate()

    assert installation.swarm("answer", swarm, "tabs", "--json").code == 0
    killed = installation.start("swarm", "wait", swarm, "--json")
    assert killed.stdout
    killed.stdout.readline()
    killed.kill()
    killed.communicate()
    done = installation.swarm("wait", swarm, "--json")
    assert (done.code, done.last["status"], done.last["landed"]) == (0, "succeeded", 2), done.err
    branch = f"swarm/{swarm}"
    assert git(repository, "show", f"{branch}:half.txt") == "half\n"
    assert git(repository, "show", f"{branch}:end.txt") == "tabs\n"
    shown = installation.swarm("show", swarm, "--json").last
    (asks,) = [row for row in shown["subtasks"] if row["name"] == "asks"]
    assert [one["number"] for one in asks["attempts"]] == [1], "it was the same attempt all along"
    again = installation.swarm("answer", swarm, "spaces")
    assert (again.code, "asks anything" in again.err) == (2, True)


def test_a_message_is_read_by_the_agent_that_works(install: Install, repository: Path):
    def told(request: Request) -> Answer:
        if request.closing == "submit_plan":
            return Answer(calls=(plan(task("one")),))
        if "Use tabs." in str(request.messages):
            calls = [("write_file", {"path": "one.txt", "content": "tabs\n"}), handoff()]
            return Answer(calls=(calls[int("one.txt" in str(request.messages))],))
        return Answer(calls=(("bash", {"command": f"echo {request.turns}; sleep 0.2"}),))

    installation = install(told)
    running = installation.start("swarm", "run", "--repository", str(repository), "--task", "Do it", "--json", "--wait")
    assert running.stdout
    swarm = json.loads(running.stdout.readline())["id"]
    until(lambda: any(one.subtask == "one" for one in installation.service.requests))
    assert installation.swarm("message", swarm, "Use tabs.", "--subtask", "one").code == 0
    done = finish(running)
    assert (done.code, done.last["status"]) == (0, "succeeded"), done.err
    shown = installation.swarm("show", swarm, "--json").last
    assert [one["status"] for one in shown["messages"][0]["deliveries"]] == ["answered"]
    last = [one for one in installation.service.requests if one.subtask == "one"][-1]
    assert str(last.messages).count("Use tabs.") == 1


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST_S
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)
