"""The embedded engine: Celery's workers, the tick and the demo's model in threads of this process.

One runs per data directory; a lease in the database says so.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from celery import current_app
from celery.worker import WorkController
from celery.worker import state as worker_state
from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone

from orchestration.demo.install import start_service
from orchestration.domain.errors import SwarmsiteError
from orchestration.management.collector import settled
from orchestration.models import Lease, ModelEndpoint
from orchestration.stages import leases
from orchestration.stages.tick import ENGINE, WORKERS, take_over, tick

logger = logging.getLogger(__name__)
QUEUES = {"plan": 16, "dispatch": 2, "merge": 4, "check": 4}
START_SECONDS = 30.0
STOP_SECONDS = 15.0


class EngineRuns(SwarmsiteError):
    """Another process already runs the engine of this data directory."""


def holder() -> str:
    """host:pid:start, so that a pid that was given to somebody else is not taken for a living engine."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def live_holder() -> str | None:
    """Who runs the engine now; None where nobody does, or its process on this machine is dead."""
    lease = Lease.objects.filter(name=ENGINE).exclude(token="").first()
    if lease is None or lease.expires_at is None or lease.expires_at <= timezone.now() or _is_dead(lease.holder):
        return None
    return lease.holder


def _is_dead(holder: str) -> bool:
    """Only a process of this machine can be known to be dead; of others the lease's end decides."""
    if holder == WORKERS:
        return False
    host, pid, started = holder.rsplit(":", 2)
    return host == socket.gethostname() and _started(int(pid)) != started


def _started(pid: int) -> str:
    """The process's start time in the kernel's ticks; empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


class _QueueWorker(WorkController):
    """Celery's worker in a thread of ours, one for each queue: 100 attempts must not starve the merges."""

    def __init__(self, **options: Any) -> None:
        self.ready = threading.Event()
        super().__init__(**options)

    def on_consumer_ready(self, consumer: Any) -> None:
        self.ready.set()


@dataclass
class Engine:
    """Use `running()`. `failed` is set when the lease is lost: then somebody else is the engine."""

    failed: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)
    _held: leases.Held | None = None

    def claim(self) -> None:
        """Become the engine of this data directory. Raises EngineRuns where another one is alive."""
        if live_holder() is None:  # a dead one's lease need not run out first
            Lease.objects.filter(name=ENGINE).update(expires_at=timezone.now() - timedelta(seconds=1))
        self._held = leases.take(ENGINE, holder())
        if self._held is None:
            raise EngineRuns(f"Another process ({live_holder()}) already runs the engine of this data directory.")

    def start(self) -> None:
        """Pick up what the last engine left, and work."""
        worker_state.should_stop = None  # an engine that ran in this process before has set it
        take_over()
        os.environ["CELERY_SKIP_CHECKS"] = "1"  # the command that starts us has made Django's checks once
        current_app.loader.import_default_modules()
        for queue, concurrency in (QUEUES | {"execute": settings.SWARM["MAX_AGENTS"]}).items():
            self._work(queue, concurrency)
        self._thread("tick", self._tick)
        self._thread("lease", self._renew)

    def stop(self) -> None:
        """Attempts that run are given back unharmed; the next engine starts them again."""
        self._stop.set()
        worker_state.should_stop = 0  # type: ignore[assignment]  # an exit code, for all workers of the process
        leases.heartbeat.cancel_all("The server was stopped.")
        if not leases.heartbeat.wait_until_idle(STOP_SECONDS):
            logger.warning("Something did not end in %.0f s; the next engine takes it over.", STOP_SECONDS)
        if self._held:
            Lease.objects.filter(name=ENGINE, token=self._held.token).update(token="", expires_at=None)

    def _work(self, queue: str, concurrency: int) -> None:
        """One at a time: which queues are consumed is read from the application when a worker becomes ready."""
        worker = _QueueWorker(
            app=current_app,
            hostname=f"{queue}@swarmsite",
            pool="threads",
            concurrency=concurrency,
            queues=[queue],
            without_heartbeat=True,
            without_gossip=True,
            without_mingle=True,
        )
        self._thread(f"worker-{queue}", worker.start)
        if not worker.ready.wait(START_SECONDS):
            raise SwarmsiteError(f"The worker of the queue {queue} did not start.")

    @staticmethod
    def _thread(name: str, target: Any) -> None:
        threading.Thread(target=target, name=name, daemon=True).start()

    def _tick(self) -> None:
        while not self._stop.wait(settings.SWARM["TICK_SECONDS"]):
            try:
                tick()
            except (DatabaseError, SwarmsiteError):
                logger.exception("The tick failed; the next one tries again.")
        connection.close()

    def _renew(self) -> None:
        while not self._stop.wait(settings.SWARM["LEASE_SECONDS"] / 4):
            try:
                if self._held and not self._held.renew():
                    logger.error("Another engine took over this data directory; this one stops.")
                    self.failed.set()
                    break
            except DatabaseError:
                logger.exception("The engine's lease could not be renewed; the next try follows.")
        connection.close()


@contextmanager
def running() -> Iterator[Engine]:
    """The engine while inside, with the demo's model where the demo is installed."""
    engine = Engine()
    engine.claim()
    services = [start_service(row) for row in ModelEndpoint.objects.filter(is_demo=True, enabled=True)]
    try:
        engine.start()
        with settled():
            yield engine
    finally:
        engine.stop()
        for service in services:
            service.close()
