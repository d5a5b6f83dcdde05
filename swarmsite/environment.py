"""Typed readers of the environment. A wrong value stops the start with a sentence, never with a guess."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def boolean(name: str, *, default: bool) -> bool:
    raw = text(name).lower()
    if not raw:
        return default
    if raw in _TRUE | _FALSE:
        return raw in _TRUE
    raise ImproperlyConfigured(f"{name} is {raw!r}; write one of: true, false.")


def integer(name: str, default: int, *, low: int, high: int) -> int:
    raw = text(name)
    if not raw:
        return default
    try:
        value = int(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {raw!r}; write a whole number from {low} to {high}.") from None
    if not low <= value <= high:
        raise ImproperlyConfigured(f"{name} is {value}; it must lie between {low} and {high}.")
    return value


def choice(name: str, default: str, options: tuple[str, ...]) -> str:
    raw = text(name, default).lower()
    if raw not in options:
        raise ImproperlyConfigured(f"{name} is {raw!r}; write one of: {', '.join(options)}.")
    return raw


def words(name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    return tuple(word.strip() for word in text(name).split(",") if word.strip()) or default


def url(name: str, default: str = "", *, schemes: tuple[str, ...] = ("http", "https")) -> str:
    raw = text(name, default)
    if raw and (urlsplit(raw).scheme not in schemes or not urlsplit(raw).hostname):
        raise ImproperlyConfigured(f"{name} is {raw!r}; write a URL that begins with {' or '.join(schemes)}://.")
    return raw.rstrip("/")


def data_directory(default: Path) -> Path:
    """SWARM_DATA_DIR, made with mode 700 where it is missing."""
    path = Path(text("SWARM_DATA_DIR", str(default))).expanduser().resolve()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(f"SWARM_DATA_DIR {path} cannot be made: {error.strerror}.") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ImproperlyConfigured(f"SWARM_DATA_DIR {path} cannot be written by this user.")
    return path


def secret_key(data: Path) -> str:
    """SECRET_KEY, or one that is made once and kept in the data directory with mode 600."""
    given = text("SECRET_KEY")
    if given:
        if len(given) < 32:
            raise ImproperlyConfigured("SECRET_KEY is shorter than 32 characters; write a longer random one.")
        return given
    path = data / "secret-key"
    if not path.exists():
        _place(path, secrets.token_urlsafe(50))
    return path.read_text()


def _place(path: Path, content: str) -> None:
    """Whole or not at all, for its owner alone; where another process was first, its file stays."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:  # made with mode 600
        file.write(content)
        file.flush()
        with suppress(FileExistsError):
            path.hardlink_to(file.name)


def database(data: Path) -> dict[str, Any]:
    """DATABASE_URL (postgresql:// or sqlite:///), or SQLite in the data directory."""
    raw = text("DATABASE_URL")
    parts = urlsplit(raw)
    if not raw or parts.scheme == "sqlite":
        path = parts.path.removeprefix("/") if raw else ""
        return _sqlite(path or str(data / "swarmsite.sqlite3"))
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ImproperlyConfigured(
            f"DATABASE_URL begins with {parts.scheme or 'nothing'!r}; write postgresql://user@host/name or "
            "sqlite:////path/to/file, or leave it out."
        )
    query = dict(parse_qsl(parts.query))
    name, port, pool = unquote(parts.path.lstrip("/")), _port(parts), query.pop("pool", "20")
    if not name or port is None or not pool.isdecimal():
        raise ImproperlyConfigured(
            "DATABASE_URL must name a database, a port up to 65535 and, where pool= is given, a whole number of "
            "connections: postgresql://user@host:5432/name?pool=20."
        )
    options: dict[str, Any] = {"pool": {"min_size": 1, "max_size": int(pool), "timeout": 30}}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.pop("host", parts.hostname or ""),
        "PORT": port,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options | query,
    }


def _port(parts: SplitResult) -> str | None:
    """As text, empty where none is given, None where it is none."""
    try:
        return str(parts.port or "")
    except ValueError:
        return None


def _sqlite(path: str) -> dict[str, Any]:
    return {
        "ENGINE": "orchestration.adapters.sqlite3",
        "NAME": path,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 30,
            # A connection is a thread's, and there may be a hundred: what each keeps for itself stays small.
            "cached_statements": 24,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON; "
            "PRAGMA cache_size=-512;",
        },
    }


def openai_endpoint() -> dict[str, str] | None:
    told = url("OPENAI_BASE_URL"), text("OPENAI_MODEL"), text("OPENAI_API_KEY")
    return _endpoint("OPENAI", *told, usual="https://api.openai.com/v1")


def anthropic_endpoint() -> dict[str, str] | None:
    told = url("ANTHROPIC_BASE_URL"), text("ANTHROPIC_MODEL"), text("ANTHROPIC_API_KEY")
    return _endpoint("ANTHROPIC", *told, usual="https://api.anthropic.com")


def _endpoint(prefix: str, base_url: str, model: str, key: str, *, usual: str) -> dict[str, str] | None:
    """What the three variables describe, without the key itself."""
    if base_url and not model:
        raise ImproperlyConfigured(
            f"{prefix}_BASE_URL is set but {prefix}_MODEL is not; write the model's name into it."
        )
    if model and not base_url and not key:
        raise ImproperlyConfigured(f"{prefix}_MODEL is set; write {prefix}_API_KEY or {prefix}_BASE_URL beside it.")
    if not model:
        return None
    return {"base_url": base_url or usual, "model": model, "key_env": f"{prefix}_API_KEY" if key else ""}
