"""A running program that is written to and read from by one thread, which never waits for it without a limit."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.sandbox.output import BoundedOutput
from orchestration.adapters.sandbox.wake import CHUNK, Wake
from orchestration.domain.errors import AdapterError, Failure

MOST_UNREAD = 32 * 1024 * 1024
ERRORS_KEPT = 200_000


@dataclass(frozen=True, slots=True)
class Pipes:
    """Our ends of its standard streams, and the pidfd that is ready at its end."""

    input: int
    output: int
    errors: int
    exited: int


class Child:
    """Made by `talking`. What it writes to its standard error is kept in `errors`, head and tail."""

    def __init__(
        self,
        pipes: Pipes,
        wake: int,
        cancellation: Cancellation,
        exit_code: Callable[[], int | None],
        limit: Callable[[], str],
    ) -> None:
        self._pipes = pipes
        self._wake = wake
        self._cancellation = cancellation
        self._exit_code = exit_code
        self._limit = limit
        self._unsent = bytearray()
        self._closing = False
        self._open = {pipes.input, pipes.output, pipes.errors}
        self._told = False
        self.errors = BoundedOutput(ERRORS_KEPT)
        self.last_sign = time.monotonic()
        for fd in self._open:
            os.set_blocking(fd, False)

    @property
    def exit_code(self) -> int | None:
        """Once it has ended: its own. None while it runs and where it was killed. Ends what is left of it."""
        return self.wait_exit_code(0)

    def wait_exit_code(self, seconds: float = 1) -> int | None:
        """The same after a wait: whoever closes its output is about to end."""
        return self._exit_code() if _ready(self._pipes.exited, seconds) else None

    @property
    def limit(self) -> str:
        """The sentence for the limit that it met; empty: none."""
        return self._limit()

    def send(self, data: bytes) -> None:
        """Written while we read, so that neither waits for the other. Raises AdapterError where it reads nothing."""
        if len(self._unsent) + len(data) > MOST_UNREAD:
            raise AdapterError(Failure.PERMANENT, f"The program left more than {MOST_UNREAD} bytes unread.")
        self._unsent += data

    def close_input(self) -> None:
        """After what was sent before: it reads the end of its input."""
        self._closing = True

    def read(self, timeout_s: float) -> bytes | None:
        """What it printed next; nothing (b"") once its output is at an end, None where it is silent for so long.

        The first look after a cancel raises AdapterError, so that the caller can say goodbye.
        """
        deadline = time.monotonic() + timeout_s
        while self._pipes.output in self._open:
            ready = self._poll(max(0.0, deadline - time.monotonic()))
            if self._wake in ready and not self._told:
                self._told = True
                self._cancellation.check()
            if self._pipes.output in ready and (data := self._take(self._pipes.output)) is not None:
                return data
            if self._pipes.exited in ready:
                return self._last()
            if not ready and time.monotonic() >= deadline:
                return None
        return b""

    def _poll(self, seconds: float) -> set[int]:
        """What is ready of what the caller has to look at; input and errors are seen to here."""
        poll = select.poll()
        for fd in (self._pipes.output, self._pipes.errors):
            if fd in self._open:
                poll.register(fd, select.POLLIN)
        if self._pipes.input in self._open and (self._unsent or self._closing):
            poll.register(self._pipes.input, select.POLLOUT)
        for fd in (self._pipes.exited, *(() if self._told else (self._wake,))):
            poll.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(seconds * 1000)}
        if self._pipes.input in ready:
            self._write()
        if self._pipes.errors in ready and (said := self._take(self._pipes.errors)):
            self.errors.feed(said)
        return ready

    def _take(self, fd: int) -> bytes | None:
        """The next bytes, nothing at the end, None where there are none yet."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return None
        if not data:
            self._open.discard(fd)
        self.last_sign = time.monotonic()
        return data

    def _last(self) -> bytes:
        """It has ended: what is left in its pipes, a piece at a time."""
        while self._pipes.errors in self._open and (said := self._take(self._pipes.errors)):
            self.errors.feed(said)
        data = self._take(self._pipes.output)
        if not data:
            self._open.discard(self._pipes.output)
        return data or b""

    def _write(self) -> None:
        try:
            written = os.write(self._pipes.input, self._unsent[:CHUNK]) if self._unsent else 0
        except BlockingIOError:
            return
        except BrokenPipeError:  # it reads no more; how it ends says why
            self._unsent.clear()
            self._shut()
            return
        del self._unsent[:written]
        if self._closing and not self._unsent:
            self._shut()

    def _shut(self) -> None:
        """Another descriptor takes its place, so that whoever owns the number can close it."""
        self._open.discard(self._pipes.input)
        with suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(null, self._pipes.input, inheritable=False)
            os.close(null)


@contextmanager
def talking(
    pipes: Pipes, cancellation: Cancellation, exit_code: Callable[[], int | None], limit: Callable[[], str]
) -> Iterator[Child]:
    with Wake() as wake, cancellation.calling(wake.set):
        yield Child(pipes, wake.fd, cancellation, exit_code, limit)


def _ready(pidfd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
