"""One HTTP/1.1 connection of the scripted model service: requests one after the other, answers chunk by chunk."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from http import HTTPStatus
from typing import Any, Protocol, cast

import orjson
from typing_extensions import override

from orchestration.demo.wire import Kind, models_body

BODY_LIMIT = 50_000_000
HEAD_LIMIT = 64_000
_JSON = {"Content-Type": "application/json"}
_KINDS: Mapping[str, Kind] = {"/v1/chat/completions": "openai", "/v1/messages": "anthropic"}


class Application(Protocol):
    """What answers the requests of every connection."""

    model: str
    bytes_sent: int
    connections: set[Connection]

    def answer(
        self, connection: Connection, body: Mapping[str, Any], authorization: str, kind: Kind
    ) -> Coroutine[Any, Any, None]: ...


class Connection(asyncio.Protocol):
    """Reads requests and starts their answers. A client that goes away ends the answer that it left."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._buffer = bytearray()
        self._answer: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._application.connections.add(self)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._application.connections.discard(self)
        if self._answer is not None:
            self._answer.cancel()

    @override
    def pause_writing(self) -> None:
        self._writable.clear()

    @override
    def resume_writing(self) -> None:
        self._writable.set()

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._answer is None:
            self._next()

    def _next(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_LIMIT:
                self._refuse(431)
            return
        method, path, headers = _read_head(bytes(self._buffer[:end]))
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > BODY_LIMIT or "transfer-encoding" in headers:
            self._refuse(413)
            return
        until = end + 4 + int(length)
        if len(self._buffer) < until:
            return
        body = bytes(self._buffer[end + 4 : until])
        del self._buffer[:until]
        self._route(method, path, headers, body)

    def _route(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        if method == "POST" and path in _KINDS:
            self._start(headers, body, _KINDS[path])
        elif (method, path) == ("GET", "/v1/models"):
            self.reply(200, models_body(self._application.model), _JSON)
        else:
            self.reply(404, _error(f"There is nothing at {method} {path}."), _JSON)

    def _start(self, headers: Mapping[str, str], body: bytes, kind: Kind) -> None:
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict) or not isinstance(value.get("messages"), list):
            self.reply(400, _error("The body must be a JSON object with messages."), _JSON)
            return
        authorization = headers.get("authorization") or headers.get("x-api-key", "")
        answer = self._application.answer(self, value, authorization, kind)
        self._answer = asyncio.get_running_loop().create_task(answer)
        self._answer.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._answer = None
        if not task.cancelled() and (error := task.exception()):
            self.abort()
            raise error
        if self._buffer and not self._transport.is_closing():
            self._next()

    def _refuse(self, status: int) -> None:
        self.reply(status, _error("The request is too large or not understood."), _JSON)
        self.close()

    def reply(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """A whole answer at once."""
        self._put(_head(status, {**headers, "Content-Length": str(len(body))}) + body)

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        self._put(_head(status, {**headers, "Transfer-Encoding": "chunked"}))

    async def write(self, *pieces: bytes) -> None:
        """HTTP chunks, as fast as the client takes them."""
        await self._writable.wait()
        if self._transport.is_closing():
            await asyncio.Event().wait()  # connection_lost() ends the answer
        self._put(b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece))

    def finish(self) -> None:
        self._put(b"0\r\n\r\n")

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _put(self, data: bytes) -> None:
        self._application.bytes_sent += len(data)
        self._transport.write(data)


def _read_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    pairs = (line.partition(":") for line in lines)
    return method, rest.partition(" ")[0], {name.strip().lower(): value.strip() for name, _, value in pairs}


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    known = {each.value: each.phrase for each in HTTPStatus}
    lines = [f"HTTP/1.1 {status} {known.get(status, 'Unusual')}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _error(message: str) -> bytes:
    return orjson.dumps({"error": {"message": message, "type": "invalid_request_error", "code": None}})
