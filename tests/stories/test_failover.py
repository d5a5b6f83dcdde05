"""Two kinds of model service carry a swarm, alone and for each other: what one leaves undone the other does."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.demo.service import ScriptedService
from tests.stories import twelve
from tests.stories.rig import Finished, Installation, finish

pytestmark = pytest.mark.sandbox


@pytest.fixture
def other() -> Iterator[ScriptedService]:
    """The service of the other kind."""
    with ScriptedService(twelve.script()) as service:
        yield service


def with_anthropic(installation: Installation, service: ScriptedService, **more: str) -> Installation:
    address = service.base_url.removesuffix("/v1")
    installation.more |= {"ANTHROPIC_BASE_URL": address, "ANTHROPIC_MODEL": "scripted"} | more
    return installation


def answered_by(installation: Installation) -> dict[str, int]:
    """Calls of models by the endpoint that they are booked on."""
    database = sqlite3.connect(installation.home / "data" / "swarmsite.sqlite3")
    query = (
        "SELECT e.name, COUNT(*) FROM orchestration_modelcall c JOIN orchestration_modelendpoint e"
        " ON e.id = c.endpoint_id GROUP BY e.name"
    )
    try:
        return dict(database.execute(query).fetchall())
    finally:
        database.close()


def attempts(installation: Installation, done: Finished) -> list[str]:
    shown = installation.swarm("show", done.last["id"], "--json").last
    return [attempt["status"] for subtask in shown["subtasks"] for attempt in subtask["attempts"]]


def test_a_messages_service_carries_a_swarm_of_twelve(install, repository: Path, other: ScriptedService):
    installation = with_anthropic(install(twelve.script()), other, OPENAI_BASE_URL="", OPENAI_MODEL="")

    done = installation.run(repository, "--wait")

    assert done.code == 0, done.err
    assert (done.last["status"], done.last["landed"]) == ("succeeded", 12)
    assert list(answered_by(installation)) == ["anthropic"]
    assert {request.kind for request in other.requests} == {"anthropic"}


def test_a_service_that_dies_in_the_middle_costs_no_attempt(install, repository: Path, other: ScriptedService):
    installation = with_anthropic(install(twelve.script()), other)
    arguments = ("swarm", "run", "--repository", str(repository), "--task", "Do it", "--wait", "--json")
    running = installation.start(*arguments, "--config", json.dumps({"max_subagents": 4}))

    installation.service.wait_for(lambda: installation.service.total >= 6, 60)
    installation.service.close()
    done = finish(running)

    assert done.code == 0, done.err
    assert (done.last["status"], done.last["landed"], done.last["failed"]) == ("succeeded", 12, 0)
    assert attempts(installation, done) == ["complete"] * 12
    assert set(answered_by(installation)) == {"anthropic", "openai"}
