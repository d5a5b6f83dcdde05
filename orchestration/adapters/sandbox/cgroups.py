"""Control groups (version 1, or a delegated version 2) that bound the processes and memory of one box."""

from __future__ import annotations

import itertools
import logging
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

log = logging.getLogger(__name__)
_numbers = itertools.count(1)
_NAME = re.compile(r"swarmsite-(\d+)-(\d+)-(\d+)-\d+")
_EMPTYING_S = 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """A directory in which groups can be made, with what they bound there."""

    directory: Path
    controllers: frozenset[str]
    unified: bool = False


@dataclass(frozen=True, slots=True)
class Met:
    """How often limits were met in a group so far."""

    processes: int = 0
    memory: int = 0


def candidates(cgroup: str, mountinfo: str) -> list[Place]:
    """Where a process with these two files of /proc could make groups, version 1 first."""
    ours = dict(_memberships(cgroup))
    places = []
    for root, mount, kind, options in _mounts(mountinfo):
        wanted = frozenset({"pids", "memory"} & set(options))
        if kind == "cgroup" and wanted:
            places.append(Place(_below(mount, root, ours.get(min(wanted), "/")), wanted))
    for root, mount, kind, _ in _mounts(mountinfo):
        if kind == "cgroup2" and not places:
            own = _below(mount, root, ours.get("", "/"))
            both = frozenset({"pids", "memory"})
            places += [Place(at, both, unified=True) for at in (own, own.parent) if at.is_relative_to(mount)]
    return places


def _memberships(cgroup: str) -> list[tuple[str, str]]:
    lines = (line.split(":", 2) for line in cgroup.splitlines())
    return [(name, path) for _, names, path in lines for name in names.split(",")]


def _mounts(mountinfo: str) -> list[tuple[str, Path, str, list[str]]]:
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(), after.split(" ", 2)
        if kind.startswith("cgroup"):
            found.append((fields[3], Path(fields[4]), kind, options.split(",")))
    return found


def _below(mount: Path, root: str, path: str) -> Path:
    """A container sees its own group as the root of the mount; elsewhere the path counts from there."""
    whole = PurePosixPath(path)
    return mount / (whole.relative_to(root) if whole.is_relative_to(root) else whole.relative_to("/"))


class Groups:
    """The places that work here, tried out; empty where none does."""

    def __init__(self, places: list[Place]) -> None:
        self.places = [place for place in places if _works(place)]
        if any(place.unified for place in self.places):
            self.places = self.places[:1]

    @classmethod
    def here(cls) -> Groups:
        """Those of this process. Groups of servers that died are emptied and removed on the way."""
        try:
            proc = Path("/proc/self")
            groups = cls(candidates((proc / "cgroup").read_text(), (proc / "mountinfo").read_text()))
        except OSError as error:
            log.info("No control groups on this machine: %s", error)
            return cls([])
        groups.sweep()
        return groups

    def bounds(self, controller: str) -> bool:
        return any(controller in place.controllers for place in self.places)

    def make(self, *, processes: int, memory_mb: int) -> Group:
        """A new group with these bounds. Raises OSError."""
        name = f"{_ours(os.getpid())}-{next(_numbers)}"
        group = Group([(f"{place.directory}/{name}", place) for place in self.places])
        try:
            group.create(processes, memory_mb * 1024 * 1024)
        except OSError:
            group.close()
            raise
        return group

    def sweep(self) -> None:
        """Kill and remove what servers left that are no more."""
        for place in self.places:
            for directory in place.directory.glob("swarmsite-*"):
                if _orphaned(directory.name):
                    _empty(directory)
                    _remove(str(directory))


