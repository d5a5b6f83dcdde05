"""Starts one bwrap and holds its first process back until limits bind it; nothing of it outlives the launch."""

from __future__ import annotations

import os
import re
import resource
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from orchestration.adapters.sandbox import watching
from orchestration.adapters.sandbox.descriptors import Descriptors
from orchestration.adapters.sandbox.output import BoundedOutput
from orchestration.domain.errors import AdapterError, Failure

START_S = 60.0  # takes 2 ms; an overloaded machine is no broken sandbox
NICE = 5  # an agent's build must not keep the engine that serves a hundred others from answering
_CHILD = re.compile(rb'"child-pid": (\d+)\D')
_ENDED = re.compile(rb'"exit-code": (\d+)')


def packed(options: Iterable[str]) -> bytes:
    """As bwrap reads them from a file."""
    return b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in options)


class Launch:
    """One bwrap. Enter it, `release` it, watch `output` and `exited`; on leaving, its whole tree is dead.

    `input_` is what the command reads. None: a pipe, `input`; then `errors` is apart from `output`.

    bwrap dies with the *thread* that started it: stay in the thread.
    """

    def __init__(
        self,
        bwrap: str,
        options: Callable[[Mapping[str, int]], bytes],
        files: Mapping[str, bytes],
        command: Sequence[bytes],
        *,
        input_: bytes | None = b"",
    ) -> None:
        self._bwrap = bwrap
        self._options = options
        self._files = files
        self._command = command
        self._input = input_
        self._fds = Descriptors()
        self._process: subprocess.Popen[bytes] | None = None
        self._init = -1
        self._buried = False
        self._status = b""

    def __enter__(self) -> Self:
        try:
            self._start()
            self._await_init()
        except OSError as error:
            self._end()
            raise AdapterError(Failure.TRANSIENT, f"The sandbox did not start: {error}") from error
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _start(self) -> None:
        self._status_end, status = self._fds.pipe()
        held, self._gate = self._fds.pipe()
        self.output, output = self._fds.pipe()
        given, errors = self._other_streams(output)
        files = {path: self._fds.memory(text) for path, text in self._files.items()}
        own = packed(["--json-status-fd", str(status), "--block-fd", str(held)])
        arguments = self._fds.memory(self._options(files) + own)
        self._process = subprocess.Popen(
            [self._bwrap, "--args", str(arguments), "--", *self._command],
            env={},  # bwrap's own environment stays readable inside
            stdin=given,
            stdout=output,
            stderr=errors,
            pass_fds=(status, held, arguments, *files.values()),
            start_new_session=True,
        )
        self._fds.close(status, held, output, given, errors, arguments, *files.values())
        self.exited = self._fds.own(os.pidfd_open(self._process.pid))

    def _other_streams(self, output: int) -> tuple[int, int]:
        """The command's ends of its input and its errors."""
        self.errors = self.output
        if self._input is None:
            given, self.input = self._fds.pipe()
            self.errors, errors = self._fds.pipe()
            return given, errors
        return self._fds.memory(self._input) if self._input else subprocess.DEVNULL, output

    def _await_init(self) -> None:
        deadline = time.monotonic() + START_S
        while (match := _CHILD.search(self._status)) is None:
            if not self._read_status(deadline):
                raise AdapterError(Failure.PERMANENT, f"The sandbox did not start: {self._said()}")
        self.first = int(match[1])
        with suppress(ProcessLookupError):
            self._init = self._fds.own(os.pidfd_open(self.first))

    def release(self, limits: Mapping[int, int]) -> None:
        """Bind the resource limits to the first process, which everything inside inherits, and let it go on."""
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, self.first, os.getpriority(os.PRIO_PROCESS, 0) + NICE)
            for kind, value in limits.items():
                resource.prlimit(self.first, kind, (value, value))
        with suppress(BrokenPipeError):
            os.write(self._gate, b"!")
        self._fds.close(self._gate)

    def kill(self) -> None:
        """SIGKILL to the first process of the pid namespace takes everything in it along."""
        with suppress(ProcessLookupError):
            if self._init >= 0:
                signal.pidfd_send_signal(self._init, signal.SIGKILL)
            elif self._process is not None:
                self._process.kill()

    def bury(self) -> None:
        """Return when nothing of the tree is left: not what went to the background or to a session of its own.

        The first process is bwrap's child and bwrap ours, so that both are reaped, whoever reaps orphans here.
        """
        if self._buried:
            return
        self.kill()
        if self._init >= 0:
            watching.await_death(self._init)
        if self._process is not None:
            self._process.wait()
        self._buried = True

    def end(self) -> int | None:
        """Nothing of it is left; how it ended."""
        self.bury()
        return self.exit_code()

    def exit_code(self) -> int | None:
        """The command's own, once buried; None where it never ran or was killed together with its first process."""
        while self._read_status(time.monotonic()):
            pass
        match = _ENDED.search(self._status)
        return int(match[1]) if match else None

    def _read_status(self, deadline: float) -> bool:
        poll = select.poll()
        poll.register(self._status_end, select.POLLIN)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return False
        data = os.read(self._status_end, 4096)
        self._status += data
        return bool(data)

    def _said(self) -> str:
        self.bury()
        sink = BoundedOutput(2000)
        watching.drain(self.errors, sink)
        return sink.text().strip() or "bwrap said nothing."

    def _end(self) -> None:
        try:
            self.bury()
        finally:
            self._fds.close_all()
