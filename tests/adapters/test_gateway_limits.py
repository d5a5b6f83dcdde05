"""How many calls an endpoint gets at once, and how everybody waits when it says too many."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.gateway import Gateway, RetryPolicy
from orchestration.adapters.llm.limiter import Limit, Limiter, first_limit
from orchestration.adapters.llm.pace import LONGEST_HOLD_S
from orchestration.demo.service import Answer, Request, ScriptedService
from orchestration.domain.conversation import Endpoint, Message, Reply
from orchestration.domain.errors import AdapterError

QUICK = RetryPolicy(max_retries=3, base_delay_ms=1, max_delay_ms=5)
PLAIN = Endpoint("main", "openai", "http://127.0.0.1:1/v1", "m-1")
TOO_MANY = Answer(status=429, headers={"Retry-After": "0"})


class Rig:
    def __init__(self) -> None:
        self.answers: Callable[[Request], Answer] = lambda _: Answer("hello")
        self.service = ScriptedService(self._script)
        self.gateway = Gateway()
        self.threads = ThreadPoolExecutor(32)
        self.endpoint = dataclasses.replace(PLAIN, base_url=self.service.base_url)

    def _script(self, request: Request) -> Answer:
        return self.answers(request)

    def ask(self, endpoint: Endpoint | None = None, **options: Any) -> Reply:
        options = {"retries": QUICK, "timeout_s": 30, "cancellation": Cancellation()} | options
        asked = (endpoint or self.endpoint, [Message("user", "hi")], [])
        return self.gateway.complete(*asked, purpose="test", **options)

    def start(self, count: int, endpoint: Endpoint | None = None, **options: Any) -> list[Future[Reply]]:
        return [self.threads.submit(self.ask, endpoint, **options) for _ in range(count)]

    def limit(self, endpoint: Endpoint | None = None) -> int | None:
        return self.gateway.stats(endpoint or self.endpoint).limit


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.gateway.close()
    rig.service.close()
    rig.threads.shutdown()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came true"
        threading.Event().wait(0.002)


# The numbers


def test_where_a_limit_starts():
    assert first_limit(PLAIN).value == 3
    assert first_limit(dataclasses.replace(PLAIN, loopback=True)).value is None
    assert first_limit(dataclasses.replace(PLAIN, loopback=True, max_concurrent=7)).value == 7
    assert first_limit(dataclasses.replace(PLAIN, max_concurrent=0)).value == 1


def test_it_grows_by_one_after_as_many_clean_answers_as_the_limit():
    limit = Limit(cap=None, value=3)
    seen = []
    for _ in range(12):
        limit.answered()
        seen.append(limit.value)
    assert seen == [3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 6]


def test_it_never_grows_over_the_cap():
    limit = Limit(cap=4, value=3)
    for _ in range(50):
        limit.answered()
    assert limit.value == 4


def test_it_halves_and_stays_at_least_one():
    limit = Limit(cap=None, value=9)
    seen = []
    for _ in range(5):
        limit.refused(limit.epoch, in_flight=9)
        seen.append(limit.value)
    assert seen == [4, 2, 1, 1, 1]


def test_refusals_of_calls_from_before_the_last_cut_do_not_cut_again():
    limit = Limit(cap=None, value=8)
    for _ in range(8):
        limit.refused(0, in_flight=8)
    assert limit.value == 4


def test_a_refusal_begins_the_count_of_clean_answers_again():
    limit = Limit(cap=None, value=4)
    for _ in range(3):
        limit.answered()
    limit.refused(limit.epoch, in_flight=4)
    limit.answered()
    assert limit.value == 2


def test_no_limit_becomes_one_with_the_first_refusal():
    limit = Limit(cap=None, value=None)
    limit.answered()
    assert limit.value is None
    limit.refused(0, in_flight=40)
    assert limit.value == 20


# The slots


async def test_slots_are_given_first_come_first_served():
    limiter = Limiter(dataclasses.replace(PLAIN, max_concurrent=1))
    order: list[int] = []

    async def work(number: int) -> None:
        async with limiter.slot():
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(number) for number in range(20)))
    assert order == list(range(20))
    assert (limiter.stats().in_flight, limiter.stats().waiting) == (0, 0)


@pytest.mark.parametrize("turns", range(4))
async def test_a_slot_given_to_somebody_who_just_left_is_not_lost(turns: int):
    limiter = Limiter(dataclasses.replace(PLAIN, max_concurrent=1))

    async def work() -> None:
        async with limiter.slot():
            pass

    async with limiter.slot():
        leaving, staying = asyncio.create_task(work()), asyncio.create_task(work())
        await asyncio.sleep(0)
        if not turns:
            leaving.cancel()
    for _ in range(turns - 1):
        await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait_for(staying, 5)
    await asyncio.gather(leaving, return_exceptions=True)
    assert (limiter.stats().in_flight, limiter.stats().waiting) == (0, 0)


async def test_a_hold_keeps_everybody_back_and_ends_by_itself():
    limiter = Limiter(PLAIN)
    limiter.refused(0, 0.05)
    limiter.refused(0, 0.01)  # a shorter one does not shorten it
    held_for = limiter.stats().held_for_s
    started = asyncio.get_running_loop().time()
    async with limiter.slot():
        assert asyncio.get_running_loop().time() - started >= held_for - 0.001
    assert 0.03 < held_for <= 0.05


async def test_a_service_cannot_hold_us_for_ever():
    limiter = Limiter(PLAIN)
    limiter.refused(0, 1e9)
    assert limiter.stats().held_for_s <= LONGEST_HOLD_S


async def test_the_latency_is_a_moving_average():
    limiter = Limiter(PLAIN)
    assert limiter.stats().latency_ms is None
    for latency in (100, 200, 200):
        limiter.answered(latency)
    assert limiter.stats().latency_ms == pytest.approx(136)


# Over HTTP


def test_a_cap_is_never_exceeded(rig: Rig):
    rig.answers = lambda _: Answer("hello", delay_s=0.002)
    capped = dataclasses.replace(rig.endpoint, max_concurrent=4)
    for each in rig.start(32, capped):
        each.result(30)
    assert rig.service.most_in_flight == 4
    assert rig.limit(capped) == 4


def test_an_unknown_service_is_asked_three_times_at_once_and_then_more(rig: Rig):
    rig.answers = lambda request: Answer("hello", held="first" if request.number <= 3 else "")
    waiting = rig.start(20)
    rig.service.wait_for(lambda: rig.service.in_flight == 3)
    until(lambda: rig.gateway.stats(rig.endpoint).waiting == 17)
    assert (rig.service.total, rig.limit()) == (3, 3)
    rig.service.release("first")
    for each in waiting:
        each.result(30)
    assert rig.limit() == 7  # 3 + 4 + 5 + 6 answers for four steps, and two more


def test_loopback_is_not_limited(rig: Rig):
    rig.answers = lambda _: Answer("hello", held="all")
    local = dataclasses.replace(rig.endpoint, loopback=True)
    waiting = rig.start(32, local)
    rig.service.wait_for(lambda: rig.service.in_flight == 32)
    rig.service.release("all")
    for each in waiting:
        each.result(30)
    assert rig.limit(local) is None


def test_too_many_requests_halve_the_limit_and_clean_answers_raise_it(rig: Rig):
    capped = dataclasses.replace(rig.endpoint, max_concurrent=8)
    rig.answers = lambda request: TOO_MANY if request.number <= 2 else Answer("hello")
    assert rig.ask(capped).retries == 2
    assert rig.limit(capped) == 2
    rig.ask(capped)
    assert rig.limit(capped) == 3


def test_retry_after_holds_back_every_caller(rig: Rig):
    limited = Answer(status=429, headers={"retry-after-ms": "2000"})
    rig.answers = lambda request: limited if request.number == 1 else Answer("hello")
    began = time.monotonic()
    first = rig.start(1)
    until(lambda: rig.gateway.stats(rig.endpoint).held_for_s > 0)
    others = rig.start(5)
    until(lambda: rig.gateway.stats(rig.endpoint).waiting >= 5 or rig.service.total > 1)
    replies = [each.result(60) for each in [*first, *others]]
    assert time.monotonic() - began >= 2
    assert [reply.retries for reply in replies] == [reply.refused for reply in replies] == [1, 0, 0, 0, 0, 0]
    assert all(0 < reply.waited_ms < 60_000 for reply in replies), "for a place, or before it was tried again"
    assert rig.service.total == 7


def test_a_call_that_never_got_its_turn_says_how_long_it_waited(rig: Rig):
    rig.answers = lambda _: Answer("hello", held="the only place")
    alone = dataclasses.replace(rig.endpoint, max_concurrent=1)
    [first] = rig.start(1, alone)
    until(lambda: rig.service.total == 1)
    given_up = Cancellation()
    [dropped] = rig.start(1, alone, cancellation=given_up)
    until(lambda: rig.gateway.stats(alone).waiting == 1)
    given_up.cancel("Enough.")
    error = dropped.exception(30)
    assert isinstance(error, AdapterError)
    assert error.waited_s > 0
    rig.service.release("the only place")
    assert first.result(30).waited_ms < 10_000


def test_retry_after_holds_back_this_endpoint_only(rig: Rig):
    rig.answers = lambda request: (
        Answer(status=429, headers={"Retry-After": "200"}) if request.model == "m-1" else Answer("hello")
    )
    with pytest.raises(AdapterError):
        rig.ask(retries=RetryPolicy(max_retries=0))
    other = dataclasses.replace(rig.endpoint, name="other", model="m-2")
    assert rig.ask(other).text == "hello"
    assert rig.gateway.stats(rig.endpoint).held_for_s > 100


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_that_the_call_has_no_time_for_is_told_at_once(rig: Rig, status: int):
    rig.answers = lambda _: Answer(status=status, headers={"Retry-After": "200"})
    with pytest.raises(AdapterError, match=str(status)) as caught:
        rig.ask(timeout_s=20)
    assert caught.value.transient
    assert "timed out" not in str(caught.value)
    assert rig.service.total == 1


def test_overload_waits_as_told_without_holding_others_back(rig: Rig):
    busy = Answer(status=503, headers={"retry-after-ms": "200"})
    rig.answers = lambda request: busy if request.number == 1 else Answer("hello")
    began = time.monotonic()
    reply = rig.ask()
    assert (reply.retries, reply.refused) == (1, 0)
    assert reply.waited_ms >= 200
    assert time.monotonic() - began >= 0.2
    assert rig.gateway.stats(rig.endpoint).held_for_s == 0
    assert rig.limit() == 3


def test_a_new_cap_is_adopted(rig: Rig):
    rig.ask()
    assert rig.limit() == 3
    capped = dataclasses.replace(rig.endpoint, max_concurrent=9)
    rig.ask(capped)
    assert rig.limit(capped) == 9


def test_what_pages_see(rig: Rig):
    fresh = rig.gateway.stats(rig.endpoint)
    assert (fresh.in_flight, fresh.waiting, fresh.limit, fresh.last_error, fresh.latency_ms) == (0, 0, 3, "", None)
    rig.answers = lambda request: Answer(status=500) if request.number <= 2 else Answer("hello")
    with pytest.raises(AdapterError):
        rig.ask(retries=RetryPolicy(max_retries=1, base_delay_ms=1))
    failed = rig.gateway.stats(rig.endpoint)
    assert failed.failures_in_a_row == 2
    assert "overloaded or broken (500" in failed.last_error
    rig.ask()
    assert rig.gateway.stats(rig.endpoint).failures_in_a_row == 0
    assert rig.gateway.stats(rig.endpoint).latency_ms is not None
