"""Stories start real processes; each has an installation, a repository and a model of its own."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from pytest_django.plugin import DjangoDbBlocker

from orchestration.demo.service import Answer, Request, ScriptedService
from tests.stories.rig import Installation, make_repository


@pytest.fixture(scope="session")
def migrated(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An empty database with every table, to begin with. The command line makes one by itself, in three seconds."""
    from django.db import connection

    path = tmp_path_factory.mktemp("migrated") / "swarmsite.sqlite3"
    with django_db_blocker.unblock():
        if connection.vendor == "sqlite":
            connection.ensure_connection()
            with closing(sqlite3.connect(path)) as copy:
                connection.connection.backup(copy)
        connection.close()
    return path


@pytest.fixture
def install(tmp_path: Path, migrated: Path) -> Iterator[Callable[[Callable[[Request], Answer]], Installation]]:
    """An installation whose model tells the given script."""
    with ExitStack() as stack:

        def make(script: Callable[[Request], Answer]) -> Installation:
            if migrated.exists():
                (tmp_path / "data").mkdir(mode=0o700, exist_ok=True)
                shutil.copy(migrated, tmp_path / "data")
            return Installation(tmp_path, stack.enter_context(ScriptedService(script)))

        yield make


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository", {"README.md": "# A project\n", "src/a.py": "A = 1\nB = 2\nC = 3\n"})
