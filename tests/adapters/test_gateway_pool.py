"""Connections are spread over small pools, reused, and counted right however a request ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from orchestration.adapters.llm.pool import CONNECTIONS_PER_POOL, POOLS, ManyPools
from orchestration.demo.service import Answer, ScriptedService

BODY = {"messages": [], "stream": True}


class Pooled:
    def __init__(self) -> None:
        self.answer = Answer("hello")
        self.service = ScriptedService(lambda _: self.answer)
        self.transport = ManyPools()
        self.client = httpx.AsyncClient(transport=self.transport, base_url=self.service.base_url, timeout=60)

    async def post(self) -> int:
        return (await self.client.post("/chat/completions", json=BODY)).status_code

    def busy(self) -> list[int]:
        return [pool.busy for pool in self.transport._pools]

    async def arrived(self, count: int) -> None:
        await asyncio.to_thread(self.service.wait_for, lambda: self.service.in_flight == count)


@pytest.fixture
async def pooled() -> AsyncIterator[Pooled]:
    pooled = Pooled()
    yield pooled
    await pooled.client.aclose()
    pooled.service.close()


async def test_one_after_the_other_use_one_connection(pooled: Pooled):
    for _ in range(5):
        await pooled.post()
    assert len(pooled.service.connections) == 1
    assert not any(pooled.busy())


async def test_many_at_once_are_spread_evenly(pooled: Pooled):
    pooled.answer = Answer("hello", held="all")
    everybody = POOLS * CONNECTIONS_PER_POOL
    waiting = [asyncio.create_task(pooled.post()) for _ in range(everybody)]
    await pooled.arrived(everybody)
    assert pooled.busy() == [CONNECTIONS_PER_POOL] * POOLS
    one_more = asyncio.create_task(pooled.post())
    pooled.service.release("all")
    assert await asyncio.gather(*waiting, one_more) == [200] * (everybody + 1)
    assert not any(pooled.busy())
    assert len(pooled.service.connections) <= everybody


async def test_a_cancelled_request_gives_its_place_back(pooled: Pooled):
    pooled.answer = Answer("hello", fault="stall")
    waiting = [asyncio.create_task(pooled.post()) for _ in range(3)]
    await pooled.arrived(3)
    assert sum(pooled.busy()) == 3
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not any(pooled.busy())


@pytest.mark.parametrize("fault", ["drop", "half_stream"])
async def test_a_broken_connection_gives_its_place_back(pooled: Pooled, fault: str):
    pooled.answer = Answer("hello", fault=fault)  # type: ignore[arg-type]
    with pytest.raises(httpx.RemoteProtocolError):
        await pooled.post()
    assert not any(pooled.busy())


async def test_a_refused_connection_gives_its_place_back(pooled: Pooled):
    pooled.service.close()
    with pytest.raises(httpx.ConnectError):
        await pooled.post()
    assert not any(pooled.busy())
