"""The suite's own ground: nothing of a developer reaches a test, no skip goes unseen, both databases are real."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import connection

from tests.architecture import tree

PLUGINS = ("-p", "tests.conftest", "-p", "no:cacheprovider", "-p", "no:randomly")


def run_pytest(folder: Path, source: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A run of its own, as from a shell in which `variables` are set."""
    (folder / "test_inner.py").write_text(source)
    inherited = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "TMPDIR"}}
    return subprocess.run(
        [*(sys.executable, "-m", "pytest", "-q", "-c", "pyproject.toml"), *PLUGINS, str(folder), *words],
        cwd=tree.ROOT,
        env=inherited | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_data_directory_is_not_the_developers():
    assert settings.DATA_DIR != tree.ROOT / "data"
    assert not settings.DATA_DIR.is_relative_to(tree.ROOT)
    assert settings.DATA_DIR.name == os.environ.get("PYTEST_XDIST_WORKER", "main")


@pytest.mark.django_db
def test_the_database_is_a_test_database():
    name = str(connection.settings_dict["NAME"])
    assert name.startswith((str(settings.DATA_DIR), "test_"))


SKIPS = """
import pytest
def test_skipped():
    pytest.skip("no such thing here")
@pytest.mark.xfail(reason="known", strict=True)
def test_known():
    assert False
"""
VARIABLES = """
import os
def test_variables(settings):
    assert "OPENAI_API_KEY" not in os.environ
    assert settings.DATABASES["default"]["ENGINE"].endswith("sqlite3")
    assert settings.SWARM["MAX_AGENTS"] == 100
"""


def test_what_a_developer_has_set_does_not_reach_a_test_and_a_skip_is_only_told(tmp_path: Path):
    done = run_pytest(
        tmp_path,
        SKIPS + VARIABLES,
        OPENAI_API_KEY="sk-real",
        DATABASE_URL="postgresql://real/real",
        SWARM_MAX_AGENTS="7",
        SWARM_DATA_DIR=str(tmp_path / "real"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("1 passed, 1 skipped, 1 xfailed")
    assert not (tmp_path / "real").exists()


def test_a_skip_of_a_test_or_a_module_fails_where_nobody_reads_along(tmp_path: Path):
    (tmp_path / "test_module.py").write_text('import pytest\npytest.skip("not at all", allow_module_level=True)\n')
    done = run_pytest(tmp_path, SKIPS, "--continue-on-collection-errors", CI="true")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("1 failed, 1 xfailed, 1 error")
    assert "nothing may be skipped. Skipped: no such thing here" in done.stdout
    assert "nothing may be skipped. Skipped: not at all" in done.stdout


VENDOR = """
import os, pytest
from django.db import connection
@pytest.mark.django_db
@pytest.mark.parametrize("number", range(2))
def test_inner(number):
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        assert cursor.fetchone()[0].startswith("18")
    assert connection.settings_dict["NAME"].endswith("_" + os.environ["PYTEST_XDIST_WORKER"])
"""


def test_the_suite_can_run_on_a_postgresql_of_its_own_in_several_processes(tmp_path: Path):
    done = run_pytest(tmp_path, VENDOR, "-n", "2", TEST_DATABASE="postgresql")
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_what_takes_long_begins_first_and_no_processor_is_idle(request: pytest.FixtureRequest):
    later = [item.get_closest_marker("long") is None for item in request.session.items]
    assert later == sorted(later)
    workers = request.config.hook.pytest_xdist_auto_num_workers(config=request.config)
    assert workers == len(os.sched_getaffinity(0)) + 1


def test_a_postgresql_for_one_test_listens_on_no_network(postgresql_url: str):
    with psycopg.connect(postgresql_url, autocommit=True) as there:
        row = there.execute("SELECT current_setting('listen_addresses'), current_user").fetchone()
    assert row == ("", "postgres")


def test_a_redis_for_one_test_keeps_nothing(redis_url: str):
    client = redis.Redis.from_url(redis_url)
    try:
        assert client.ping()
        assert client.config_get("save") == {"save": ""}
    finally:
        client.close()


def test_what_happens_at_once_is_tried_on_both_databases():
    """A module that says nothing about the database starts no writers at once; elsewhere the marker means nothing."""
    marker = "mark." + "any_database"
    marked = {name: source for name, source in tree.modules("tests").items() if marker in source}
    assert marked
    assert {Path(name).parent.name for name in marked} == {"stages"}
    whole = {
        name: source for name, source in marked.items() if re.search(rf"^pytestmark = .*{marker}", source, re.MULTILINE)
    }
    assert [name for name, source in whole.items() if "at_once" in source] == []
