"""Boxes made by bubblewrap: own namespaces, a read-only system, limits for the whole group of a command."""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.sandbox import cgroups, isolation, mounts, watching
from orchestration.adapters.sandbox.boxes import DEFAULT_LIMITS, Command, CommandResult, Limits, Program, existing
from orchestration.adapters.sandbox.child import Child, Pipes, talking
from orchestration.adapters.sandbox.commands import LONGEST_ARGUMENT, arguments, require_short, shell
from orchestration.adapters.sandbox.launch import Launch, packed
from orchestration.adapters.sandbox.output import BoundedOutput
from orchestration.domain.errors import AdapterError, Failure

# The first process of each namespace, whose end is the end of all in it. bwrap's own would not do: bwrap leaves
# before it, and where the server is a container's first process nobody would ever reap it. It collects orphans
# and keeps quiet about signals; the command is no builtin of it and does not get its third descriptor.
FIRST = (b"/bin/sh", b"-c", b'exec 3>&2 2>/dev/null; (exec "$@" 2>&3 3>&-); exit $?', b"sh")
CHECK_S = 60.0
CHECK_BYTES = 1_000_000


class Bubblewrap:
    """bwrap 0.8 or newer. `tools` are directories that an operator shows to every box, read-only; `hidden` are
    directories of ours that no box may see, checked each time one is opened.
    """

    name = "bubblewrap"
    isolated = True

    def __init__(
        self,
        *,
        tools: tuple[Path, ...] = (),
        hidden: tuple[Path, ...] = (),
        groups: cgroups.Groups | None = None,
    ) -> None:
        self._bwrap = shutil.which("bwrap")
        self._tools = (*mounts.interpreter(), *tools)
        self._hidden = hidden
        self._groups = cgroups.Groups.here() if groups is None else groups

    def describe(self) -> str:
        return f"Commands run in bubblewrap; processes are limited {self._processes()}, memory {self._memory()}."

    def _processes(self) -> str:
        if self._groups.bounds("pids"):
            return "by control group"
        return "by nothing (the server is root)" if os.geteuid() == 0 else "by resource limit"

    def _memory(self) -> str:
        return "by control group" if self._groups.bounds("memory") else "for each process, not for their sum"

    def open(
        self,
        workspace: Path,
        *,
        limits: Limits = DEFAULT_LIMITS,
        network: bool = False,
        read_only: bool = False,
        shown: tuple[Path, ...] = (),
    ) -> BubblewrapBox:
        if self._bwrap is None:
            raise AdapterError(Failure.PERMANENT, "bubblewrap is not installed.")
        view = mounts.View(existing(workspace), read_only=read_only, network=network, tools=self._tools, shown=shown)
        box = BubblewrapBox(self._bwrap, view, limits, self._groups)
        try:
            box.verify(self._hidden)
        except BaseException:
            box.close()
            raise
        return box


