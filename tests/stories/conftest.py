"""Stories start real processes; each has an installation, a repository and a model of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestration.demo.service import Answer, Request, ScriptedService
from tests.stories.rig import Installation, make_repository


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Callable[[Callable[[Request], Answer]], Installation]]:
    """An installation whose model tells the given script."""
    with ExitStack() as stack:

        def make(script: Callable[[Request], Answer]) -> Installation:
            return Installation(tmp_path, stack.enter_context(ScriptedService(script)))

        yield make


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository", {"README.md": "# A project\n", "src/a.py": "A = 1\nB = 2\nC = 3\n"})
