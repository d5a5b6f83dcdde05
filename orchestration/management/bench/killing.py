"""A process that drains a merge queue and is killed with -9: at a step that it comes to, or from outside."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connections

from orchestration.adapters.git.session import Session
from orchestration.domain.states import EntryStatus
from orchestration.stages.merge import merge
from orchestration.stages.tick import take_over
from orchestration.stages.transition import Moves

# What is called where a step of a landing ends; stages/merge.py has the numbers.
STEPS: Mapping[str, tuple[str, str]] = {
    "1 selected": ("before", "merge"),
    "2 merged": ("after", "merge"),
    "3 checked": ("after", "merge_is_faithful"),
    "4 committed": ("after", "commit"),
    "5 pinned": ("after", "pin"),
    "6 intent half written": ("after", EntryStatus.MERGING),
    "6 intent written": ("before", "swap"),
    "7 swapped": ("after", "swap"),
    "8 record half written": ("after", EntryStatus.LANDED),
    "8 recorded": ("before", "unpin"),
    "9 let go": ("after", "unpin"),
}
FAILED = 3


@dataclass(frozen=True, slots=True)
class Kill:
    """At the `count`-th time that it comes to the step; with or without the git children that run then."""

    step: str
    count: int = 1
    git_dies: bool = False
    signal: signal.Signals = signal.SIGKILL


def start(swarm_id: int, git_dir: Path, kill: Kill | None = None) -> int:
    """The pid of a process that is as a new engine: it takes over what the last one left, and drains the queue."""
    _hang_up()
    pid = os.fork()
    if pid:
        return pid
    try:
        if kill:
            _arm(kill, git_dir)
        take_over()
        merge(swarm_id)
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
    when, what = STEPS[kill.step]
    left = kill.count

    def come() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            if kill.git_dies:
                _kill_each(git_children(git_dir))
            os.kill(os.getpid(), kill.signal)

    if isinstance(what, EntryStatus):
        real = Moves.advance

        def advance(self: Moves, row: Any, to: Any, **how: Any) -> None:
            real(self, row, to, **how)
            if to is what:
                come()

        Moves.advance = advance  # type: ignore[method-assign]  # only in this process, which is about to die
    else:
        setattr(Session, what, _around(getattr(Session, what), when, come))


def _around(real: Callable[..., Any], when: str, come: Callable[[], None]) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            come()
        result = real(*args, **kwargs)
        if when == "after":
            come()
        return result

    return function
