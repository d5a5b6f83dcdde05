"""What processes that were killed have left on this machine's disk, and what of it nobody can still be using."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from orchestration.adapters import storage
from orchestration.adapters.git.files import remove as remove_tree
from orchestration.adapters.serving.access import FORWARDER, SOCKET

YOUNG_S = 3600.0  # it may just be being made
SCRATCH_S = 24 * 3600.0  # longer than any of our children may run
SCRATCH = ("swarmsite-union-*", "swarmsite-index-*", "swarmsite-forecast-*")


def gateways() -> list[Path]:
    """Directories of agents' gateways at which nobody listens any more, whichever process it was."""
    return [one for one in _temporary("swarm-*", YOUNG_S) if _is_gateway(one) and not _listens(one / SOCKET)]


def scratch() -> list[Path]:
    return [one for pattern in SCRATCH for one in _temporary(pattern, SCRATCH_S)]


def workspaces() -> dict[str, Path]:
    """All pools, by the id of their repository."""
    return {one.name: one for one in _within(storage.data_directory() / "workspaces")}


def repositories() -> dict[str, Path]:
    """All bare repositories, by their id."""
    return {one.name.removesuffix(".git"): one for one in _within(storage.data_directory() / "repositories")}


def remove_pool(path: Path) -> None:
    """But not what a process still holds."""
    storage.workspace_pool(path.name).discard_unused(0)
    with suppress(OSError):  # something is still held
        path.rmdir()


def remove(path: Path) -> None:
    remove_tree(path)


def size_of(path: Path) -> int:
    """Bytes on the disk; what goes away meanwhile counts nothing."""
    total = 0
    for directory, _, files in os.walk(path):
        for name in files:
            with suppress(OSError):
                total += (Path(directory) / name).lstat().st_blocks * 512
    return total


def _temporary(pattern: str, older_than_s: float) -> Iterator[Path]:
    """Directories of our own user."""
    for path in Path(tempfile.gettempdir()).glob(pattern):
        with suppress(OSError):
            found = path.lstat()
            ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
            if ours and time.time() - found.st_mtime > older_than_s:
                yield path


def _is_gateway(path: Path) -> bool:
    """Nothing but what a gateway puts there: other programs use such names too."""
    with suppress(OSError):
        return {one.name for one in path.iterdir()} in ({SOCKET, FORWARDER}, {FORWARDER})
    return False


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # it is there, and has no time: somebody's
            return True
    return True


def _within(directory: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return sorted(one for one in directory.iterdir() if one.is_dir() and not one.name.startswith("."))
    return []
