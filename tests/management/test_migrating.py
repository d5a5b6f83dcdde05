"""A command brings the database up to date where it is not, and loses no time where it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from orchestration.management import migrating
from orchestration.management.migrating import bring_up_to_date
from tests.management.test_bench import LONGEST_S, ROOT

pytestmark = pytest.mark.django_db


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(migrating, "call_command", lambda name, **_: names.append(name))
    return names


def test_where_all_is_applied_nothing_is_done(called: list[str]):
    bring_up_to_date()
    assert called == []


@pytest.mark.parametrize("app", ["orchestration", "auth"])
def test_one_that_is_missing_is_applied(called: list[str], app: str):
    last = MigrationRecorder.Migration.objects.filter(app=app).latest("id")
    MigrationRecorder(connection).record_unapplied(app, last.name)
    bring_up_to_date()
    assert called == ["migrate"]


def test_the_first_command_makes_the_database(tmp_path: Path):
    environment = {"PATH": os.environ["PATH"], "SWARM_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "manage.py", "swarm", "list", "--json"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False,
    )  # fmt: skip
    assert (done.returncode, json.loads(done.stdout)) == (0, []), done.stderr
