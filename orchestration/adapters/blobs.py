"""Content by its SHA-256: artifacts and large outputs, each stored once, never overwritten."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
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
        if path.exists():
            return name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, content)
        except OSError as error:
            raise AdapterError(Failure.TRANSIENT, f"The content could not be stored: {error.strerror}.") from error
        return name

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
