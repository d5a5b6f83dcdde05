"""A model service on loopback whose answers come from a script: for the demo, for benchmarks and for tests.

It speaks real HTTP (POST /v1/chat/completions, POST /v1/messages, GET /v1/models) from one event loop, so hundreds
of answers may stream at once, and it can misbehave in every way that a real service does.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Self

from orchestration.adapters.eventloop import LoopThread
from orchestration.demo import messages, wire
from orchestration.demo.connection import Connection
from orchestration.demo.wire import Answer, Kind, Request, read_request
from orchestration.domain.errors import AdapterError, Failure

__all__ = ["Answer", "Request", "Script", "ScriptedService"]

log = logging.getLogger(__name__)

Script = Callable[[Request], Answer]

HOST = "127.0.0.1"
GARBAGE_BYTES = 100_000_000
_JSON = {"Content-Type": "application/json"}
_STREAM = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
_HTML = {"Content-Type": "text/html; charset=utf-8"}


class ScriptedService:
    """Use as a context manager. Scripts run one at a time on the service's loop and must not block:
    to wait, answer with `delay_s`, or with `held` and call release().
    """

    def __init__(self, script: Script, *, port: int = 0, keep: int = 1000, model: str = "scripted") -> None:
        self.model = model
        self.total = 0  # requests so far
        self.in_flight = 0
        self.most_in_flight = 0
        self.hung_up = 0  # answers that the client did not wait for
        self.bytes_sent = 0
        self._script = script
        self._requests: deque[Request] = deque(maxlen=keep)
        self._changed = threading.Condition()
        self._held: dict[str, asyncio.Event] = {}
        self.connections: set[Connection] = set()
        self._loop = LoopThread("scripted model service", self._hang_up)
        try:
            self._server = self._loop.start(self._listen(port)).result()
        except OSError as error:
            self._loop.close()
            message = f"The scripted model service cannot listen on port {port}: {error.strerror}."
            raise AdapterError(Failure.PERMANENT, message) from error
        self.port: int = self._server.sockets[0].getsockname()[1]

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.port}/v1"

    @property
    def requests(self) -> tuple[Request, ...]:
        """The last requests, oldest first."""
        with self._changed:
            return tuple(self._requests)

    def wait_for(self, condition: Callable[[], bool], timeout: float = 60.0) -> None:
        """Until the condition holds; it is asked again whenever a request comes or ends."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise TimeoutError(f"After {timeout} s of waiting the scripted service has seen {self.total} requests.")

    def release(self, held: str) -> None:
        """Let the answers with this `held` go, those that wait and those to come."""
        self._loop.call(lambda: self._gate(held).set())

    def close(self) -> None:
        """End every answer, the sleeping ones too. May be called again."""
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _listen(self, port: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: Connection(self), HOST, port, backlog=512)

    async def _hang_up(self) -> None:
        if hasattr(self, "_server"):
            self._server.close()
        for connection in tuple(self.connections):
            connection.abort()

    def _gate(self, held: str) -> asyncio.Event:
        return self._held.setdefault(held, asyncio.Event())

    def _begin(self, body: Mapping[str, Any], authorization: str, kind: Kind) -> Request:
        with self._changed:
            self.total += 1
            request = read_request(self.total, body, authorization, kind)
            self._requests.append(request)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            self._changed.notify_all()
        return request

    def _end(self, *, hung_up: bool) -> None:
        with self._changed:
            self.in_flight -= 1
            self.hung_up += hung_up
            self._changed.notify_all()

    async def answer(self, connection: Connection, body: Mapping[str, Any], authorization: str, kind: Kind) -> None:
        """Answer one request on its connection."""
        request = self._begin(body, authorization, kind)
        hung_up = True
        try:
            answer = self._ask(request)
            if answer.held:
                await self._gate(answer.held).wait()
            await asyncio.sleep(answer.delay_s)
            await _send(connection, request, answer)
            hung_up = False
        finally:
            self._end(hung_up=hung_up)

    def _ask(self, request: Request) -> Answer:
        try:
            return self._script(request)
        except Exception as error:
            log.exception("The script failed on request %d", request.number)
            return Answer(status=500, error={"message": f"the script failed: {error!r}"})


def _wire(request: Request) -> Any:
    return messages if request.kind == "anthropic" else wire


async def _send(connection: Connection, request: Request, answer: Answer) -> None:
    if answer.fault in _FAULTS:
        await _FAULTS[answer.fault](connection, request, answer)
    elif answer.status != 200:
        connection.reply(answer.status, _wire(request).error_body(answer), {**_JSON, **answer.headers})
    elif not request.stream or answer.fault == "no_stream":
        connection.reply(200, _wire(request).completion(request, answer), {**_JSON, **answer.headers})
    else:
        connection.begin(200, {**_STREAM, **answer.headers})
        await _stream(connection, _wire(request).events(request, answer), answer.pace_s)
        connection.finish()


async def _stream(connection: Connection, pieces: Iterable[bytes], pace_s: float) -> None:
    if not pace_s:
        await connection.write(*pieces)
        return
    for piece in pieces:
        await connection.write(piece)
        await asyncio.sleep(pace_s)


async def _begin_half(connection: Connection, request: Request, answer: Answer) -> None:
    pieces = [piece for piece in _wire(request).events(request, answer) if not _wire(request).is_end(piece)]
    connection.begin(200, _STREAM)
    await _stream(connection, pieces[: max(1, len(pieces) // 2)], answer.pace_s)


async def _drop(connection: Connection, _request: Request, _answer: Answer) -> None:
    connection.close()


async def _half_stream(connection: Connection, request: Request, answer: Answer) -> None:
    await _begin_half(connection, request, answer)
    connection.close()


async def _stall(connection: Connection, request: Request, answer: Answer) -> None:
    await _begin_half(connection, request, answer)
    await asyncio.Event().wait()


async def _garbage(connection: Connection, _request: Request, _answer: Answer) -> None:
    noise = random.Random(0).randbytes(100_000)
    connection.begin(200, _STREAM)
    for _ in range(GARBAGE_BYTES // len(noise)):
        await connection.write(noise)
    connection.finish()


async def _html(connection: Connection, _request: Request, answer: Answer) -> None:
    connection.reply(answer.status, b"<!doctype html><title>Welcome</title><p>It works.", _HTML)


async def _bad_event(connection: Connection, request: Request, answer: Answer) -> None:
    await _begin_half(connection, request, answer)
    await connection.write(b'data: {"choices": [}\n\n')
    connection.finish()


async def _error_event(connection: Connection, request: Request, answer: Answer) -> None:
    await _begin_half(connection, request, answer)
    await connection.write(b"data: " + _wire(request).error_body(answer) + b"\n\n")
    connection.finish()


_FAULTS: Mapping[str | None, Callable[[Connection, Request, Answer], Awaitable[None]]] = {
    "drop": _drop,
    "half_stream": _half_stream,
    "stall": _stall,
    "garbage": _garbage,
    "html": _html,
    "bad_event": _bad_event,
    "error_event": _error_event,
}
