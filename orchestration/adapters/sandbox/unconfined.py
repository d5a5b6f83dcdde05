"""No sandbox: a plain process group with time and output limits, for whoever asked for "none" by name."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.sandbox import watching
from orchestration.adapters.sandbox.boxes import DEFAULT_LIMITS, CommandResult, Limits, existing
from orchestration.adapters.sandbox.commands import arguments, require_short
from orchestration.adapters.sandbox.output import BoundedOutput

GROUP_DEATH_S = 1.0
# The soft and hard limits hold for every process below; 512-byte blocks and kilobytes are POSIX's units.
_LIMITED = 'ulimit -c 0; ulimit -f "$1"; ulimit -n "$2"; shift 2; exec "$@"'


class Unconfined:
    """Commands run as the server's user and see what it sees, except its environment."""

    name = "none"
    isolated = False

    def describe(self) -> str:
        return (
            "No sandbox: commands of agents can read and write whatever the server can, and reach the network. "
            "Time, output and file size are limited; processes and memory are not, and a process that starts a "
            "session of its own outlives its command."
        )

    def open(
        self,
        workspace: Path,
        *,
        limits: Limits = DEFAULT_LIMITS,
        network: bool = False,
        read_only: bool = False,
        shown: tuple[Path, ...] = (),
    ) -> UnconfinedBox:
        return UnconfinedBox(existing(workspace), limits)


class UnconfinedBox:
    """A working directory, a home of its own, and a process group that is killed at the end."""

    def __init__(self, workspace: Path, limits: Limits) -> None:
        self._workspace = workspace
        self._limits = limits
        self._home = tempfile.mkdtemp(prefix="swarmsite-home-")

    def run(
        self, command: str | Sequence[str], *, timeout_s: float, cancellation: Cancellation | None = None
    ) -> CommandResult:
        cancellation = cancellation or Cancellation()
        cancellation.check()
        vector = arguments(command)
        require_short(vector)
        started = time.monotonic()
        sink = BoundedOutput(self._limits.output_bytes)
        with self._start(vector) as process:
            end = _follow(process, sink, timeout_s, cancellation)
        if end is watching.End.CANCELLED:
            cancellation.check()
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        limit = watching.limit_met(end, code, self._limits, timeout_s)
        return watching.result(end, code, sink, started, limit)

    def _start(self, vector: list[bytes]) -> subprocess.Popen[bytes]:
        blocks = self._limits.file_size_mb * 2048
        limited = ["/bin/sh", "-c", _LIMITED, "sh", str(blocks), str(self._limits.open_files)]
        return subprocess.Popen(
            [*limited, *vector],
            cwd=self._workspace,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _environment(self) -> dict[str, str]:
        path = os.environ.get("PATH", os.defpath)
        return {
            "PATH": path,
            "HOME": self._home,
            "TMPDIR": self._home,
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def close(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _follow(
    process: subprocess.Popen[bytes], sink: BoundedOutput, timeout_s: float, cancellation: Cancellation
) -> watching.End:
    """Watch it to its end. However that comes, the whole group is dead afterwards."""
    if process.stdout is None:  # pragma: no cover - we asked for the pipe
        raise AssertionError
    output, exited = process.stdout.fileno(), os.pidfd_open(process.pid)

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    try:
        return watching.watch(output, exited, sink, timeout_s=timeout_s, kill=kill, cancellation=cancellation)
    finally:
        kill()  # before the wait: until then the number of the group cannot belong to anybody else
        process.wait()
        os.close(exited)
        _await_group(process.pid)
        watching.drain(output, sink)


def _await_group(group: int) -> None:
    """The killed members need a moment, and where the first process of a container reaps nobody, for ever."""
    deadline = time.monotonic() + GROUP_DEATH_S
    with suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.001)
