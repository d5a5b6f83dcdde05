"""Settings from the environment: what is not set has a default that works, what is wrong stops the start
with a sentence that names the variable and says what to write.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from swarmsite import environment as env

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch):
    for name in ("X", "SWARM_DATA_DIR", "SECRET_KEY", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        *(("true", True), ("1", True), ("YES", True), (" on ", True)),
        *(("false", False), ("0", False), ("No", False), ("off", False)),
    ],
)
def test_a_boolean_is_read_in_the_usual_spellings(monkeypatch: pytest.MonkeyPatch, raw: str, *, value: bool):
    monkeypatch.setenv("X", raw)
    assert env.boolean("X", default=not value) is value


@pytest.mark.parametrize("raw", ["", "   "])
def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, raw: str):
    monkeypatch.setenv("X", raw)
    assert env.text("X", "default") == "default"
    assert env.boolean("X", default=True)
    assert env.integer("X", 7, low=1, high=9) == 7
    assert env.words("X", ("a",)) == ("a",)
    assert env.url("X", "http://a") == "http://a"
    assert env.choice("X", "auto", ("auto", "none")) == "auto"


def test_words_are_split_at_commas(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("X", "a.example, b.example,,")
    assert env.words("X") == ("a.example", "b.example")


@pytest.mark.parametrize("raw", ["1", "9"])
def test_an_integer_within_its_bounds_is_taken(monkeypatch: pytest.MonkeyPatch, raw: str):
    monkeypatch.setenv("X", raw)
    assert env.integer("X", 5, low=1, high=9) == int(raw)


def test_a_url_loses_its_last_slash_and_keeps_its_path(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("X", "https://swarm.example/base/")
    assert env.url("X") == "https://swarm.example/base"


WRONG: list[tuple[str, Callable[[], object], str]] = [
    ("maybe", lambda: env.boolean("X", default=True), "X is 'maybe'; write one of: true, false."),
    ("many", lambda: env.integer("X", 1, low=1, high=9), "X is 'many'; write a whole number from 1 to 9."),
    ("1.5", lambda: env.integer("X", 1, low=1, high=9), "X is '1.5'; write a whole number from 1 to 9."),
    ("0", lambda: env.integer("X", 1, low=1, high=9), "X is 0; it must lie between 1 and 9."),
    ("10", lambda: env.integer("X", 1, low=1, high=9), "X is 10; it must lie between 1 and 9."),
    ("docker", lambda: env.choice("X", "auto", ("auto", "none")), "X is 'docker'; write one of: auto, none."),
    ("swarm.example", lambda: env.url("X"), "begins with http or https://"),
    ("https://", lambda: env.url("X"), "begins with http or https://"),
    ("javascript:alert(1)", lambda: env.url("X"), "begins with http or https://"),
    ("http://redis", lambda: env.url("X", schemes=("redis",)), "begins with redis://"),
]


@pytest.mark.parametrize(("raw", "read", "sentence"), WRONG, ids=[f"{n}-{row[0]}" for n, row in enumerate(WRONG)])
def test_a_wrong_value_stops_the_start_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, raw: str, read: Callable[[], object], sentence: str
):
    monkeypatch.setenv("X", raw)
    with pytest.raises(ImproperlyConfigured) as caught:
        read()
    said = str(caught.value)
    assert said.startswith("X is ")
    assert sentence in said


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_data_directory_is_made_for_its_owner_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SWARM_DATA_DIR", str(tmp_path / "deep" / "data"))
    assert env.data_directory(tmp_path / "default") == tmp_path / "deep" / "data"
    assert mode(tmp_path / "deep" / "data") == 0o700
    assert not (tmp_path / "default").exists()


def test_the_default_data_directory_is_used_where_none_is_named(tmp_path: Path):
    assert env.data_directory(tmp_path / "default") == tmp_path / "default"
    assert mode(tmp_path / "default") == 0o700


def test_a_data_directory_that_cannot_be_made_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SWARM_DATA_DIR", str(tmp_path / "file" / "data"))
    with pytest.raises(ImproperlyConfigured, match=r"SWARM_DATA_DIR .* cannot be made: Not a directory\."):
        env.data_directory(tmp_path)


def test_a_data_directory_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(ImproperlyConfigured, match=r"SWARM_DATA_DIR .* cannot be written by this user\."):
        env.data_directory(tmp_path)


def test_a_secret_key_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path):
    key = env.secret_key(tmp_path)
    assert len(key) >= 50
    assert env.secret_key(tmp_path) == key
    assert mode(tmp_path / "secret-key") == 0o600
    other = tmp_path / "other"
    other.mkdir()
    assert env.secret_key(other) != key


def test_processes_that_start_together_agree_on_one_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The second one starts while the first is making its key: the worst moment."""
    make, second = secrets.token_urlsafe, []

    def make_slowly(size: int) -> str:
        monkeypatch.setattr(secrets, "token_urlsafe", make)
        second.append(env.secret_key(tmp_path))
        return make(size)

    monkeypatch.setattr(secrets, "token_urlsafe", make_slowly)
    first = env.secret_key(tmp_path)
    assert second == [first]
    assert first == (tmp_path / "secret-key").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["secret-key"]


