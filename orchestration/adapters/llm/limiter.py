"""How many calls an endpoint may have at once, and how soon the next may start. Lives on one event loop."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from orchestration.adapters.llm.sharing import Board, SharedPace
from orchestration.domain.conversation import Endpoint

FIRST_LIMIT = 3
LOOK_AGAIN_S = 1.0
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
        if self.first(epoch):
            self._clean = 0
            self.value = max(1, (in_flight if self.value is None else self.value) // 2)

    def first(self, epoch: int) -> bool:
        """Whether this is the first refusal of its epoch, which ends with it."""
        if epoch != self.epoch:
            return False
        self.epoch += 1
        return True


def first_limit(endpoint: Endpoint) -> Limit:
    cap = None if endpoint.max_concurrent is None else max(1, endpoint.max_concurrent)
    return Limit(cap, cap or (None if endpoint.loopback else FIRST_LIMIT))


@dataclass(frozen=True, slots=True)
class EndpointStats:
    """For pages. `limit` None is none; `latency_ms` is a moving average of clean answers; `rate` is a second's calls,
    0 where nothing slows them down.
    """

    in_flight: int = 0
    waiting: int = 0
    limit: int | None = None
    last_error: str = ""
    failures_in_a_row: int = 0
    latency_ms: float | None = None
    held_for_s: float = 0.0
    rate: float = 0.0
    requests: int = 0
    refused: int = 0


class Limiter:
    """The slots of one endpoint, given out first come first served.

    A service that tells its limits in headers is paced by them, and not asked with fewer calls at once.
    """

    def __init__(
        self, endpoint: Endpoint, *, board: Board | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.max_concurrent = endpoint.max_concurrent
        self.answers = 0  # so far: a caller sees by it whether others get on
        self._delay_s = endpoint.request_delay_ms / 1000
        self._limit = first_limit(endpoint)
        self._pace = SharedPace(endpoint.place, board, clock)
        self._clock = clock
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._last_error = ""
        self._failures = 0
        self._latency_ms: float | None = None
        self._requests = 0
        self._refused = 0

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

    def headers_of_a_call(self) -> Callable[[Mapping[str, str]], None]:
        """To be called with the headers of the answer to the call that starts now."""
        started = self._clock()
        self._requests += 1

        def heard(headers: Mapping[str, str]) -> None:
            self._pace.heard(headers, started)
            self._admit()

        return heard

    def answered(self, latency_ms: float) -> None:
        self.answers += 1
        self._limit.answered()
        self._pace.answered()
        self._failures = 0
        old = latency_ms if self._latency_ms is None else self._latency_ms
        self._latency_ms = old + LATENCY_WEIGHT * (latency_ms - old)

    def failed(self, message: str) -> None:
        self._failures += 1
        self._last_error = message

    def refused(self, epoch: int, hold_s: float) -> None:
        """Too many requests: more slowly from now on, and none of anybody's for a while."""
        self._refused += 1
        first = epoch == self._limit.epoch
        with self._pace.change() as pace:
            pace.refused(now=self._clock(), hold_s=hold_s, delay_s=self._delay_s, first=first)
            told = pace.told
        if told:
            self._limit.first(epoch)
        else:
            self._limit.refused(epoch, self._in_flight)

    def held_for_s(self) -> float:
        return max(0.0, self._pace.local.held_until - self._clock())

    def stats(self) -> EndpointStats:
        return EndpointStats(
            in_flight=self._in_flight,
            waiting=len(self._waiting),
            limit=self._limit.value,
            last_error=self._last_error,
            failures_in_a_row=self._failures,
            latency_ms=self._latency_ms,
            held_for_s=self.held_for_s(),
            rate=self._pace.local.rate,
            requests=self._requests,
            refused=self._refused,
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
        while self._waiting and self._has_room():
            turn = self._waiting[0]
            if not turn.done():
                wait_s = self._pace.claim()
                if wait_s:
                    self._admit_in(wait_s)
                    return
                self._in_flight += 1
                turn.set_result(None)
            del self._waiting[0]

    def _has_room(self) -> bool:
        return self._limit.value is None or self._in_flight < self._limit.value

    def _admit_in(self, seconds: float) -> None:
        """Another process may have changed the pace by then, so nobody sleeps through to a distant end."""
        if self._timer is None or self._timer.cancelled():
            self._timer = self._loop.call_later(min(seconds, LOOK_AGAIN_S), self._resume)

    def _resume(self) -> None:
        self._timer = None
        self._admit()
