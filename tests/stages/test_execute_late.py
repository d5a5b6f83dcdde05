"""What an attempt does while its model thinks."""

from __future__ import annotations

import threading

import pytest

from orchestration.adapters.git.workspaces import Workspace, WorkspacePool
from orchestration.demo.service import Answer, Request
from orchestration.domain.errors import AdapterError, Failure
from orchestration.stages.execute import execute
from orchestration.stages.rows import store_of
from tests.deadlines import PLENTY_S
from tests.stages.world import Model, World, hand_off, write

pytestmark = pytest.mark.sandbox


def test_the_workspace_is_made_while_the_model_thinks(world: World, model: Model, monkeypatch: pytest.MonkeyPatch):
    """The model is asked before it is there, and it is there before the model has answered."""
    prepare, answer, prepared = WorkspacePool.acquire, Model.__call__, threading.Event()

    def late(pool: WorkspacePool, sha: str) -> Workspace:
        world.service.wait_for(lambda: world.service.total == 1)
        workspace = prepare(pool, sha)
        prepared.set()
        return workspace

    def thinking(self: Model, request: Request) -> Answer:
        assert prepared.wait(PLENTY_S)
        return answer(self, request)

    monkeypatch.setattr(WorkspacePool, "acquire", late)
    monkeypatch.setattr(Model, "__call__", thinking)
    model.workers["one"] = [write("made.txt", "made\n"), hand_off()]
    attempt = world.assigned(world.running())
    execute(attempt.pk)
    attempt.refresh_from_db()
    assert attempt.status == "complete"
    assert store_of(attempt.subtask.swarm).read_file(attempt.head_sha, "made.txt") == b"made\n"


def test_without_a_workspace_nobody_waits_for_the_model(world: World, model: Model, monkeypatch: pytest.MonkeyPatch):
    """What was held back for its call is free again, and the attempt tells what was wrong."""

    def full(pool: WorkspacePool, sha: str) -> Workspace:
        raise AdapterError(Failure.TRANSIENT, "The disk is full.")

    monkeypatch.setattr(WorkspacePool, "acquire", full)
    monkeypatch.setattr(Model, "__call__", lambda *_: Answer(held="for ever"))
    attempt = world.assigned(world.running(budget_tokens=1_000_000))
    execute(attempt.pk)
    attempt.refresh_from_db()
    assert (attempt.status, attempt.status_reason, attempt.steps) == ("failed", "The disk is full.", 0)
    assert (attempt.reserved_tokens, attempt.subtask.swarm.reserved_tokens) == (0, 0)
    world.service.wait_for(lambda: world.service.in_flight == 0)
