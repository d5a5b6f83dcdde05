"""Desks for agents: unconfined where isolation is not the question, in a real bubblewrap box where it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.adapters.sandbox import choose_sandbox
from orchestration.adapters.sandbox.unconfined import Unconfined
from tests.agents.rig import Desk, Model


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "workspace"
    made.mkdir()
    return made


@pytest.fixture
def desk(root: Path) -> Iterator[Desk]:
    made = Desk(root, Unconfined().open(root))
    yield made
    made.close()


@pytest.fixture
def boxed(root: Path) -> Iterator[Desk]:
    """With a real sandbox around its commands."""
    made = Desk(root, choose_sandbox("bubblewrap").open(root))
    yield made
    made.close()


@pytest.fixture
def model() -> Iterator[Model]:
    made = Model()
    yield made
    made.close()
