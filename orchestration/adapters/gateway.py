"""The one way to a model: every call's slot, key, deadline, retries and cancellation. Knows no Django.

One thread with an event loop carries all calls, so that a hundred callers cost a hundred waits and no more.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from itertools import count
from queue import SimpleQueue

import httpx

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.eventloop import LoopThread
from orchestration.adapters.llm import Provider
from orchestration.adapters.llm.failures import Busy, place
from orchestration.adapters.llm.keys import Key, read_key
from orchestration.adapters.llm.limiter import LONGEST_HOLD_S, EndpointStats, Limiter, first_limit
from orchestration.adapters.llm.openai import OpenAI
from orchestration.adapters.llm.pool import ManyPools
from orchestration.domain.conversation import Endpoint, Message, Reply, ToolSpec
from orchestration.domain.errors import AdapterError, Failure

__all__ = ["EndpointStats", "Gateway", "RetryPolicy", "get_gateway"]

log = logging.getLogger(__name__)

TIMEOUT_S = 600.0
PROGRESS_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter after transient failures."""

    max_retries: int = 3
    base_delay_ms: int = 500
    max_delay_ms: int = 30_000

    def longest_s(self, retry: int) -> float:
        """Before the retry number `retry`, counted from 0."""
        return min(self.max_delay_ms, self.base_delay_ms << min(retry, 30)) / 1000


STANDARD = RetryPolicy()


@dataclass(slots=True)
class _Call:
    endpoint: Endpoint
    provider: Provider
    key: Key
    body: bytes
    purpose: str
    retries: RetryPolicy
    deadline: float
    progress: Callable[[int], None]
    trouble: str = ""


