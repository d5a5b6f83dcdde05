"""The one way to a model: every call's endpoint, slot, key, deadline, retries and cancellation.

One thread with an event loop carries all calls, so that a hundred callers cost a hundred waits and no more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from orchestration.adapters import secrets
from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.eventloop import LoopThread
from orchestration.adapters.llm import Provider
from orchestration.adapters.llm.anthropic import Anthropic
from orchestration.adapters.llm.failures import Busy, ContextTooLong, NoCredit, RequestRefused, place
from orchestration.adapters.llm.keys import read_key
from orchestration.adapters.llm.limiter import EndpointStats, Limiter, first_limit
from orchestration.adapters.llm.openai import OpenAI
from orchestration.adapters.llm.pace import LONGEST_HOLD_S
from orchestration.adapters.llm.pool import ManyPools
from orchestration.adapters.llm.sharing import Board, shared_board
from orchestration.adapters.llm.waiting import Listener, Progress, wait
from orchestration.adapters.llm.windows import Windows
from orchestration.adapters.per_process import PerProcess
from orchestration.domain.conversation import PLAIN, Endpoint, Message, Reply, Sampling, ToolSpec
from orchestration.domain.endpoints import PROBE_AFTER_S, Health, choose
from orchestration.domain.errors import AdapterError, Failure

__all__ = ["EndpointStats", "Gateway", "RetryPolicy", "get_gateway"]

log = logging.getLogger(__name__)

TIMEOUT_S = 600.0
PATIENCE_S = 5.0  # with a service that wants no calls for a while, where another one is there


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
    """What is asked, of whom, and how far it has come."""

    endpoints: tuple[Endpoint, ...]
    encode: Callable[[Endpoint], bytes]
    shorten: Callable[[Endpoint, ContextTooLong], bool]
    purpose: str
    retries: RetryPolicy
    deadline: float
    progress: Progress
    bodies: dict[str, bytes] = field(default_factory=dict)
    answers_seen: int = -1
    tries: int = 0  # that failed
    counted: int = 0  # those of them that use up the retries
    refused: int = 0  # those of them that were too many for a service
    waits: tuple[float, float | None] = (0.0, None)  # what it waited before, and since when it waits again
    trouble: str = ""

    @property
    def waited_s(self) -> float:
        """For a place, for a service's pace, and between tries. Also asked by the caller's thread."""
        before, since = self.waits
        return before if since is None else before + time.monotonic() - since

    def begin_waiting(self) -> None:
        self.waits = (self.waited_s, time.monotonic())

    def end_waiting(self) -> None:
        self.waits = (self.waited_s, None)

    def body(self, endpoint: Endpoint) -> bytes:
        """Encoded once for all tries, unless it was too long."""
        if endpoint.place not in self.bodies:
            self.bodies[endpoint.place] = self.encode(endpoint)
        return self.bodies[endpoint.place]


class Gateway:
    """Safe to use from any number of threads; each call blocks its own."""

    def __init__(
        self,
        *,
        providers: Mapping[str, Provider] | None = None,
        board: Board | None = None,
        probe_after_s: float = PROBE_AFTER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._providers = {"openai": OpenAI(), "anthropic": Anthropic()} if providers is None else providers
        self._board = board
        self._probe_after_s = probe_after_s
        self._clock = clock
        self._health: dict[str, Health] = {}
        self._windows = Windows(board)
        self._limiters: dict[str, Limiter] = {}
        self._pools = ManyPools()
        self._loop = LoopThread("model gateway", self._pools.aclose)

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
        sampling: Sampling = PLAIN,
        timeout_s: float = TIMEOUT_S,
        retries: RetryPolicy = STANDARD,
        on_progress: Callable[[int], None] | None = None,
        on_sent: Callable[[], None] | None = None,
        listener: Listener | None = None,
    ) -> Reply:
        """One answer, or AdapterError. `timeout_s` covers everything: slots, tries and the waits between them.

        `on_progress` gets the characters of the answer so far, in this thread, at most twice a second. `on_sent` is
        called in this thread as soon as a request goes out, for each try. `listener` hears the text while it grows.
        """
        cancellation.check()
        secrets.watch(one.key_env for one in (endpoint, *endpoint.alternatives))
        messages = secrets.clean_messages(messages)
        listening = listener is not None and listener.wanted()
        progress = Progress(listening=listening, tells_sent=on_sent is not None)

        def encode(to: Endpoint) -> bytes:
            provider, fitted = self._provider(to), self._windows.fitted(to, messages, tools)
            to = self._windows.told(to)
            most = max_output_tokens
            return provider.encode(
                to, fitted, tools, tool_choice=tool_choice, max_output_tokens=most, sampling=sampling
            )

        def shorten(to: Endpoint, error: ContextTooLong) -> bool:
            return self._windows.too_long(to, self._windows.fitted(to, messages, tools), tools, error)

        call = _Call(
            endpoints=(endpoint, *endpoint.alternatives),
            encode=encode,
            shorten=shorten,
            purpose=purpose,
            retries=retries,
            deadline=time.monotonic() + timeout_s,
            progress=progress,
        )
        call.body(endpoint)  # in the caller's thread: a long history takes its time
        future = self._loop.start(self._answer(call, timeout_s))
        future.add_done_callback(progress.end)
        try:
            return secrets.clean_reply(
                wait(future, progress, cancellation, on_progress=on_progress, on_sent=on_sent, listener=listener)
            )
        except AdapterError as error:
            error.waited_s = call.waited_s
            raise

    def fitted(self, endpoint: Endpoint, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> list[Message]:
        """So much of a conversation as this endpoint's model can read: what a call to it would send."""
        return self._windows.fitted(endpoint, messages, tools)

    def room(self, endpoint: Endpoint, tools: Sequence[ToolSpec]) -> int:
        """Tokens of a conversation that its model can read beside the tools."""
        return self._windows.room(endpoint, tools)

    def stats(self, endpoint: Endpoint) -> EndpointStats:
        limiter = self._limiters.get(endpoint.place)
        return limiter.stats() if limiter else EndpointStats(limit=first_limit(endpoint).value)

    def health(self, endpoint: Endpoint) -> Health:
        return self._health.get(endpoint.place, Health())

    def close(self) -> None:
        """End every call with CANCELLED. May be called again."""
        self._loop.close()

    def _provider(self, endpoint: Endpoint) -> Provider:
        provider = self._providers.get(endpoint.kind)
        if provider is None:
            kinds = " or ".join(f'"{kind}"' for kind in self._providers)
            message = f'{place(endpoint)} is of the kind "{endpoint.kind}", which is not supported; use {kinds}.'
            raise AdapterError(Failure.PERMANENT, message)
        return provider

    async def _answer(self, call: _Call, timeout_s: float) -> Reply:
        try:
            async with asyncio.timeout(call.deadline - time.monotonic()):
                return await self._retried(call)
        except TimeoutError:
            before = f" Before that: {call.trouble}" if call.trouble else ""
            message = f"{place(call.endpoints[0])} timed out after {timeout_s:g} s.{before}"
            raise AdapterError(Failure.TRANSIENT, message) from None

    async def _retried(self, call: _Call) -> Reply:
        while True:
            try:
                return await self._round(call)
            except AdapterError as error:
                await self._pause(call, error)

    async def _pause(self, call: _Call, error: AdapterError) -> None:
        """Before the next round; raises the error where there is none.

        Being asked to wait uses up a retry only where nobody else gets on either.
        """
        answers = sum(limiter.answers for one in call.endpoints if (limiter := self._limiters.get(one.place)))
        queueing = isinstance(error, Busy) and error.rate_limited and -1 < call.answers_seen < answers
        call.answers_seen = answers
        if not error.transient or (call.counted >= call.retries.max_retries and not queueing):
            raise error
        delay = _delay(call, error)
        call.counted += not queueing
        call.trouble = str(error)
        if not queueing:
            log.warning("%s: %s Trying again in %.1f s.", call.purpose, error, delay)
            call.begin_waiting()
            await asyncio.sleep(delay)
            call.end_waiting()

    async def _round(self, call: _Call) -> Reply:
        """Every endpoint once, the next one at once."""
        choice = choose(call.endpoints, self._health, self._clock(), probe_after_s=self._probe_after_s)
        if choice.probe:
            self._health[choice.probe.place] = self._health[choice.probe.place].probed(self._clock())
        errors: list[AdapterError] = []
        for endpoint in choice.order:
            try:
                reply = await self._fitting(call, endpoint, last=endpoint is choice.order[-1])
            except AdapterError as error:
                if isinstance(error, RequestRefused) and not isinstance(error, ContextTooLong):
                    raise
                call.tries += 1
                errors.append(error)
            else:
                waited_ms = round(call.waited_s * 1000)
                told = " ".join(map(str, errors))
                return replace(reply, retries=call.tries, refused=call.refused, waited_ms=waited_ms, detour=told)
        raise _together(errors)

    async def _fitting(self, call: _Call, endpoint: Endpoint, *, last: bool) -> Reply:
        """What is longer than the model can read is shortened and asked again, for as long as that can be done."""
        while True:
            try:
                return await self._once(call, endpoint, last=last)
            except ContextTooLong as error:
                if not await asyncio.to_thread(call.shorten, endpoint, error):
                    raise
                call.tries += 1
                del call.bodies[endpoint.place]
                await asyncio.to_thread(call.body, endpoint)

    async def _once(self, call: _Call, endpoint: Endpoint, *, last: bool) -> Reply:
        limiter = self._limiter(endpoint)
        held_for_s = limiter.held_for_s()
        if held_for_s > PATIENCE_S and not last:
            message = f"{place(endpoint)} wants nothing for {held_for_s:.0f} s."
            raise Busy(message, retry_after_s=held_for_s, rate_limited=True)
        body, key, provider = call.body(endpoint), read_key(endpoint, os.environ), self._provider(endpoint)
        call.begin_waiting()
        async with limiter.slot() as epoch:
            call.end_waiting()
            try:
                call.progress.sent()
                heard = limiter.headers_of_a_call()
                reply = await provider.complete(
                    self._pools,
                    endpoint,
                    key,
                    body,
                    on_progress=call.progress,
                    on_headers=heard,
                    on_text=call.progress.text,
                )
            except AdapterError as error:
                self._failed(call, endpoint, error, epoch)
                raise
            limiter.answered(reply.latency_ms)
            self._health[endpoint.place] = self.health(endpoint).answered(reply.first_token_ms)
            return reply

    def _failed(self, call: _Call, endpoint: Endpoint, error: AdapterError, epoch: int) -> None:
        """A request that is itself at fault, and a service that only wants fewer, say nothing about health."""
        limiter = self._limiters[endpoint.place]
        limiter.failed(str(error))
        if isinstance(error, Busy) and error.rate_limited:
            call.refused += 1
            said = error.retry_after_s
            limiter.refused(epoch, call.retries.longest_s(call.counted) if said is None else said)
        elif not isinstance(error, RequestRefused):
            before = self.health(endpoint)
            self._health[endpoint.place] = before.failed(self._clock())
            if before.healthy and not self.health(endpoint).healthy:
                log.warning("%s is left alone for %g s: %s", place(endpoint), self._probe_after_s, error)

    def _limiter(self, endpoint: Endpoint) -> Limiter:
        limiter = self._limiters.get(endpoint.place)
        if limiter is None:
            limiter = self._limiters[endpoint.place] = Limiter(endpoint, board=self._board)
        if limiter.max_concurrent != endpoint.max_concurrent:
            limiter.adopt(endpoint)
        return limiter


