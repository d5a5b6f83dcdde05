"""Looks beneath one directory by descriptors, following no link, however a hostile agent filled it."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path

from orchestration.domain.errors import SwarmsiteError

INSIDE = "/workspace"  # where the sandbox shows the workspace, and so what a model calls it
MAX_WALK = 100_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class ToolError(SwarmsiteError):
    """What a model asked for cannot be done; the text tells the model why."""


def components(path: str) -> list[str]:
    """The names in a path as a model writes it, relative to the workspace. Raises ToolError."""
    if _CONTROL.search(path):
        raise ToolError("The path contains control characters.")
    try:
        path.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ToolError("The path is no valid text.") from error
    if path == INSIDE or path.startswith(INSIDE + "/"):
        path = path.removeprefix(INSIDE).lstrip("/")
    if path.startswith("/"):
        raise ToolError(f"{path} is outside the workspace; give a path relative to it.")
    names = [name for name in path.split("/") if name not in {"", "."}]
    for name in names:
        _require_allowed(name, path)
    return names


def _require_allowed(name: str, path: str) -> None:
    if name == "..":
        raise ToolError(f"{path} may lead outside the workspace; give the path without '..'.")
    if name.casefold() == ".git":
        raise ToolError(f"{path} is git's own; it is kept for you and cannot be read or changed.")
    if len(os.fsencode(name)) > 255:
        raise ToolError("A name in the path is longer than 255 bytes.")


def require(condition: bool, sentence: str) -> None:  # noqa: FBT001 - reads as assert does
    if not condition:
        raise ToolError(sentence)


def require_directory(fd: int, path: str) -> None:
    require(stat.S_ISDIR(os.fstat(fd).st_mode), f"{path} is no directory.")


def opened(stack: ExitStack, name: str | Path, parent: int | None, path: str = "") -> int:
    try:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError as error:
        raise ToolError(f"{path or name} does not exist.") from error
    except OSError as error:
        raise ToolError(f"{path or name} cannot be opened: {error.strerror}.") from error
    stack.callback(os.close, fd)
    return fd


class Walk:
    """What is beneath a directory, in the order of names, without .git and without following links."""

    def __init__(self, root: int, depth: int) -> None:
        self._root = root
        self._depth = depth
        self._seen = 0
        self.note = ""

    def entries(self, most: int) -> list[str]:
        lines: list[str] = []
        for path, mode, target in self._beneath(self._root, "", self._depth):
            if len(lines) == most:
                self.note = f"(only the first {most} entries; list a directory below or take a smaller depth)"
                break
            end = "/" if stat.S_ISDIR(mode) else f" -> {shown(target)}" if target else ""
            lines.append(shown(path) + end)
        return lines

    def files(self) -> Iterator[str]:
        return (path for path, mode, _ in self._beneath(self._root, "", self._depth) if not stat.S_ISDIR(mode))

    def _beneath(self, directory: int, prefix: str, depth: int) -> Iterator[tuple[str, int, str]]:
        """(path, mode, where it leads if it is a link) of each entry, directories before what they hold."""
        with self._readable(directory) as fd:
            for name in self._names(fd):
                with suppress(FileNotFoundError):
                    mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
                    target = os.readlink(name, dir_fd=fd) if stat.S_ISLNK(mode) else ""
                    yield prefix + name, mode, target
                    if stat.S_ISDIR(mode) and depth > 1:
                        yield from self._below(fd, name, prefix, depth)

    def _below(self, fd: int, name: str, prefix: str, depth: int) -> Iterator[tuple[str, int, str]]:
        with ExitStack() as stack:
            try:
                child = opened(stack, name, fd)
                require_directory(child, name)
            except ToolError:  # it was swapped while we looked
                self.note = "(the files changed while they were listed)"
                return
            yield from self._beneath(child, f"{prefix}{name}/", depth - 1)

    @contextmanager
    def _readable(self, directory: int) -> Iterator[int]:
        fd = -1
        try:
            fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        except PermissionError:
            self.note = "(some directories may not be read)"
        try:
            yield fd
        finally:
            if fd >= 0:
                os.close(fd)

    def _names(self, fd: int) -> list[str]:
        if fd < 0:
            return []
        room = MAX_WALK - self._seen
        with os.scandir(fd) as entries:
            names = [entry.name for entry in islice(entries, room + 1) if entry.name.casefold() != ".git"]
        self._seen += len(names)
        if len(names) > room:
            self.note = f"(there are more than {MAX_WALK} entries; the rest was not looked at)"
        return sorted(names[: max(room, 0)])


def matches(parts: list[str], segments: list[str]) -> bool:
    """Whether the names of a path match those of a pattern, in time proportional to both."""
    at = _past_any({0}, segments)
    for part in parts:
        stay = {index for index in at if index < len(segments) and segments[index] == "**"}
        step = {
            index + 1 for index in at - stay if index < len(segments) and fnmatch.fnmatchcase(part, segments[index])
        }
        at = _past_any(stay | step, segments)
    return len(segments) in at


def _past_any(at: set[int], segments: list[str]) -> set[int]:
    """`**` also stands for no directory at all."""
    reached = set(at)
    for index, segment in enumerate(segments):
        if index in reached and segment == "**":
            reached.add(index + 1)
    return reached


def shown(name: str) -> str:
    """Names are a repository's: what would break or disguise a line is written as an escape."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in name
    )
