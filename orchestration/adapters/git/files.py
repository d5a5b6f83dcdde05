"""An agent's directory as found on disk. Links are never followed."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestration.domain.errors import AdapterError, Failure

_LEFT_OUT_BY_HFS = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")


@dataclass(slots=True)
class Workspace:
    """`path` is what an agent sees; `index` is ours and lies outside of it, as does the list of commits. `staged`: the
    index may hold more than the commit of the reset."""

    path: Path
    index: Path
    slot: str
    staged: bool = False

    @property
    def commits(self) -> list[str]:
        """The commit it was reset to, then the snapshots made of it since; empty while it is being reset."""
        file = self.index.with_name("commits")
        return file.read_text().split() if file.is_file() else []

    def forget_commits(self) -> None:
        self.index.with_name("commits").unlink(missing_ok=True)

    def add_commit(self, sha: str) -> None:
        with self.index.with_name("commits").open("a") as file:
            file.write(f"{sha}\n")

    def index_is_of(self, sha: str) -> bool:
        """Whether it holds that commit and nothing else."""
        return self.commits == [sha] and not self.staged

    def unlock_index(self) -> None:
        """Drop the lock of a killed child: whoever holds the workspace is the only one to touch its index."""
        self.index.with_name(f"{self.index.name}.lock").unlink(missing_ok=True)


def odd_entries(top: Path) -> Iterator[os.DirEntry[str]]:
    """Every .git, which is not entered, and every device, pipe or socket. Each directory is made usable first."""
    waiting = [str(top)]
    while waiting:
        directory = waiting.pop()
        _make_usable(directory)
        with os.scandir(directory) as entries:
            for entry in entries:
                if is_dot_git(entry.name):
                    yield entry
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif not (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                    yield entry


def is_dot_git(name: str) -> bool:
    """What some file system or other takes for .git; Windows takes a backslash for the end of a directory's name."""
    if name.isascii() and "git" not in name.lower():
        return False
    return any(as_others_read(part) in {".git", "git~1"} for part in name.split("\\"))


def as_others_read(name: str) -> str:
    """As macOS and Windows read it, which leave some characters out."""
    plain = name if name.isascii() else _LEFT_OUT_BY_HFS.sub("", name)
    return plain.partition(":")[0].rstrip(" .").lower()


def content_at(top: Path, path: bytes) -> bytes:
    """What git would write of it: of a link its target; nothing where it is gone, or is nothing that git takes."""
    full = os.path.join(os.fsencode(top), path)  # noqa: PTH118 - bytes
    try:
        mode = os.lstat(full).st_mode
        if stat.S_ISLNK(mode):
            return os.readlink(full)  # noqa: PTH115 - bytes
        if not stat.S_ISREG(mode):
            return b""
        with open(os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return b""


def sweep(top: Path) -> bool:
    """Delete what git's own clean leaves alone, every .git and special file; whether anything else is there."""
    for entry in odd_entries(top):
        if is_dot_git(entry.name):
            remove(Path(entry.path))
        else:
            Path(entry.path).unlink()
    with os.scandir(top) as entries:
        return any(entries)


def remove(path: Path) -> None:
    """Delete it, however deep it is. What resists stays, and is tried again when the pool is next opened."""
    subprocess.run(["rm", "-rf", "--", str(path)], check=False, stdin=subprocess.DEVNULL, capture_output=True)


def _make_usable(directory: str) -> None:
    mode = os.lstat(directory).st_mode
    if not stat.S_ISDIR(mode):
        raise AdapterError(Failure.PERMANENT, f"{directory} is not a directory any more.")
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        Path(directory).chmod(stat.S_IMODE(mode) | stat.S_IRWXU)
