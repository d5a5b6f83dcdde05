"""Connections for a hundred answers at once, as many small pools.

One large pool of httpcore looks at every pair of its connections for each request: at 100 of them that is 15 ms.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import httpx
from typing_extensions import override

POOLS = 32
CONNECTIONS_PER_POOL = 4
KEEPALIVE_S = 60.0


class ManyPools(httpx.AsyncBaseTransport):
    """Each request goes to the pool with the fewest; among equals to the first, whose connections are warm."""

    def __init__(self) -> None:
        limits = httpx.Limits(max_connections=CONNECTIONS_PER_POOL, keepalive_expiry=KEEPALIVE_S)
        context = httpx.create_ssl_context(trust_env=False)
        self._pools = [_Pool(httpx.AsyncHTTPTransport(verify=context, limits=limits)) for _ in range(POOLS)]

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await min(self._pools, key=_busy).send(request)

    @override
    async def aclose(self) -> None:
        for pool in self._pools:
            await pool.transport.aclose()


class _Pool:
    def __init__(self, transport: httpx.AsyncHTTPTransport) -> None:
        self.transport = transport
        self.busy = 0

    async def send(self, request: httpx.Request) -> httpx.Response:
        self.busy += 1
        try:
            response = await self.transport.handle_async_request(request)
        except BaseException:
            self.busy -= 1
            raise
        response.stream = _Counted(cast("httpx.AsyncByteStream", response.stream), self)
        return response


class _Counted(httpx.AsyncByteStream):
    """A body that tells its pool when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, pool: _Pool) -> None:
        self._stream = stream
        self._pool: _Pool | None = pool

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    @override
    async def aclose(self) -> None:
        if self._pool is not None:
            self._pool.busy -= 1
            self._pool = None
        await self._stream.aclose()


def _busy(pool: _Pool) -> int:
    return pool.busy
