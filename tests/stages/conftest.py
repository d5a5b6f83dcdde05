"""The world of the stages' tests: real commits, recorded nudges, a clone of somebody's and a scripted model."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from orchestration.adapters import queue
from orchestration.demo.service import ScriptedService
from orchestration.stages import leases
from tests.adapters.git.conftest import Clone
from tests.stages.publications import at
from tests.stages.remotes import Bare, Hub, hub_at
from tests.stages.world import Model, Nudges, World


@pytest.fixture(autouse=True)
def _database(transactional_db: None) -> None:
    """Real commits: nudges go out after them, and other threads see them."""


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def nudges(monkeypatch: pytest.MonkeyPatch) -> Nudges:
    recorded = Nudges()
    monkeypatch.setattr(queue, "nudge", recorded)
    return recorded


@pytest.fixture(autouse=True)
def _quick_heartbeat(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Beats often, and has ended with its connection before the database is emptied."""
    monkeypatch.setattr(leases, "POLL_SECONDS", 0.02)
    yield
    if thread := leases.heartbeat._thread:
        thread.join(60)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    made = Clone(tmp_path / "clone")
    made.commit({"a.txt": "one\ntwo\nthree\n", "src/b.py": "b = 1\n"}, "first")
    return made


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def world(clone: Clone, model: Model) -> Iterator[World]:
    with ScriptedService(model) as service:
        yield World(clone, model, service)


@pytest.fixture
def bare(world: World, tmp_path: Path) -> Bare:
    made = Bare(world.clone, tmp_path / "hub/shop.git")
    at(world, url=str(made.path))
    return made


@pytest.fixture
def hub(world: World, bare: Bare, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Hub]:
    """The same repository, by https."""
    settings.SWARM = settings.SWARM | {"ALLOWED_HOSTS_OUT": ("127.0.0.1",)}
    with hub_at(bare.path.parent) as (hub, certificate):
        monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))
        bare.git("config", "http.receivepack", "true")
        at(world, url=hub.url("shop.git"))
        yield hub


@pytest.fixture
def memory(settings: Settings) -> Iterator[None]:
    """Thousands of commits: where there is a file system in memory, they are made there."""
    place = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None, prefix="swarmsite-tests-")
    settings.DATA_DIR = Path(place)
    yield
    shutil.rmtree(place)
