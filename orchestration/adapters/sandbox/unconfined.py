"""No sandbox: a plain process group with time and output limits, for whoever asked for "none" by name."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.sandbox import watching
from orchestration.adapters.sandbox.boxes import DEFAULT_LIMITS, Command, CommandResult, Limits, Program, existing
from orchestration.adapters.sandbox.child import Child, Pipes, talking
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
        return UnconfinedBox(existing(workspace), limits, shown)


class UnconfinedBox:
    """A working directory, a home of its own, and a process group that is killed at the end."""

    def __init__(self, workspace: Path, limits: Limits, shown: tuple[Path, ...] = ()) -> None:
        self._workspace = workspace
        self._limits = limits
        self._shown = shown
        self.workspace = str(workspace)
        self.home = tempfile.mkdtemp(prefix="swarmsite-home-")

    def run(self, command: Command, *, timeout_s: float, cancellation: Cancellation | None = None) -> CommandResult:
        cancellation = cancellation or Cancellation()
        cancellation.check()
        started = time.monotonic()
        sink = BoundedOutput(self._limits.output_bytes)
        with self._start(command, subprocess.STDOUT, self._input(command)) as process:
            end = _follow(process, sink, timeout_s, cancellation)
        if end is watching.End.CANCELLED:
            cancellation.check()
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        limit = watching.limit_met(end, code, self._limits, timeout_s)
        return watching.result(end, code, sink, started, limit)

    @contextmanager
    def start(self, program: Program, *, cancellation: Cancellation) -> Iterator[Child]:
        cancellation.check()
        with self._start(program, subprocess.PIPE, subprocess.PIPE) as process, _tracked(process) as (exited, end):
            input_, output, errors = (
                stream.fileno() for stream in (process.stdin, process.stdout, process.stderr) if stream
            )
            with talking(Pipes(input_, output, errors, exited), cancellation, end, str) as child:
                yield child

    def _start(self, command: Command, errors: int, given: int) -> subprocess.Popen[bytes]:
        vector = arguments(command.command if isinstance(command, Program) else command)
        require_short(vector)
        blocks = self._limits.file_size_mb * 2048
        limited = ["/bin/sh", "-c", _LIMITED, "sh", str(blocks), str(self._limits.open_files)]
        try:
            return subprocess.Popen(
                [*limited, *vector],
                cwd=self._workspace,
                env=self._environment() | dict(self._settle(command)),
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                bufsize=0,
            )
        finally:
            if given >= 0:
                os.close(given)

    def _input(self, command: Command) -> int:
        if not isinstance(command, Program) or not command.input:
            return subprocess.DEVNULL
        fd = os.memfd_create("swarmsite")
        with open(fd, "wb", closefd=False) as file:
            file.write(command.input)
        os.lseek(fd, 0, os.SEEK_SET)
        return fd

    def _settle(self, command: Command) -> Mapping[str, str]:
        """Lays a program's files into the home; the variables that it gets beside the box's."""
        if not isinstance(command, Program):
            return {}
        for name, text in command.files.items():
            path = Path(self.home, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return command.environment

    def _environment(self) -> dict[str, str]:
        own = [str(place) for one in self._shown for place in (one / "bin", one / ".bin") if place.is_dir()]
        return {
            "PATH": ":".join([*own, os.environ.get("PATH", os.defpath)]),
            "HOME": self.home,
            "TMPDIR": self.home,
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def close(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)

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
    output, kill = process.stdout.fileno(), partial(_kill, process)
    with _tracked(process) as (exited, _):
        end = watching.watch(output, exited, sink, timeout_s=timeout_s, kill=kill, cancellation=cancellation)
    watching.drain(output, sink)
    return end


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Before the wait: until then the number of the group cannot belong to anybody else."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _tracked(process: subprocess.Popen[bytes]) -> Iterator[tuple[int, Callable[[], int | None]]]:
    """Its pidfd, and what ends it and says how; on leaving, the whole group is dead."""
    exited = os.pidfd_open(process.pid)

    def end() -> int | None:
        _kill(process)
        process.wait()
        return process.returncode if process.returncode >= 0 else None

    try:
        yield exited, end
    finally:
        end()
        os.close(exited)
        _await_group(process.pid)


def _await_group(group: int) -> None:
    """The killed members need a moment, and where the first process of a container reaps nobody, for ever."""
    deadline = time.monotonic() + GROUP_DEATH_S
    with suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.001)
