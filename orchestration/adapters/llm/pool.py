"""Connections for a hundred answers at once, as many small pools.

One large pool of httpcore looks at every pair of its connections for each request: at 100 of them that is 15 ms.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import cast

import httpx
from django.conf import settings
from typing_extensions import override

from orchestration.adapters.outgoing import check_host

POOLS = 32
CONNECTIONS_PER_POOL = 4
KEEPALIVE_S = 60.0
PUBLIC_ONLY = "swarmsite.public_only"  # an extension of a request: its address is checked, and used as it was checked


class ManyPools(httpx.AsyncBaseTransport):
    """Each request goes to the pool with the fewest; among equals to the first, whose connections are warm."""

    def __init__(self) -> None:
        self._context = httpx.create_ssl_context(trust_env=False)
        self._pools = self._made()
        self._pinned: dict[str, list[_Pool]] = {}

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.extensions.get(PUBLIC_ONLY):
            return await self._send_pinned(request)
        return await min(self._pools, key=_busy).send(request)

    @override
    async def aclose(self) -> None:
        for pool in [*self._pools, *(one for pools in self._pinned.values() for one in pools)]:
            await pool.transport.aclose()

    async def _send_pinned(self, request: httpx.Request) -> httpx.Response:
        """To the addresses that were checked and no others, whatever the name means a moment later.

        Connections to an address are shared by name alone: the certificate was checked for that one.
        """
        host, port = request.url.host, request.url.port or (80 if request.url.scheme == "http" else 443)
        allowed = settings.SWARM["ALLOWED_HOSTS_OUT"]
        addresses = await asyncio.to_thread(partial(check_host, host, port, allowed=allowed))
        if host not in self._pinned:
            self._pinned[host] = self._made()
        pools = self._pinned[host]
        request.extensions = {**request.extensions, "sni_hostname": host}
        for address in addresses[:-1]:
            request.url = request.url.copy_with(host=address)
            try:
                return await min(pools, key=_busy).send(request)
            except httpx.ConnectError:
                continue
        request.url = request.url.copy_with(host=addresses[-1])
        return await min(pools, key=_busy).send(request)

    def _made(self) -> list[_Pool]:
        limits = httpx.Limits(max_connections=CONNECTIONS_PER_POOL, keepalive_expiry=KEEPALIVE_S)
        return [_Pool(httpx.AsyncHTTPTransport(verify=self._context, limits=limits)) for _ in range(POOLS)]


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
