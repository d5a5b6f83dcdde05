"""Content by its SHA-256: artifacts and large outputs, each stored once, never overwritten."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from orchestration.domain.errors import AdapterError, Failure

_SHA256 = re.compile(r"[0-9a-f]{64}")


class BlobStore:
    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise AdapterError(Failure.PERMANENT, "That is no name of stored content.")
        return self.root / sha256[:2] / sha256[2:]

    def put(self, content: bytes) -> str:
        """Stores `content` and returns its name; whole or not at all."""
        name = hashlib.sha256(content).hexdigest()
        path = self._path(name)
        try:
            with suppress(FileNotFoundError):
                os.utime(path)  # as young as if it were written now: it is not taken for forgotten
                return name
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, content)
        except OSError as error:
            raise AdapterError(Failure.TRANSIENT, f"The content could not be stored: {error.strerror}.") from error
        return name

    def older_than(self, seconds: float) -> Iterator[str]:
        """Names of what was stored so long ago."""
        latest = time.time() - seconds
        for path in self.root.glob("[0-9a-f][0-9a-f]/*"):
            if _SHA256.fullmatch(name := path.parent.name + path.name) and path.stat().st_mtime < latest:
                yield name

    def size(self, sha256: str) -> int:
        """Bytes; none where it is gone."""
        with suppress(FileNotFoundError):
            return self._path(sha256).stat().st_size
        return 0

    def remove(self, sha256: str) -> None:
        """What is gone already is fine."""
        self._path(sha256).unlink(missing_ok=True)

    def get(self, sha256: str) -> bytes:
        try:
            return self._path(sha256).read_bytes()
        except FileNotFoundError as error:
            raise AdapterError(Failure.PERMANENT, "That content is not stored here any more.") from error
        except OSError as error:
            raise AdapterError(Failure.TRANSIENT, f"The content could not be read: {error.strerror}.") from error


def _write(path: Path, content: bytes) -> None:
    """Beside it and then in its place."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
