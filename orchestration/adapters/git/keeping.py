"""Sessions between two drains of a queue: their children, and what they know of the branch, are kept for a while."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestration.adapters.git.session import Session

IDLE_S = 3.0  # then their children are ended


class Keeper:
    """At most one session a branch rests here; whoever takes it has it alone."""

    def __init__(self, idle_s: float = IDLE_S) -> None:
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._resting: dict[tuple[Path, str], tuple[Session, float]] = {}
        self._inherited: list[object] = []
        self._timer: threading.Timer | None = None

    @contextmanager
    def session(self, path: Path, branch: str) -> Iterator[Session]:
        """One that failed is not used again: the next begins with what git says."""
        with self._lock:
            rested, _ = self._resting.pop((path, branch), (None, 0.0))
        session = rested or Session(path)
        try:
            yield session
        except BaseException:
            session.close()
            raise
        self._rest((path, branch), session)

    @property
    def resting(self) -> int:
        return len(self._resting)

    def _rest(self, key: tuple[Path, str], session: Session) -> None:
        with self._lock:
            another, _ = self._resting.pop(key, (None, 0.0))
            self._resting[key] = (session, time.monotonic())
            self._look_later()
        if another:
            another.close()

    def _look_later(self) -> None:
        """With the lock held. One timer is enough for all."""
        if self._timer is None:
            self._timer = threading.Timer(self._idle_s, self._end_idle)
            self._timer.daemon = True
            self._timer.start()

    def _end_idle(self) -> None:
        latest = time.monotonic() - self._idle_s
        with self._lock:
            self._timer = None
            idle = {key: session for key, (session, since) in self._resting.items() if since <= latest}
            self._resting = {key: one for key, one in self._resting.items() if key not in idle}
            if self._resting:
                self._look_later()
        for session in idle.values():
            session.close()

    def forget(self) -> None:
        """In a forked process: the children are the other one's, and so is whoever held the lock."""
        self._inherited.append(self._resting)
        self._lock, self._resting, self._timer = threading.Lock(), {}, None


keeper = Keeper()
os.register_at_fork(after_in_child=keeper.forget)
