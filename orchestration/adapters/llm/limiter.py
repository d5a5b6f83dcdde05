"""How many calls an endpoint may have at once: found by asking, cut when it says too many. Lives on one event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from orchestration.domain.conversation import Endpoint

FIRST_LIMIT = 3
LONGEST_HOLD_S = 300.0
LATENCY_WEIGHT = 0.2


@dataclass(slots=True)
class Limit:
    """`value` None is no limit, until the first refusal shows that there is one."""

    cap: int | None
    value: int | None
    epoch: int = 0
    _clean: int = 0

    def answered(self) -> None:
        """Grow by one after as many clean answers as the limit."""
        if self.value is None:
            return
        self._clean += 1
        if self._clean >= self.value:
            self._clean = 0
            self.value = self.value + 1 if self.cap is None else min(self.value + 1, self.cap)

    def refused(self, epoch: int, in_flight: int) -> None:
        """Halve, once for all the calls that were under way before the last cut."""
        if epoch == self.epoch:
            self.epoch += 1
            self._clean = 0
            self.value = max(1, (in_flight if self.value is None else self.value) // 2)


def first_limit(endpoint: Endpoint) -> Limit:
    cap = None if endpoint.max_concurrent is None else max(1, endpoint.max_concurrent)
    return Limit(cap, cap or (None if endpoint.loopback else FIRST_LIMIT))


@dataclass(frozen=True, slots=True)
class EndpointStats:
    """For pages. `limit` None is none; `latency_ms` is a moving average of clean answers."""

    in_flight: int = 0
    waiting: int = 0
    limit: int | None = None
    last_error: str = ""
    failures_in_a_row: int = 0
    latency_ms: float | None = None
    held_for_s: float = 0.0


class Limiter:
    """The slots of one endpoint, given out first come first served."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.max_concurrent = endpoint.max_concurrent
        self._limit = first_limit(endpoint)
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._held_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._last_error = ""
        self._failures = 0
        self._latency_ms: float | None = None

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[int]:
        """A place among the calls at once; gives the epoch in which it was taken."""
        await self._enter()
        try:
            yield self._limit.epoch
        finally:
            self._leave()

    def adopt(self, endpoint: Endpoint) -> None:
        """The operator changed the cap."""
        self.max_concurrent = endpoint.max_concurrent
        self._limit = first_limit(endpoint)
        self._admit()

    def answered(self, latency_ms: float) -> None:
        self._limit.answered()
        self._failures = 0
        old = latency_ms if self._latency_ms is None else self._latency_ms
        self._latency_ms = old + LATENCY_WEIGHT * (latency_ms - old)

    def failed(self, message: str) -> None:
        self._failures += 1
        self._last_error = message

    def refused(self, epoch: int, hold_s: float) -> None:
        """Too many requests: fewer at once, and none of anybody's for a while."""
        self._limit.refused(epoch, self._in_flight)
        self._held_until = max(self._held_until, self._loop.time() + min(hold_s, LONGEST_HOLD_S))

    def stats(self) -> EndpointStats:
        return EndpointStats(
            in_flight=self._in_flight,
            waiting=len(self._waiting),
            limit=self._limit.value,
            last_error=self._last_error,
            failures_in_a_row=self._failures,
            latency_ms=self._latency_ms,
            held_for_s=max(0.0, self._held_until - self._loop.time()),
        )

    async def _enter(self) -> None:
        turn = self._loop.create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            with suppress(ValueError):  # _admit() may have passed over it already
                self._waiting.remove(turn)
            raise

    def _leave(self) -> None:
        self._in_flight -= 1
        self._admit()

    def _admit(self) -> None:
        if self._held():
            return
        while self._waiting and self._has_room():
            turn = self._waiting.popleft()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)

    def _has_room(self) -> bool:
        return self._limit.value is None or self._in_flight < self._limit.value

    def _held(self) -> bool:
        """True during a hold, with a timer set for its end."""
        if self._loop.time() >= self._held_until:
            return False
        if self._timer is None and self._waiting:
            self._timer = self._loop.call_at(self._held_until, self._resume)
        return True

    def _resume(self) -> None:
        self._timer = None
        self._admit()
