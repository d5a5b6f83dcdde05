"""What a nudge is on its way: a small message in its stage's queue, or a line in the log."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import Any

import pytest
from celery import Celery
from django.conf import settings
from kombu import Connection

from orchestration.adapters import queue
from orchestration.domain.events import Stage
from swarmsite.celery import app

ROW = 2_000_000_017


def test_celery_is_configured_as_django_is():
    assert app.conf.broker_url == "memory://"
    assert app.conf.task_default_queue == settings.CELERY_TASK_DEFAULT_QUEUE
    assert app.conf.beat_schedule == settings.CELERY_BEAT_SCHEDULE
    assert app.conf.worker_prefetch_multiplier == 1
    assert app.conf.task_always_eager is False, "what nobody configured is Celery's own"
    assert app.conf.get("CELERY_DB_REUSE_MAX") == settings.CELERY_DB_REUSE_MAX, "as Celery's worker asks for it"


def test_settings_that_are_wrong_are_no_settings_at_all():
    """Celery would go to a broker that nobody named."""
    command = [sys.executable, "-c", "from swarmsite.celery import app; print(app.conf.broker_url)"]
    wrong = {**os.environ, "SWARM_SANDBOX": "bogus"}
    done = subprocess.run(
        command, cwd=settings.BASE_DIR, env=wrong, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert done.stdout == ""
    assert "SWARM_SANDBOX is 'bogus'" in done.stderr


@pytest.mark.parametrize("stage", Stage)
def test_a_nudge_waits_in_the_queue_of_its_stage(stage: Stage):
    with Connection("memory://") as broker:
        assert nudged(stage, broker) == (f"orchestration.{stage}", [ROW], {})


def test_it_waits_on_redis_too(redis_url: str, monkeypatch: pytest.MonkeyPatch):
    scaled_out = Celery("scaled out", broker=redis_url, set_as_current=False)
    scaled_out.conf.task_routes = settings.CELERY_TASK_ROUTES
    monkeypatch.setattr(queue, "current_app", scaled_out)
    with Connection(redis_url) as broker:
        assert nudged(Stage.MERGE, broker) == ("orchestration.merge", [ROW], {})
    scaled_out.close()


def nudged(stage: Stage, broker: Connection) -> tuple[str, list[int], dict[str, Any]]:
    """What a worker of the stage's queue is told, and nothing else waits there."""
    name = settings.CELERY_TASK_ROUTES[f"orchestration.{stage}"]["queue"]
    waiting = broker.SimpleQueue(name)
    waiting.clear()
    queue.nudge(stage, ROW)
    message = waiting.get(timeout=10)
    message.ack()
    assert message.headers["ignore_result"]
    with pytest.raises(waiting.Empty):
        waiting.get_nowait()
    args, kwargs, _ = message.payload
    return message.headers["task"], args, kwargs


def test_a_broker_that_is_away_is_logged_and_hurts_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    away = Celery("away", broker="redis://127.0.0.1:1/0", set_as_current=False)
    away.conf.broker_transport_options = {"max_retries": 1, "interval_start": 0.0}
    monkeypatch.setattr(queue, "current_app", away)
    with caplog.at_level(logging.WARNING):
        queue.nudge(Stage.MERGE, ROW)
    assert f"The broker took no nudge for merge {ROW}" in caplog.text
