"""A child started by posix_spawn and heard to its end: subprocess and selectors take three times as long."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from threading import Lock
from typing import Self

CHUNK = 1 << 16
_AS_BY_DEFAULT = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores them, and what is ignored would stay so
_NOTHING = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)


class Spawned:
    """In a session of its own. For one thread; `kill` is for any. On leaving, its whole process group is dead."""

    def __init__(self, command: list[str], environment: Mapping[str, str], *, wants_input: bool) -> None:
        """Raises OSError."""
        _keep_what_we_inherited()
        self._lock = Lock()
        self._open: set[int] = set()
        self.code: int | None = None
        try:
            given, self._input = self._pipe() if wants_input else (-1, -1)
            self._output, printed = self._pipe()
            self._errors, said = self._pipe()
            streams = [
                (os.POSIX_SPAWN_DUP2, given, 0) if wants_input else _NOTHING,
                (os.POSIX_SPAWN_DUP2, printed, 1),
                (os.POSIX_SPAWN_DUP2, said, 2),
            ]
            self.pid = os.posix_spawnp(
                command[0], command, environment, file_actions=streams, setsid=True, setsigdef=_AS_BY_DEFAULT
            )
        except BaseException:
            self._close(*self._open)
            raise
        self._close(printed, said, *([given] if wants_input else []))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._close(*self._open)
        self._reap()

    def kill(self) -> None:
        """Too late it does nothing: until it is reaped its number is nobody else's."""
        with self._lock:
            if self.code is None:
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)

    def hear(self, stdin: bytes, deadline: float, max_bytes: int | None) -> tuple[bytes, bytes]:
        """Its output and its errors, once it closed both and took its input, or printed more than `max_bytes`. Raises
        TimeoutError."""
        heard: dict[int, list[bytes]] = {self._output: [], self._errors: []}
        waiting, size = memoryview(stdin), 0
        poll = select.poll()
        for fd in heard:
            poll.register(fd, select.POLLIN)
        if self._input in self._open:
            os.set_blocking(self._input, False)
            poll.register(self._input, select.POLLOUT)
        while self._open:
            for fd, _ in _ready(poll, deadline):
                if fd == self._input:
                    waiting = _feed(fd, waiting)
                    ended = not waiting
                else:
                    chunk = os.read(fd, CHUNK)
                    heard[fd].append(chunk)
                    size += len(chunk) if fd == self._output else 0
                    ended = not chunk
                if ended:
                    poll.unregister(fd)
                    self._close(fd)
            if max_bytes is not None and size > max_bytes:
                break
        return b"".join(heard[self._output]), b"".join(heard[self._errors])

    def wait(self, deadline: float) -> int:
        """How it ended; below zero: by that signal. Raises TimeoutError."""
        exited = os.pidfd_open(self.pid)
        try:
            poll = select.poll()
            poll.register(exited, select.POLLIN)
            _ready(poll, deadline)
        finally:
            os.close(exited)
        return self._reap()

    def _reap(self) -> int:
        """Waits for its end outside of the lock, so that it can be killed meanwhile. What it left running is killed."""
        if self.code is None:
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            self.kill()
            with self._lock:
                self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code

    def _pipe(self) -> tuple[int, int]:
        pipe = os.pipe()
        self._open.update(pipe)
        return pipe

    def _close(self, *fds: int) -> None:
        for fd in fds:
            self._open.discard(fd)
            os.close(fd)


@cache
def _keep_what_we_inherited() -> None:
    """Python opens nothing that a child would get, but whoever started us may have; and where the first three numbers
    were free, a pipe of ours would get one of them.
    """
    while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= 2:
        pass
    os.close(fd)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with suppress(OSError):
            if int(name) > 2:
                os.set_inheritable(int(name), False)  # noqa: FBT003 - it has no name


def _ready(poll: select.poll, deadline: float) -> list[tuple[int, int]]:
    left = deadline - time.monotonic()
    ready = poll.poll(left * 1000) if left > 0 else []
    if not ready:
        raise TimeoutError
    return ready


def _feed(fd: int, waiting: memoryview) -> memoryview:
    """What is still to be written; nothing once the child no longer listens."""
    try:
        return waiting[os.write(fd, waiting[:CHUNK]) :] if waiting else waiting
    except BrokenPipeError:
        return memoryview(b"")