def _together(errors: Sequence[AdapterError]) -> AdapterError:
    """All that went wrong in one round, as one error: it is worth another one if any of them is transient."""
    if len(errors) == 1:
        return errors[0]
    message = " ".join(map(str, errors))
    transient = [error for error in errors if error.transient]
    waits = [error.retry_after_s or 0.0 for error in transient if isinstance(error, Busy)]
    if not transient:
        unpaid = any(isinstance(error, NoCredit) for error in errors)
        return NoCredit(message) if unpaid else AdapterError(errors[0].kind, message)
    limited = all(isinstance(error, Busy) and error.rate_limited for error in transient)
    soonest = min(waits) if len(waits) == len(transient) else 0.0
    return Busy(message, retry_after_s=soonest, rate_limited=limited)


def _delay(call: _Call, error: AdapterError) -> float:
    """Seconds before the next try. Raises the error where the service wants a longer wait than the call has."""
    told = error.retry_after_s if isinstance(error, Busy) and error.retry_after_s else 0.0
    if told > call.deadline - time.monotonic():
        raise error
    jittered = random.uniform(0, call.retries.longest_s(call.counted))  # noqa: S311 - spreads load, guards nothing
    return max(min(told, LONGEST_HOLD_S), jittered)


_gateway = PerProcess(lambda: Gateway(board=shared_board()))


def get_gateway() -> Gateway:
    """The process's own, made at the first call and closed at exit."""
    return _gateway.get()
