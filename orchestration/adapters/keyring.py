"""Keys that people give on a page: encrypted beneath the data directory, named by rows, and never shown again."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from orchestration.domain.errors import AdapterError, Failure

_NAME = re.compile(r"[a-z]+-[A-Za-z0-9]{1,40}")
_NONCE = 12  # bytes
_SETTLED_NS = 1_000_000_000  # a directory that changed later than this may change again within its clock's tick

_lent: dict[str, str] = {}
_seen: tuple[tuple[str, int], frozenset[str]] | None = None


def keep(name: str, value: str) -> None:
    """Whole or not at all, for our own user alone; what was kept under the name before is gone."""
    global _seen  # noqa: PLW0603 - one a process, like the directory that it mirrors
    directory = _directory()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    nonce = os.urandom(_NONCE)
    sealed = nonce + _cipher().encrypt(nonce, value.encode(), _path(name).name.encode())
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".", delete=False) as file:  # made with mode 600
        file.write(sealed)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(_path(name))
    _seen = None


def forget(name: str) -> None:
    _path(name).unlink(missing_ok=True)


def older(seconds: float) -> list[str]:
    """The names of what was kept longer ago than this."""
    directory, found = _directory(), []
    for path in directory.iterdir() if directory.is_dir() else ():
        with suppress(FileNotFoundError):
            if _NAME.fullmatch(path.name) and time.time() - path.stat().st_mtime > seconds:
                found.append(path.name)
    return found


def read(name: str) -> str:
    """Raises AdapterError where it is not there, or was encrypted with another SECRET_KEY."""
    if name in _lent:
        return _lent[name]
    try:
        return _open(_path(name))
    except FileNotFoundError:
        what = "is not on this machine"
    except (InvalidTag, ValueError):
        what = "was encrypted with another SECRET_KEY"
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
    raise AdapterError(Failure.PERMANENT, f"The key that was given {what}: give it again on its page.")


@contextmanager
def lend(value: str) -> Iterator[str]:
    """A name under which `value` can be read here and now, by this process alone: to try a key before it is kept."""
    name = f"lent-{secrets.token_hex(16)}"
    _lent[name] = value
    try:
        yield name
    finally:
        del _lent[name]


def values() -> frozenset[str]:
    """Of all that is kept or lent, for the redactor. What cannot be decrypted here cannot be shown by us either."""
    global _seen  # noqa: PLW0603
    directory = _directory()
    try:
        changed = directory.stat().st_mtime_ns
    except FileNotFoundError:
        return frozenset(list(_lent.values()))
    place = (str(directory), changed)
    if _seen is None or _seen[0] != place:
        found = frozenset(_readable(directory))
        settled = time.time_ns() - changed > _SETTLED_NS
        _seen = (place, found) if settled else None
    else:
        found = _seen[1]
    return found | frozenset(list(_lent.values())) if _lent else found


def _readable(directory: Path) -> Iterator[str]:
    for path in directory.iterdir():
        if _NAME.fullmatch(path.name):
            try:
                yield _open(path)
            except (OSError, InvalidTag, ValueError):
                continue


def _open(path: Path) -> str:
    sealed = path.read_bytes()
    return _cipher().decrypt(sealed[:_NONCE], sealed[_NONCE:], path.name.encode()).decode()


def _directory() -> Path:
    return _beneath(settings.DATA_DIR)


@lru_cache(maxsize=4)
def _beneath(data: Path | str) -> Path:
    return Path(data) / "keys"


def _path(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:60]!r} is not the name of a key")
    return _directory() / name


def _cipher() -> AESGCM:
    return _cipher_of(settings.SECRET_KEY)


@lru_cache(maxsize=4)
def _cipher_of(secret_key: str) -> AESGCM:
    derived = HKDF(hashes.SHA256(), 32, salt=None, info=b"swarmsite keyring").derive(secret_key.encode())
    return AESGCM(derived)