class _Progress:
    """Carries signs of life from the loop to the caller's thread, at most two a second."""

    def __init__(self) -> None:
        self.sizes: SimpleQueue[int | None] = SimpleQueue()
        self._next = 0.0

    def __call__(self, size: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PROGRESS_EVERY_S
            self.sizes.put(size)

    def end(self, _: Future[Reply]) -> None:
        self.sizes.put(None)


class Gateway:
    """Safe to use from any number of threads; each call blocks its own."""

    def __init__(self, *, providers: Mapping[str, Provider] | None = None) -> None:
        self._providers = {"openai": OpenAI()} if providers is None else providers
        self._limiters: dict[tuple[str, str], Limiter] = {}
        self._client = httpx.AsyncClient(transport=ManyPools(), trust_env=False, follow_redirects=False)
        self._loop = LoopThread("model gateway", self._client.aclose)

    def complete(
        self,
        endpoint: Endpoint,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        *,
        purpose: str,
        cancellation: Cancellation,
        tool_choice: str | None = None,
        max_output_tokens: int | None = None,
        timeout_s: float = TIMEOUT_S,
        retries: RetryPolicy = STANDARD,
        on_progress: Callable[[int], None] | None = None,
    ) -> Reply:
        """One answer, or AdapterError. `timeout_s` covers everything: slots, tries and the waits between them.

        `on_progress` gets the characters of the answer so far, in this thread, at most twice a second.
        """
        cancellation.check()
        provider = self._provider(endpoint)
        progress = _Progress()
        call = _Call(
            endpoint=endpoint,
            provider=provider,
            key=read_key(endpoint, os.environ),
            body=provider.encode(
                endpoint, messages, tools, tool_choice=tool_choice, max_output_tokens=max_output_tokens
            ),
            purpose=purpose,
            retries=retries,
            deadline=time.monotonic() + timeout_s,
            progress=progress,
        )
        future = self._loop.start(self._answer(call, timeout_s))
        future.add_done_callback(progress.end)
        return _wait(future, progress, cancellation, on_progress)

    def stats(self, endpoint: Endpoint) -> EndpointStats:
        limiter = self._limiters.get((endpoint.name, endpoint.base_url))
        return limiter.stats() if limiter else EndpointStats(limit=first_limit(endpoint).value)

    def close(self) -> None:
        """End every call with CANCELLED. May be called again."""
        self._loop.close()

    def _provider(self, endpoint: Endpoint) -> Provider:
        provider = self._providers.get(endpoint.kind)
        if provider is None:
            message = f'{place(endpoint)} is of the kind "{endpoint.kind}", which is not supported yet; use "openai".'
            raise AdapterError(Failure.PERMANENT, message)
        return provider

    async def _answer(self, call: _Call, timeout_s: float) -> Reply:
        try:
            async with asyncio.timeout(call.deadline - time.monotonic()):
                return await self._retried(call)
        except TimeoutError:
            before = f" Before that: {call.trouble}" if call.trouble else ""
            message = f"{place(call.endpoint)} timed out after {timeout_s:g} s.{before}"
            raise AdapterError(Failure.TRANSIENT, message) from None

    async def _retried(self, call: _Call) -> Reply:
        limiter = self._limiter(call.endpoint)
        for retry in count():
            try:
                return replace(await self._once(call, limiter, retry), retries=retry)
            except AdapterError as error:
                if not error.transient or retry >= call.retries.max_retries:
                    raise
                delay = _delay(call, error, retry)
                call.trouble = str(error)
                log.warning("%s: %s Trying again in %.1f s.", call.purpose, error, delay)
            await asyncio.sleep(delay)
        raise AssertionError("count() ended")

    async def _once(self, call: _Call, limiter: Limiter, retry: int) -> Reply:
        async with limiter.slot() as epoch:
            try:
                reply = await call.provider.complete(
                    self._client, call.endpoint, call.key, call.body, on_progress=call.progress
                )
            except AdapterError as error:
                limiter.failed(str(error))
                if isinstance(error, Busy) and error.rate_limited:
                    said = error.retry_after_s
                    limiter.refused(epoch, call.retries.longest_s(retry) if said is None else said)
                raise
            limiter.answered(reply.latency_ms)
            return reply

    def _limiter(self, endpoint: Endpoint) -> Limiter:
        place = (endpoint.name, endpoint.base_url)
        limiter = self._limiters.get(place)
        if limiter is None:
            limiter = self._limiters[place] = Limiter(endpoint)
        if limiter.max_concurrent != endpoint.max_concurrent:
            limiter.adopt(endpoint)
        return limiter


def _delay(call: _Call, error: AdapterError, retry: int) -> float:
    """Seconds before the next try. Raises the error where the service wants a longer wait than the call has."""
    told = error.retry_after_s if isinstance(error, Busy) and error.retry_after_s else 0.0
    if told > call.deadline - time.monotonic():
        raise error
    jittered = random.uniform(0, call.retries.longest_s(retry))  # noqa: S311 - spreads load, guards nothing
    return max(min(told, LONGEST_HOLD_S), jittered)


def _wait(
    future: Future[Reply],
    progress: _Progress,
    cancellation: Cancellation,
    on_progress: Callable[[int], None] | None,
) -> Reply:
    def cancel() -> None:
        future.cancel()

    with cancellation.calling(cancel):
        try:
            for size in iter(progress.sizes.get, None):
                if on_progress is not None:
                    on_progress(size)
            return future.result()
        except CancelledError:
            reason = cancellation.reason if cancellation.is_set else "The model gateway was closed."
            raise AdapterError(Failure.CANCELLED, reason) from None
        finally:
            future.cancel()  # nobody waits for it if on_progress raised


_gateway: Gateway | None = None
_inherited: list[Gateway] = []
_lock = threading.Lock()


def get_gateway() -> Gateway:
    """The process's own, made at the first call and closed at exit."""
    global _gateway  # noqa: PLW0603 - one per process is the point
    with _lock:
        if _gateway is None:
            _gateway = Gateway()
        return _gateway


def _close_at_exit() -> None:
    if _gateway is not None:
        _gateway.close()


def _forget_after_fork() -> None:
    # The child has no loop thread, and perhaps a locked lock. The parent's gateway is kept from being collected:
    # closing its copies of the sockets and the selector is not ours to do.
    global _gateway, _lock  # noqa: PLW0603
    _lock = threading.Lock()
    if _gateway is not None:
        _inherited.append(_gateway)
        _gateway = None


atexit.register(_close_at_exit)
os.register_at_fork(after_in_child=_forget_after_fork)