def test_a_given_secret_key_is_used_and_not_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SECRET_KEY", "k" * 32)
    assert env.secret_key(tmp_path) == "k" * 32
    assert not list(tmp_path.iterdir())


def test_a_short_secret_key_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    with pytest.raises(ImproperlyConfigured, match="shorter than 32 characters") as caught:
        env.secret_key(tmp_path)
    assert "hunter2" not in str(caught.value)


def test_without_an_address_the_database_is_a_file_in_the_data_directory(tmp_path: Path):
    told = env.database(tmp_path)
    assert told["ENGINE"] == "orchestration.adapters.sqlite3"
    assert told["NAME"] == str(tmp_path / "swarmsite.sqlite3")
    assert told["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in told["OPTIONS"]["init_command"]


def test_a_sqlite_file_may_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/other.sqlite3")
    assert env.database(tmp_path)["NAME"] == f"{tmp_path}/other.sqlite3"


def test_a_postgresql_address_is_taken_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:p%40ss@db.example:5433/swarm%20site?pool=7&sslmode=require")
    told = env.database(tmp_path)
    assert told["ENGINE"] == "django.db.backends.postgresql"
    assert (told["USER"], told["PASSWORD"], told["NAME"]) == ("me", "p@ss", "swarm site")
    assert (told["HOST"], told["PORT"]) == ("db.example", "5433")
    assert told["OPTIONS"]["pool"]["max_size"] == 7
    assert told["OPTIONS"]["sslmode"] == "require"
    assert told["CONN_HEALTH_CHECKS"]


def test_a_postgresql_socket_is_named_as_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("DATABASE_URL", "postgres://postgres@/swarm?host=/run/postgresql")
    told = env.database(tmp_path)
    assert told["HOST"] == "/run/postgresql"
    assert "host" not in told["OPTIONS"]


@pytest.mark.parametrize("url", ["postgresql://db/swarm?pool=many", "postgresql://db:99999/swarm", "postgresql://db"])
def test_a_postgresql_address_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str):
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL"):
        env.database(tmp_path)


@pytest.mark.parametrize("url", ["mysql://db/swarm", "swarm", "db.example/swarm"])
def test_another_database_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str):
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ImproperlyConfigured, match=r"DATABASE_URL begins with .*; write postgresql://"):
        env.database(tmp_path)


def openai(
    monkeypatch: pytest.MonkeyPatch, key: str = "", base_url: str = "", model: str = ""
) -> dict[str, str] | None:
    for name, value in (("API_KEY", key), ("BASE_URL", base_url), ("MODEL", model)):
        monkeypatch.setenv(f"OPENAI_{name}", value)
    return env.openai_endpoint()