class Group:
    """The directories of one box. Plain system calls: each command comes by here several times."""

    def __init__(self, directories: list[tuple[str, Place]]) -> None:
        self._directories = directories
        self._doors = [f"{directory}/cgroup.procs" for directory, _ in directories]
        self._counters = [
            f"{directory}/{name}"
            for directory, place in directories
            for controller, name in (
                ("pids", "pids.events"),
                ("memory", "memory.events" if place.unified else "memory.oom_control"),
            )
            if controller in place.controllers
        ]

    def create(self, processes: int, memory: int) -> None:
        for directory, place in self._directories:
            os.mkdir(directory)  # noqa: PTH102
            if "pids" in place.controllers:
                _write(f"{directory}/pids.max", processes)
            if "memory" in place.controllers:
                _bound_memory(directory, memory, unified=place.unified)

    def add(self, pid: int) -> None:
        """Put a process in; one that is gone already needs no bounds. Raises OSError."""
        for door in self._doors:
            with suppress(ProcessLookupError):
                _write(door, pid)

    def met(self) -> Met:
        counts: dict[str, int] = {}
        for counter in self._counters:
            counts |= _counts(counter)
        return Met(processes=counts.get("max", 0), memory=counts.get("oom_kill", 0))

    def close(self) -> None:
        for directory, _ in self._directories:
            _remove(directory)


def _bound_memory(directory: str, memory: int, *, unified: bool) -> None:
    _write(f"{directory}/{'memory.max' if unified else 'memory.limit_in_bytes'}", memory)
    swap = f"{directory}/{'memory.swap.max' if unified else 'memory.memsw.limit_in_bytes'}"
    if os.path.exists(swap):  # noqa: PTH110
        _write(swap, 0 if unified else memory)


def _write(path: str, number: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(fd, b"%d" % number)
    finally:
        os.close(fd)


def _counts(path: str) -> dict[str, int]:
    """Of a flat keyed file. Both of version 2's have a "max"; that of memory is not ours to report."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    try:
        words = os.read(fd, 4096).decode().split()
    finally:
        os.close(fd)
    unwanted = "max" if path.endswith("memory.events") else ""
    return {key: int(value) for key, value in zip(words[::2], words[1::2], strict=True) if key != unwanted}


def _works(place: Place) -> bool:
    """Whether a group can be made there and takes a process: in version 2 the one may be allowed without the other."""
    trial = place.directory / f"{_ours(os.getpid())}-0{next(_numbers)}"
    try:
        if place.unified:
            (place.directory / "cgroup.subtree_control").write_text("+pids +memory")
        trial.mkdir()
    except OSError:
        return False
    try:
        return _takes(trial)
    finally:
        _remove(str(trial))


def _takes(directory: Path) -> bool:
    with subprocess.Popen(["/bin/sh", "-c", "read end"], stdin=subprocess.PIPE) as waiting:
        try:
            with (directory / "cgroup.procs").open("r+") as file:
                file.write(str(waiting.pid))
        except OSError:
            return False
    return True


@cache
def _ours(pid: int) -> str:
    """What the names of our groups begin with; it tells this process from all that had its number."""
    return f"swarmsite-{_namespace()}-{pid}-{_started(pid)}"


def _namespace() -> str:
    """The number of our pid namespace: numbers of processes mean nothing in another one."""
    return re.sub(r"\D", "", str(Path("/proc/self/ns/pid").readlink()))


def _started(pid: int) -> str:
    """When it started, in the kernel's ticks; empty where there is no such process (or only its remains)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in {"Z", "X"} else fields[19]


def _orphaned(name: str) -> bool:
    match = _NAME.fullmatch(name)
    if match is None or match[1] != _namespace():
        return False
    return _started(int(match[2])) != match[3]


def _empty(directory: Path) -> None:
    deadline = time.monotonic() + _EMPTYING_S
    with suppress(OSError):
        while (pids := (directory / "cgroup.procs").read_text().split()) and time.monotonic() < deadline:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.01)


def _remove(directory: str) -> None:
    """The kernel says busy for a moment after the last process died."""
    deadline = time.monotonic() + _EMPTYING_S
    while True:
        try:
            os.rmdir(directory)  # noqa: PTH106
            break
        except FileNotFoundError:
            break
        except OSError as error:
            if time.monotonic() > deadline:
                log.warning("The control group %s stays behind: %s", directory, error)
                break
            time.sleep(0.01)
