"""One HTTP request as ASGI brings it: its token, its bounded body, and the ways to answer it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import orjson

from orchestration.adapters.serving.shape import Refusal, Shape, Trouble
from orchestration.domain.errors import InvalidInput

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_LIMIT = 32_000_000
THROWN_AWAY = 4  # times that much is read all the same: who still sends would not see the answer
BODY_S = 60.0
_BEARER = "bearer "


class HungUp(Exception):
    """The client does not wait any more."""


class Exchange:
    """`began` is true once the answer's status is sent: what goes wrong after that is told as an event."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, shape: Shape) -> None:
        self.method: str = scope["method"]
        self.shape = shape
        self.began = False
        self._headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        self._receive = receive
        self._send = send

    @property
    def token(self) -> str:
        """As clients of either kind send it."""
        given = self._headers.get("authorization", "").strip()
        bearer = given[len(_BEARER) :].strip() if given.lower().startswith(_BEARER) else ""
        return bearer or self._headers.get("x-api-key", "").strip()

    async def body(self) -> Mapping[str, Any]:
        length = self._headers.get("content-length", "")
        if length.isdecimal() and int(length) > THROWN_AWAY * BODY_LIMIT:
            raise _too_large()
        try:
            async with asyncio.timeout(BODY_S):
                return _object(await self._read())
        except TimeoutError:
            raise Refusal(Trouble(408, f"The request did not arrive within {BODY_S:g} s.", "timeout")) from None

    async def _read(self) -> bytes:
        chunks: list[bytes] = []
        size, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise HungUp
            chunk = message.get("body", b"")
            size += len(chunk)
            if size <= BODY_LIMIT:
                chunks.append(chunk)
            elif size > THROWN_AWAY * BODY_LIMIT:
                raise _too_large()
            more = message.get("more_body", False)
        if size > BODY_LIMIT:
            raise _too_large()
        return b"".join(chunks)

    async def hung_up(self) -> None:
        """Returns when the client is gone."""
        while (await self._receive())["type"] != "http.disconnect":
            continue

    async def reply(self, value: Mapping[str, Any], status: int = 200, **headers: str) -> None:
        extra = {name.replace("_", "-"): value for name, value in headers.items()}
        body = orjson.dumps(value)
        await self._begin(status, {"content-type": "application/json", "content-length": str(len(body)), **extra})
        await self.end(body)

    async def accept(self) -> None:
        """There is nothing to say."""
        await self._begin(202, {"content-length": "0"})
        await self.end()

    async def refuse(self, trouble: Trouble) -> None:
        if self.began:
            await self.end(self.shape.trouble_event(trouble))
            return
        headers = {"x_should_retry": "true" if trouble.again else "false"}
        if trouble.again:
            headers["retry_after"] = "2"
        if trouble.status in {408, 413}:
            headers["connection"] = "close"  # the rest of the body is not read
        status = self.shape.overloaded if trouble.code == "overloaded" else trouble.status
        await self.reply(self.shape.trouble(trouble), status, **headers)

    async def stream(self, chunk: bytes) -> None:
        if not self.began:
            await self._begin(200, {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"})
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self, chunk: bytes = b"") -> None:
        await self._send({"type": "http.response.body", "body": chunk, "more_body": False})

    async def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.began = True
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise InvalidInput("The request's body must be one JSON object.")
    return value


def _too_large() -> Refusal:
    return Refusal(Trouble(413, f"The request has more than {BODY_LIMIT:,} bytes.", "request_too_large"))
