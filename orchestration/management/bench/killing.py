"""A process that works on a merge queue and is killed with -9: at a step that it comes to, or from outside."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from django.db import connections

from orchestration.adapters.git.session import Session
from orchestration.domain.states import EntryStatus, GateStatus
from orchestration.management.bench import settling
from orchestration.management.bench.stops import At, Stop, arm
from orchestration.stages.merge import merge
from orchestration.stages.tick import take_over

# What is called where a step of a landing ends; stages/merge.py has the numbers.
STEPS: dict[str, Stop] = {
    "1 selected": At("before", Session, "merge"),
    "2 merged": At("after", Session, "merge"),
    "3 checked": At("after", Session, "merge_is_faithful"),
    "4 committed": At("after", Session, "commit"),
    "5 pinned": At("after", Session, "pin"),
    "6 intent half written": EntryStatus.MERGING,
    "6 intent written": At("before", Session, "swap"),
    "7 swapped": At("after", Session, "swap"),
    "8 record half written": EntryStatus.LANDED,
    "8 recorded": At("before", Session, "unpin"),
    "9 let go": At("after", Session, "unpin"),
}
# Of gated mode: where a gate begins, and where its verdict is being written.
GATE_STEPS: dict[str, Stop] = {
    "5 gate half claimed": GateStatus.RUNNING,
    "5 verdict half written": GateStatus.GREEN,
}
FAILED = 3


@dataclass(frozen=True, slots=True)
class Kill:
    """At the `count`-th time that it comes to the step; with or without the git children that run then."""

    step: str
    count: int = 1
    git_dies: bool = False
    signal: signal.Signals = signal.SIGKILL


def start(swarm_id: int, git_dir: Path, kill: Kill | None = None, work: Callable[[int], None] = merge) -> int:
    """The pid of a process that is as a new engine: it takes over what the last one left, and drains the queue."""
    _hang_up()
    pid = os.fork()
    if pid:
        return pid
    try:
        if kill:
            _arm(kill, git_dir)
        take_over()
        work(swarm_id)
    except BaseException:
        traceback.print_exc()
        os._exit(FAILED)
    os._exit(0)


def _hang_up() -> None:
    """Two processes that talk over one connection understand nothing; PostgreSQL's rest in a pool when closed."""
    connections.close_all()
    for one in connections.all(initialized_only=True):
        if one.vendor == "postgresql":
            one.close_pool()  # type: ignore[attr-defined]


def ended(pid: int) -> int:
    """Its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_after(pid: int, seconds: float, git_dir: Path, *, git_dies: bool) -> tuple[bool, int]:
    """Whether it was killed before it came to its end, and how many git children it had then."""
    time.sleep(seconds)
    running = list(git_children(git_dir))
    _kill_each([pid, *(running if git_dies else ())])
    return ended(pid) == -signal.SIGKILL, len(running)


def git_children(git_dir: Path) -> Iterator[int]:
    """Every process that was started on this repository, whoever started it."""
    wanted = f"--git-dir={git_dir}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (entry / "cmdline").read_bytes().split(b"\0") and _lives(entry):
                yield int(entry.name)


def _kill_each(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _lives(process: Path) -> bool:
    return (process / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def _arm(kill: Kill, git_dir: Path) -> None:
    left = kill.count

    def come() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            if kill.git_dies:
                _kill_each(git_children(git_dir))
            os.kill(os.getpid(), kill.signal)

    arm((STEPS | GATE_STEPS | settling.STEPS)[kill.step], come)