class BubblewrapBox:
    """One workspace. Every command gets fresh namespaces, so /tmp and the home directory start empty each time."""

    workspace = mounts.WORKSPACE
    home = mounts.HOME

    def __init__(self, bwrap: str, view: mounts.View, limits: Limits, groups: cgroups.Groups) -> None:
        self._bwrap = bwrap
        self._view = view
        self._limits = limits
        self._options = [packed(words) for words in mounts.options(view)]
        try:  # one more process: the first of the namespace
            self._group = groups.make(processes=limits.processes + 1, memory_mb=limits.memory_mb)
        except OSError as error:
            raise AdapterError(Failure.TRANSIENT, f"No control group could be made: {error}") from error
        self._resources = _resources(limits, groups)
        self._closed = False

    def run(self, command: Command, *, timeout_s: float, cancellation: Cancellation | None = None) -> CommandResult:
        self._require_open()
        return self._run(command, timeout_s, cancellation or Cancellation(), self._limits.output_bytes)

    @contextmanager
    def start(self, program: Program, *, cancellation: Cancellation) -> Iterator[Child]:
        self._require_open()
        cancellation.check()
        before = self._group.met()
        with self._launch(program, None) as launch:
            self._confine(launch)
            pipes = Pipes(launch.input, launch.output, launch.errors, launch.exited)
            with talking(pipes, cancellation, launch.end, partial(self._met_since, before)) as child:
                yield child

    def _require_open(self) -> None:
        if self._closed:
            raise AdapterError(Failure.PERMANENT, "The sandbox of this workspace was closed.")

    def _launch(self, command: Command, input_: bytes | None) -> Launch:
        vector, files = self._vector(command)
        more = command.environment if isinstance(command, Program) else {}
        return Launch(self._bwrap, partial(self._packed, more), files, [*FIRST, *vector], input_=input_)

    def _run(self, command: Command, timeout_s: float, cancellation: Cancellation, output_bytes: int) -> CommandResult:
        cancellation.check()
        before = self._group.met()
        sink = BoundedOutput(output_bytes)
        with self._launch(command, command.input if isinstance(command, Program) else b"") as launch:
            started = time.monotonic()
            end = self._follow(launch, sink, timeout_s, cancellation)
            code = launch.exit_code()
        if end is watching.End.CANCELLED:
            cancellation.check()
        limit = self._limit_met(end, code, before, timeout_s)
        if code is None and not limit:
            raise AdapterError(Failure.PERMANENT, f"The sandbox could not be set up: {sink.text().strip()}")
        return watching.result(end, code, sink, started, limit)

    def _follow(
        self, launch: Launch, sink: BoundedOutput, timeout_s: float, cancellation: Cancellation
    ) -> watching.End:
        self._confine(launch)
        end = watching.watch(
            launch.output, launch.exited, sink, timeout_s=timeout_s, kill=launch.kill, cancellation=cancellation
        )
        launch.bury()
        watching.drain(launch.output, sink)
        return end

    def _confine(self, launch: Launch) -> None:
        """Bound its first process, and with that all of it, before it goes on."""
        try:
            self._group.add(launch.first)
        except OSError as error:
            raise AdapterError(Failure.TRANSIENT, f"A control group took no process: {error}") from error
        launch.release(self._resources)

    def _packed(self, more: Mapping[str, str], files: Mapping[str, int]) -> bytes:
        before, after = self._options
        return before + packed(mounts.files(files)) + after + packed(mounts.variables(more))

    def _vector(self, command: Command) -> tuple[list[bytes], dict[str, bytes]]:
        """The vector, and the files to show inside. A shell's text that the kernel refuses becomes a file."""
        vector = arguments(command.command if isinstance(command, Program) else command)
        files = dict(mounts.STUBS)
        if isinstance(command, Program):
            files |= {f"{mounts.HOME}/{path}": text.encode() for path, text in command.files.items()}
        if isinstance(command, str) and len(vector[-1]) > LONGEST_ARGUMENT:
            files[mounts.SCRIPT] = vector[-1]
            vector = [shell().encode(), mounts.SCRIPT.encode()]
        require_short(vector)
        return vector, files

    def _limit_met(self, end: watching.End, code: int | None, before: cgroups.Met, timeout_s: float) -> str:
        return watching.limit_met(end, code, self._limits, timeout_s) or self._met_since(before)

    def _met_since(self, before: cgroups.Met) -> str:
        now = self._group.met()
        if now.memory > before.memory:
            return f"The command needed more than {self._limits.memory_mb} MB of memory; a process was killed."
        if now.processes > before.processes:
            return f"The command wanted more than {self._limits.processes} processes at once."
        return ""

    def verify(self, hidden: Sequence[Path]) -> None:
        """Look from inside, and raise AdapterError where anything shows that must not."""
        probe = isolation.probe(hidden)
        seen = self._run(probe.command, CHECK_S, Cancellation(), CHECK_BYTES)
        found = isolation.breaches(
            seen.output,
            probe.mark,
            allowed=mounts.environment(self._view.tools),
            network=self._view.network,
            read_only=self._view.read_only,
            outside=[str(Path("/proc/self/ns", kind).readlink()) for kind in ("pid", "net")],
        )
        if found:
            raise AdapterError(Failure.PERMANENT, f"The sandbox does not isolate: {'; '.join(found)}.")

    def close(self) -> None:
        self._closed = True
        self._group.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _resources(limits: Limits, groups: cgroups.Groups) -> dict[int, int]:
    """What binds each process; of the number of processes: all of a box, if the server is an ordinary user."""
    each = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: limits.file_size_mb * 1024 * 1024,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_NPROC: limits.processes + 1,
    }
    if not groups.bounds("memory"):
        # Of the address space a WebAssembly runtime only reserves more than that: node ends where it is limited.
        each[resource.RLIMIT_DATA] = limits.memory_mb * 1024 * 1024
    return each
