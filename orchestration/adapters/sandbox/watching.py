"""Waits for a child in one thread: its output, its end, its deadline and a cancellation, whichever is first."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from enum import Enum

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.sandbox.boxes import CommandResult, Limits
from orchestration.adapters.sandbox.output import BoundedOutput
from orchestration.adapters.sandbox.wake import CHUNK, Wake
from orchestration.domain.errors import AdapterError, Failure

DRAIN_CHUNKS = 32  # a pipe holds 1 MiB at most; whoever still writes after the end is not waited for
DEATH_S = 10.0
FILE_TOO_LARGE = 128 + signal.SIGXFSZ  # what a shell reports


class End(Enum):
    """Why the wait is over."""

    EXITED = "exited"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"


def watch(
    output: int,
    exited: int,
    sink: BoundedOutput,
    *,
    timeout_s: float,
    kill: Callable[[], None],
    cancellation: Cancellation,
) -> End:
    """Read `output` into `sink` until the pidfd `exited` is ready; `kill` is called on timeout and cancel."""
    with Wake() as wake, cancellation.calling(wake.set):
        end = _until(time.monotonic() + timeout_s, output, exited, wake.fd, sink)
    if end is not End.EXITED:
        kill()
        await_death(exited)
    return end


def _until(deadline: float, output: int, exited: int, wake: int, sink: BoundedOutput) -> End:
    poll = select.poll()
    for fd in (output, exited, wake):
        poll.register(fd, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        ready = {fd for fd, _ in poll.poll(left * 1000)}
        if wake in ready:
            return End.CANCELLED
        if output in ready and not _read_once(output, sink):
            poll.unregister(output)  # it closed its output and may still be working
        if exited in ready:
            return End.EXITED
    return End.TIMED_OUT


def _read_once(fd: int, sink: BoundedOutput) -> bool:
    try:
        data = os.read(fd, CHUNK)
    except BlockingIOError:
        return True
    sink.feed(data)
    return bool(data)


def drain(fd: int, sink: BoundedOutput) -> None:
    """Take what is left in the pipe without waiting for anybody who still holds it."""
    os.set_blocking(fd, False)
    for _ in range(DRAIN_CHUNKS):
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return
        if not data:
            return
        sink.feed(data)


def await_death(pidfd: int) -> None:
    """Return once the process behind `pidfd` is gone; for the first of a pid namespace: with all in it."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if not poll.poll(DEATH_S * 1000):
        raise AdapterError(
            Failure.PERMANENT, f"A killed command was still there after {DEATH_S:g} s; look for stuck disk I/O."
        )


def limit_met(end: End, exit_code: int | None, limits: Limits, timeout_s: float) -> str:
    """The sentence for those limits that show in how the command ended."""
    if end is End.TIMED_OUT:
        return f"The command was ended after {timeout_s:g} s."
    if exit_code == FILE_TOO_LARGE:
        return f"The command wrote a file larger than {limits.file_size_mb} MB."
    return ""


def result(end: End, exit_code: int | None, sink: BoundedOutput, started: float, limit: str = "") -> CommandResult:
    timed_out = end is End.TIMED_OUT
    return CommandResult(
        exit_code=None if timed_out else exit_code,
        output=sink.text(),
        truncated=sink.truncated,
        timed_out=timed_out,
        duration_ms=round((time.monotonic() - started) * 1000),
        limit=limit,
    )
