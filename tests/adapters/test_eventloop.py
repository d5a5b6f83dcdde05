"""A loop in its own thread takes work until it is closed, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError

import pytest

from orchestration.adapters.eventloop import LoopThread
from orchestration.domain.errors import AdapterError, Failure


async def _double(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


def test_work_runs_and_answers():
    loop = LoopThread("test loop")
    assert loop.start(_double(21)).result(60) == 42
    loop.close()


def test_closing_ends_what_runs_then_runs_the_last_step_then_the_thread():
    order: list[str] = []
    started = threading.Event()

    async def endless() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            order.append("cancelled")

    async def last() -> None:
        order.append("last")

    before = threading.active_count()
    loop = LoopThread("test loop", last)
    waiting = loop.start(endless())
    assert started.wait(60)
    loop.close()
    with pytest.raises(CancelledError):
        waiting.result(60)
    assert order == ["cancelled", "last"]
    assert threading.active_count() == before


def test_work_given_just_before_closing_is_ended_too():
    loop = LoopThread("test loop")
    waiting = [loop.start(asyncio.sleep(3600)) for _ in range(50)]
    loop.close()
    assert all(each.cancelled() for each in waiting)


def test_a_closed_loop_refuses_work_with_a_sentence():
    loop = LoopThread("test loop")
    loop.close()
    loop.close()
    loop.call(lambda: pytest.fail("a closed loop ran something"))
    with pytest.raises(AdapterError, match=r"The test loop is closed\.") as caught:
        loop.start(_double(1))
    assert caught.value.kind is Failure.CANCELLED
