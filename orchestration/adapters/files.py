"""The file tools that a model is offered, safe beneath a workspace that a hostile agent may have filled.

Paths are walked component by component with directory descriptors; no answer is longer than a model can use.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.sandbox import Box
from orchestration.adapters.tree import (
    INSIDE,
    ToolError,
    Walk,
    components,
    matches,
    opened,
    require,
    require_directory,
    shown,
)
from orchestration.domain.errors import InvalidInput

__all__ = ["ToolError", "WorkspaceFiles", "grep"]

MAX_FILE = 10 * 1024 * 1024
PIECE = 64 * 1024
MAX_TEXT = 30_000
MAX_LINE = 2000
MAX_ENTRIES = 1000
MAX_LINKS = 20
MAX_DEPTH = 50
GREP_S = 30.0
GREP_LINES = 200
GREP_LINE = 300
_MATCH = re.compile(r"\./(.*?)(:\d+:.*)")


class WorkspaceFiles:
    """Reads and writes beneath `root` only. Every answer is text for a model."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def list_files(self, path: str = ".", depth: int = 2) -> str:
        """One entry a line, directories with a slash, links with their target; `depth` levels of them."""
        if not 1 <= depth <= MAX_DEPTH:
            raise ToolError(f"The depth must be from 1 to {MAX_DEPTH}.")
        with self._find(path) as found:
            require_directory(found, path)
            walk = Walk(found, depth)
            lines = walk.entries(MAX_ENTRIES)
        return _closed(lines, walk.note) if lines else "(empty directory)"

    def read_file(self, path: str, offset: int = 0, limit: int = 2000) -> str:
        """Lines as `number<tab>text`, counted from 1; `offset` is how many to pass over first."""
        if offset < 0 or limit < 1:
            raise ToolError("The offset must be 0 or more, the limit 1 or more.")
        data = self._content(path)
        if b"\0" in data[:8192]:
            return f"({path} is a binary file of {len(data)} bytes; its content is not shown.)"
        if not data:
            return f"({path} is empty.)"
        return _numbered(data.decode("utf-8", "replace").removesuffix("\n").split("\n"), offset, limit)

    def read_bytes(self, path: str) -> bytes:
        """The whole content as it is, for what is kept and not shown."""
        return self._content(path)

    def write_file(self, path: str, content: str) -> str:
        """Make or replace a file, with the directories above it; its mode is kept."""
        existed = self._replace(path, _encoded(content))
        lines = content.count("\n") + (not content.endswith("\n") and content != "")
        return f"{'Replaced' if existed else 'Created'} {path}: {lines} lines."

    def edit_file(self, path: str, old: str, new: str, replace_all: bool = False) -> str:  # noqa: FBT001, FBT002
        """Replace `old`, which must be there exactly once unless `replace_all`."""
        if not old or old == new:
            raise ToolError("The old text must not be empty and must differ from the new text.")
        try:
            text = self._content(path).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ToolError(f"{path} is no UTF-8 text; change it with a command.") from error
        if old not in text and "\r\n" in text:
            old, new = (part.replace("\r\n", "\n").replace("\n", "\r\n") for part in (old, new))
        count = text.count(old)
        if count == 0:
            raise ToolError(f"The old text was not found in {path}; read the file and copy it exactly.")
        if count > 1 and not replace_all:
            raise ToolError(
                f"The old text was found {count} times in {path}; give more of its surroundings or replace_all."
            )
        self._replace(path, _encoded(text.replace(old, new)))
        return f"Changed {path}: {count} {'place' if count == 1 else 'places'}."

    def glob(self, pattern: str) -> str:
        """Files that match, sorted. `**` stands for any directories; without a slash it is tried at any depth."""
        segments = components(pattern)
        if not segments or len(pattern) > 500:
            raise ToolError("Give a pattern such as src/**/*.py, of at most 500 characters.")
        if len(segments) == 1 and not pattern.startswith(("./", "/")):
            segments = ["**", *segments]
        with self._find(".") as root:
            walk = Walk(root, MAX_DEPTH)
            found = sorted(path for path in walk.files() if matches(path.split("/"), segments))
        if not found:
            return _closed([f"No file matches {pattern}."], walk.note)
        note = f"({len(found) - MAX_ENTRIES} more matches)" if len(found) > MAX_ENTRIES else walk.note
        return _closed([shown(path) for path in found[:MAX_ENTRIES]], note)

    @contextmanager
    def _find(self, path: str, *, follow: bool = True) -> Iterator[int]:
        """A descriptor (O_PATH) of what is there. It is never a link, and never outside. Raises ToolError."""
        with ExitStack() as stack:
            walked = [opened(stack, self._root, None)]
            pending, links = deque(components(path)), 0
            while pending:
                name = pending.popleft()
                if name == "..":  # only ever from a link
                    require(len(walked) > 1, f"{path} leads outside the workspace by a link.")
                    walked.pop()
                    continue
                found = opened(stack, name, walked[-1], path)
                if not stat.S_ISLNK(os.fstat(found).st_mode):
                    walked.append(found)
                    continue
                links += 1
                require(follow, f"{path} goes through a link; only what is no link can be written.")
                require(links <= MAX_LINKS, f"{path} goes through too many links.")
                target = os.readlink("", dir_fd=found)
                walked, names = _redirected(walked, target, path)
                pending.extendleft(reversed(names))
            yield walked[-1]

    def _content(self, path: str) -> bytes:
        with self._find(path) as found:
            size = _require_file(found, path)
            require(size <= MAX_FILE, f"{path} has {size} bytes; look at parts of it with a command.")
            try:
                return _whole(found)
            except OSError as error:
                raise ToolError(f"{path} cannot be read: {error.strerror}.") from error

    def _replace(self, path: str, content: bytes) -> bool:
        """True where there was a file before. The new content appears whole or not at all."""
        require(len(content) <= MAX_FILE, f"The content is larger than {MAX_FILE} bytes.")
        *parents, name = components(path) or [""]
        require(name != "", "Give the path of a file.")
        try:
            with self._parent(parents, path) as parent:
                mode = _mode(name, parent, path)
                _write(name, parent, content, 0o644 if mode is None else mode)
        except OSError as error:
            raise ToolError(f"{path} cannot be written: {error.strerror}.") from error
        return mode is not None

    @contextmanager
    def _parent(self, names: list[str], path: str) -> Iterator[int]:
        with ExitStack() as stack:
            at = opened(stack, self._root, None)
            for name in names:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=at)
                at = opened(stack, name, at, path)
                mode = os.fstat(at).st_mode
                require(not stat.S_ISLNK(mode), f"{path} goes through a link; it is not written.")
                require(stat.S_ISDIR(mode), f"{path} is no directory.")
            yield at


