"""Writes what is small without a child: commit objects and pins, in git's own formats and as durably.

A child costs more than all else about them, and the repository is written only by this package.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from orchestration.adapters.git.directory import GitDirectory
from orchestration.adapters.git.runner import check_sha, is_sha
from orchestration.domain.errors import AdapterError, Failure

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Objects(GitDirectory):
    """Loose objects and loose refs. Each appears whole or not at all; git leaves names that end in .lock alone."""

    def write_object(self, kind: str, content: bytes) -> str:
        """Its id. One that is there already is not written again."""
        data = f"{kind} {len(content)}\0".encode() + content
        sha = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        if not self.has_loose(sha):
            _appear(Path(self._loose(sha)), zlib.compress(data, 1), mode=0o444)
        return sha

    def has_loose(self, sha: str) -> bool:
        return os.path.exists(self._loose(sha))  # noqa: PTH110

    def read_loose(self, kind: str, sha: str) -> bytes | None:
        """What it holds; None where it is packed, not there or of another kind, which a child can tell."""
        try:
            with open(self._loose(sha), "rb") as file:  # noqa: PTH123
                raw = zlib.decompress(file.read())
        except (OSError, zlib.error):
            return None
        head, _, content = raw.partition(b"\0")
        return content if head == f"{kind} {len(content)}".encode() else None

    def blobs(self, shas: Sequence[str]) -> Iterator[bytes]:
        """The content of each: of what was just written without a child, of all else through one each."""
        for sha in shas:
            content = self.read_loose("blob", sha)
            yield self.run("cat-file", "blob", check_sha(sha)).stdout if content is None else content

    def read_ref(self, ref: str) -> str | None:
        """What the loose ref holds; None where it is not there, which may also mean that it is packed."""
        try:
            return (self.path / ref).read_text().strip()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def write_ref(self, ref: str, sha: str) -> None:
        """Wherever it was before."""
        _appear(self.path / ref, f"{sha}\n".encode(), mode=0o644)

    def swap_ref(self, ref: str, new: str, old: str) -> bool | None:
        """Under the lock that git takes for it. None where git is to do it: the ref is packed, or somebody has it."""
        path, lock = self.path / ref, self.path / f"{ref}.lock"
        with _told(path), suppress(FileExistsError, FileNotFoundError), _created(lock) as file:
            now = self.read_ref(ref)
            if now == old:
                file.write(f"{new}\n".encode())
                file.flush()
                os.fsync(file.fileno())
                lock.replace(path)
                return True
            if now is not None and is_sha(now):
                return False
        return None

    def remove_ref(self, ref: str) -> None:
        with _told(self.path / ref), suppress(FileNotFoundError):
            (self.path / ref).unlink()

    @property
    def has_packed_refs(self) -> bool:
        return (self.path / "packed-refs").exists()

    def _loose(self, sha: str) -> str:
        return f"{self.path}/objects/{sha[:2]}/{sha[2:]}"


def _appear(path: Path, content: bytes, *, mode: int) -> None:
    growing = f"{path}.{secrets.token_hex(8)}.lock"
    with _told(path):
        try:
            descriptor = os.open(growing, _NEW, mode)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(growing, _NEW, mode)
        try:
            while content:
                content = content[os.write(descriptor, content) :]
            os.fsync(descriptor)
            os.rename(growing, path)  # noqa: PTH104
        except BaseException:
            os.unlink(growing)  # noqa: PTH108
            raise
        finally:
            os.close(descriptor)


@contextmanager
def _created(path: Path) -> Iterator[BinaryIO]:
    """A file that was not there before, and is not afterwards unless it was renamed. FileExistsError: it was."""
    descriptor = os.open(path, _NEW, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        made = os.fstat(descriptor).st_ino
        try:
            yield file
        finally:
            with suppress(FileNotFoundError):
                if path.stat().st_ino == made:
                    path.unlink()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AdapterError(Failure.TRANSIENT, f"{path.name} could not be written: {error.strerror}.") from error
