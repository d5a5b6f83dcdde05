"""What every test stands on: a data directory and databases of its own, and no skip that nobody sees.

The suite runs on SQLite. With TEST_DATABASE=postgresql it runs on a PostgreSQL that is started for it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socketserver
import tempfile
import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import django
import hypothesis
import pytest

from tests import servers

# What a developer has set for the real thing must not reach a test, nor a test the real thing.
FOREIGN = (
    "DATABASE_URL",
    "REDIS_URL",
    "SECRET_KEY",
    "ALLOWED_HOSTS",
    "DEBUG",
    "LOG_LEVEL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
)
FOREIGN_PREFIXES = ("SWARM_", "OPENAI_", "ANTHROPIC_", "GITHUB_", "GIT_")
HOW_MUCH = ("_SEEDS", "_EXAMPLES")  # asked of the tests themselves
IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}
IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
running = ExitStack()  # ends with the process that began the run


def begin() -> None:
    """Set the environment of the whole run, once, before the settings are read; xdist's workers inherit it."""
    for name in list(os.environ):
        foreign = name in FOREIGN or name.startswith(FOREIGN_PREFIXES)
        if foreign and not name.endswith(HOW_MUCH):
            del os.environ[name]
    root = tempfile.mkdtemp(prefix="swarmsite-tests-")
    running.callback(shutil.rmtree, root, ignore_errors=True)
    os.environ["SWARM_TEST_ROOT"] = root
    if os.environ.get("TEST_DATABASE") == "postgresql":
        os.environ["DATABASE_URL"] = running.enter_context(servers.postgresql())
    atexit.register(running.close)


if not IS_WORKER:
    begin()
DATA = Path(os.environ["SWARM_TEST_ROOT"], os.environ.get("PYTEST_XDIST_WORKER", "main"))
os.environ["SWARM_DATA_DIR"] = str(DATA)
os.environ["DJANGO_SETTINGS_MODULE"] = "swarmsite.settings"
django.setup()

hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
hypothesis.settings.load_profile("ci" if IN_CI else "here")


@pytest.fixture(scope="session", autouse=True)
def _quick_emptying() -> Iterator[None]:
    from django.test import TransactionTestCase

    from tests import emptying

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", emptying.empty)
        yield


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: a third of a test's time is waiting for processes and disks."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, lest one worker be alone with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_xdist_setupnodes() -> None:
    """A worker that inherited this would read the settings before it has a data directory of its own."""
    del os.environ["DJANGO_SETTINGS_MODULE"]


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """SQLite in a file, as in earnest: an in-memory one locks whole tables between threads."""
    from django.conf import settings
    from django.db import connections

    if connections["default"].vendor == "sqlite":
        settings.DATABASES["default"]["TEST"]["NAME"] = str(DATA / "test.sqlite3")
    else:
        settings.DATABASES["default"]["TEST"]["NAME"] = f"test_{DATA.name}"


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL server for a test that starts processes of its own on it."""
    with servers.postgresql() as url:
        yield url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    executable = servers.redis_executable()
    if executable is None:
        pytest.skip("Redis is not installed: apt install redis-server")
    with servers.redis(executable) as url:
        yield url


@pytest.fixture
def listener() -> Iterator[int]:
    """A server on the host's loopback, as a model service or a database beside the site would be."""
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium for Playwright's `executable_path`: the machine's, else the one Playwright fetched."""
    system = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    fetched = sorted(Path.home().glob(".cache/ms-playwright/chromium-*/chrome-linux*/chrome"))
    path = next(filter(None, system), None) or (str(fetched[-1]) if fetched else None)
    return path or pytest.skip("Chromium is not installed: apt install chromium")


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Where nobody reads along, a test that did not run is a failure."""
    if report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"With CI set nothing may be skipped. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if IN_CI:
        refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if IN_CI:
        refuse_skip(report)
    return report


def pytest_report_header() -> str:
    return f"database: {os.environ.get('TEST_DATABASE', 'sqlite')}"