def _redirected(walked: list[int], target: str, path: str) -> tuple[list[int], list[str]]:
    """Where a link continues: from the root if it is absolute beneath /workspace, else from where it stands."""
    if target == INSIDE or target.startswith(INSIDE + "/"):
        walked, target = walked[:1], target.removeprefix(INSIDE)
    elif target.startswith("/"):
        raise ToolError(f"{path} leads outside the workspace by a link.")
    names = [name for name in target.split("/") if name not in {"", "."}]
    require(all(name.casefold() != ".git" for name in names), f"{path} leads to git's own files by a link.")
    return walked, names


def _require_file(fd: int, path: str) -> int:
    """Its size."""
    found = os.fstat(fd)
    require(not stat.S_ISDIR(found.st_mode), f"{path} is a directory; list it instead.")
    require(stat.S_ISREG(found.st_mode), f"{path} is no ordinary file.")
    return found.st_size


def _whole(found: int) -> bytes:
    """What is in the very file that was checked, and no more of it than can be used, however fast it grows."""
    fd, parts, room = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC), [], MAX_FILE + 1
    try:
        while room > 0 and (part := os.read(fd, min(room, PIECE))):
            parts.append(part)
            room -= len(part)
    finally:
        os.close(fd)
    return b"".join(parts)


def _mode(name: str, parent: int, path: str) -> int | None:
    """The permissions of the file that will be replaced; None where there is none."""
    try:
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None
    require(not stat.S_ISLNK(mode), f"{path} is a link; only what is no link can be written.")
    require(stat.S_ISREG(mode), f"{path} is no ordinary file.")
    return mode & 0o777


def _write(name: str, parent: int, content: bytes, mode: int) -> None:
    """Beside it and then in its place, so that neither a link nor a second name of the old file is written."""
    beside = f".{secrets.token_hex(8)}.new"
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
    try:
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(fd, left) :]
            os.fchmod(fd, mode)
        finally:
            os.close(fd)
        os.replace(beside, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=parent)
        raise


def grep(box: Box, pattern: str, path: str = ".", glob: str = "", cancellation: Cancellation | None = None) -> str:
    """Lines that match an extended regular expression, as `path:line:text`, searched inside the sandbox.

    There a pattern that takes for ever ends with its process.
    """
    segments = components(glob)
    if len(segments) == 1:
        segments = ["**", *segments]
    include = [f"--include={segments[-1]}"] if segments and segments[-1] != "**" else []
    target = "/".join([".", *components(path)])
    command = ["grep", "-rnHIE", "--exclude-dir=.git", *include, "-e", pattern, "--", target]
    try:
        result = box.run(command, timeout_s=GREP_S, cancellation=cancellation)
    except InvalidInput as error:
        raise ToolError(str(error)) from error
    require(not result.timed_out, f"The search took longer than {GREP_S:g} s; give a simpler pattern or a path.")
    require(not result.limit, result.limit)
    found = [line for line in map(_MATCH.fullmatch, result.output.split("\n")) if line]
    if segments:
        found = [line for line in found if matches(line[1].split("/"), segments)]
    if not found:
        require((result.exit_code or 0) < 2, result.output.strip()[:MAX_LINE])
        return "No line matches."
    lines = [_cut(shown(line[1]) + line[2], GREP_LINE) for line in found[:GREP_LINES]]
    more = len(found) > GREP_LINES or result.truncated
    return _closed(lines, f"(only the first {len(lines)} lines; narrow the pattern or the path)" if more else "")


def _numbered(lines: list[str], offset: int, limit: int) -> str:
    kept: list[str] = []
    room = MAX_TEXT
    for number, line in enumerate(lines[offset : offset + limit], offset + 1):
        text = f"{number:>6}\t{_cut(line.removesuffix(chr(13)), MAX_LINE)}"
        room -= len(text) + 1
        if room < 0:
            break
        kept.append(text)
    if not kept:
        return f"(There are only {len(lines)} lines.)"
    last = offset + len(kept)
    whole = offset == 0 and last == len(lines)
    onward = f"; go on with offset={last}" if last < len(lines) else ""
    return _closed(kept, "" if whole else f"(lines {offset + 1} to {last} of {len(lines)}{onward})")


def _cut(line: str, most: int) -> str:
    return line if len(line) <= most else f"{line[:most]} [... {len(line) - most} characters cut]"


def _closed(lines: list[str], note: str) -> str:
    """The lines as far as they fit, and a last one for what was left out."""
    text = "\n".join(lines)
    if len(text) > MAX_TEXT + 1000:
        text, note = text[:MAX_TEXT], note or "(the rest is left out; ask for less)"
    return f"{text}\n{note}" if note else text


def _encoded(content: str) -> bytes:
    try:
        return content.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ToolError("The content is no valid text.") from error