def test_without_a_model_no_endpoint_is_described(monkeypatch: pytest.MonkeyPatch):
    assert openai(monkeypatch) is None
    assert openai(monkeypatch, key="sk-secret") is None


def test_an_endpoint_names_the_variable_of_its_key_and_never_holds_it(monkeypatch: pytest.MonkeyPatch):
    described = openai(monkeypatch, key="sk-secret", model="m")
    assert described is not None
    assert described["key_env"] == "OPENAI_API_KEY"
    assert described["base_url"].startswith("https://")
    assert "sk-secret" not in str(described)


def test_a_service_on_this_machine_needs_no_key(monkeypatch: pytest.MonkeyPatch):
    described = openai(monkeypatch, base_url="http://127.0.0.1:11434/v1/", model="m")
    assert described == {"base_url": "http://127.0.0.1:11434/v1", "model": "m", "key_env": ""}


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        ({"base_url": "http://127.0.0.1:11434/v1"}, "OPENAI_MODEL"),
        ({"model": "m"}, "OPENAI_API_KEY or OPENAI_BASE_URL"),
    ],
)
def test_half_an_endpoint_is_refused_with_the_half_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], missing: str
):
    with pytest.raises(ImproperlyConfigured, match=missing):
        openai(monkeypatch, **told)


def test_anthropics_endpoint_is_described_the_same_way(monkeypatch: pytest.MonkeyPatch):
    assert env.anthropic_endpoint() is None
    monkeypatch.setenv("ANTHROPIC_MODEL", "m")
    with pytest.raises(ImproperlyConfigured, match="ANTHROPIC_API_KEY or ANTHROPIC_BASE_URL"):
        env.anthropic_endpoint()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    described = {"base_url": "https://api.anthropic.com", "model": "m", "key_env": "ANTHROPIC_API_KEY"}
    assert env.anthropic_endpoint() == described


def settings_with(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The real settings, read by a process that has nothing but `variables`."""
    program = (
        "import json; from swarmsite import settings as s;"
        "names = 'ALLOWED_HOSTS DEBUG CELERY_BROKER_URL SESSION_COOKIE_SECURE CSRF_TRUSTED_ORIGINS SWARM'.split();"
        "print(json.dumps({name: getattr(s, name) for name in names} | {'key': s.SECRET_KEY}))"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"SWARM_DATA_DIR": str(tmp_path / "data"), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def settings_of(tmp_path: Path, **variables: str) -> dict[str, Any]:
    done = settings_with(tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def test_with_nothing_set_one_machine_is_served_and_nobody_else(tmp_path: Path):
    read = settings_of(tmp_path)
    assert read["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert read["DEBUG"] is False
    assert read["CELERY_BROKER_URL"] == "memory://"
    assert read["SWARM"]["SANDBOX"] == "auto"
    assert read["key"] == (tmp_path / "data" / "secret-key").read_text()


def test_a_public_https_address_makes_cookies_secure(tmp_path: Path):
    read = settings_of(tmp_path, SWARM_PUBLIC_URL="https://swarm.example")
    assert read["SESSION_COOKIE_SECURE"] is True
    assert read["CSRF_TRUSTED_ORIGINS"] == ["https://swarm.example"]
    assert settings_of(tmp_path)["SESSION_COOKIE_SECURE"] is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SWARM_SANDBOX", "chroot"),
        ("SWARM_MAX_AGENTS", "0"),
        ("SWARM_LEASE_SECONDS", "soon"),
        ("SWARM_PUBLIC_URL", "swarm.example"),
        ("REDIS_URL", "localhost:6379"),
        ("DATABASE_URL", "oracle://db"),
        ("SECRET_KEY", "short"),
        ("DEBUG", "perhaps"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_setting_ends_the_command_with_2_and_one_sentence(tmp_path: Path, name: str, value: str):
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={"SWARM_DATA_DIR": str(tmp_path / "data"), name: value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"Swarmsite cannot start: {name} ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
