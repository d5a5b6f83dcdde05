"""The pace of an endpoint, one for all worker processes where they have a cache in common."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Protocol

from django.conf import settings
from django.core.cache import caches

from orchestration.adapters.llm.pace import Pace, read_allowance

log = logging.getLogger(__name__)

KEPT_S = 3600
LOOK_EVERY_S = 0.25  # at a pace that holds nobody back
LOCK_S = 2
LOCK_TRIES = 50


class Board(Protocol):
    """What a cache that processes share has to offer; Django's has."""

    def get(self, key: str) -> Any: ...

    def set(self, key: str, value: Any, timeout: float | None = ...) -> None: ...

    def add(self, key: str, value: Any, timeout: float | None = ...) -> bool: ...

    def delete(self, key: str) -> bool: ...


def shared_board() -> Board | None:
    """Django's cache where worker processes share it; what only this process sees is no board."""
    return caches["default"] if settings.REDIS_URL else None


class SharedPace:
    """`local` is the pace as it was last seen. Without a board it is the pace.

    A cache that cannot be reached slows nobody down: this process then counts alone, and says so once.
    """

    def __init__(self, place: str, board: Board | None, clock: Callable[[], float]) -> None:
        self.local = Pace()
        self._board = board
        self._clock = clock
        self._key = "pace-" + hashlib.sha256(place.encode()).hexdigest()[:32]
        self._looked_at = 0.0
        self._alone = False

    def claim(self) -> float:
        """0 where a call may start now, and then it has; otherwise the seconds until it is worth asking again."""
        now = self._clock()
        if self._board is not None and now - self._looked_at >= LOOK_EVERY_S:
            self._look()
        if not self.local.rate and self.local.wait_s(now) == 0:
            return 0.0
        with self.change() as pace:
            wait_s = pace.wait_s(now)
            if wait_s == 0:
                pace.start(now)
        return wait_s

    def heard(self, headers: Mapping[str, str], started: float) -> None:
        if not any("ratelimit" in name for name in headers):
            return  # as most services do: cheaper than to look for a dozen names
        now = self._clock()
        if any(read_allowance(headers, what, now) for what in ("requests", "tokens")):
            with self.change() as pace:
                pace.heard(headers, started=started, now=now)

    def answered(self) -> None:
        if self.local.rate:
            with self.change() as pace:
                pace.answered()

    @contextmanager
    def change(self) -> Iterator[Pace]:
        """The pace of all, changed by nobody else meanwhile."""
        if self._board is None:
            yield self.local
            return
        locked = self._lock()
        self._look()
        try:
            yield self.local
            self._try(lambda board: board.set(self._key, asdict(self.local), KEPT_S))
        finally:
            if locked:
                self._try(lambda board: board.delete(f"{self._key}-lock"))

    def _look(self) -> None:
        self._looked_at = self._clock()
        found = self._try(lambda board: board.get(self._key))
        if isinstance(found, dict):
            self.local = Pace(**found)

    def _lock(self) -> bool:
        """For a millisecond at a time. One that stays taken is passed over: that costs one call too many at most."""
        for _ in range(LOCK_TRIES):
            if self._alone or self._try(lambda board: board.add(f"{self._key}-lock", 1, LOCK_S)):
                return True
            time.sleep(0.001)
        return False

    def _try(self, use: Callable[[Board], Any]) -> Any:
        if self._board is None:
            return None
        try:
            found = use(self._board)
        except Exception as error:  # each cache raises its own
            if not self._alone:
                log.warning("The shared cache fails (%s); this process paces its model calls alone.", error)
            self._alone = True
            return None
        self._alone = False
        return found
