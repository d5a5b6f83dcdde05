"""One request to a model service over HTTP, and its answer: a stream of events, or one plain body."""

from __future__ import annotations

import asyncio
import json
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Protocol

import httpx
import orjson
from typing_extensions import override

from orchestration.adapters.llm import Headers, Progress, Provider, Text, ignore, unheard
from orchestration.adapters.llm.failures import BASE, join, permanent, refusal, told, transient, unreachable
from orchestration.adapters.llm.keys import Key
from orchestration.adapters.llm.parts import load
from orchestration.adapters.llm.pool import PUBLIC_ONLY
from orchestration.adapters.llm.sse import BOM, EventReader
from orchestration.domain.conversation import Endpoint, Reply, ToolCall, Usage, cost, parse_arguments
from orchestration.domain.errors import AdapterError, InvalidInput

CONNECT_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 30.0
IDLE_TIMEOUT_S = 120.0
BODY_LIMIT = 20_000_000
ERROR_LIMIT = 64_000
# The answer is whole; what may follow is the count of tokens, then the end of the body, which frees the connection.
USAGE_PATIENCE_S = 10.0
END_PATIENCE_S = 0.2
LAST_PORT = 65_535
CUT = "closed the connection before its answer was complete"

_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "text/event-stream, application/json",
    "Accept-Encoding": "identity",  # the size of a body is bounded, and a compressed one has no size
    "User-Agent": "swarmsite",
}


class Draft(Protocol):
    """The answer while it grows; each wire format has its own."""

    size: int  # characters of the answer so far, the reasoning that is not kept included
    model: str
    done: bool
    answered: bool

    @property
    def complete(self) -> bool: ...

    def take(self, value: Mapping[str, Any]) -> None: ...

    def text(self) -> str: ...

    def calls(self) -> tuple[ToolCall, ...]: ...

    def finish(self) -> str: ...

    def usage(self, sent: int) -> Usage: ...


class HttpProvider(Provider):
    """What the wire formats share."""

    path: str

    def __init__(self, *, idle_timeout_s: float = IDLE_TIMEOUT_S, body_limit: int = BODY_LIMIT) -> None:
        self._idle_timeout_s = idle_timeout_s
        self._body_limit = body_limit
        self._extensions = {
            "timeout": {
                "connect": CONNECT_TIMEOUT_S,
                "write": WRITE_TIMEOUT_S,
                "read": idle_timeout_s,
                "pool": None,  # the caller's deadline bounds the wait for a connection
            }
        }

    @abstractmethod
    def draft(self) -> Draft: ...

    @abstractmethod
    def headers(self, key: Key) -> dict[str, str]: ...

    @override
    async def complete(
        self,
        transport: httpx.AsyncBaseTransport,
        endpoint: Endpoint,
        key: Key,
        body: bytes,
        *,
        on_progress: Progress,
        on_headers: Headers = ignore,
        on_text: Text = unheard,
    ) -> Reply:
        exchange = Exchange(
            endpoint,
            key,
            self.draft(),
            on_progress=on_progress,
            on_headers=on_headers,
            on_text=on_text,
            body_limit=self._body_limit,
        )
        try:
            # Not by way of a client: its cookies, redirects, authentication and hooks would all be switched off.
            response = await transport.handle_async_request(self._request(endpoint, key, body))
            try:
                await exchange.read(response)
            finally:
                await response.aclose()
        except httpx.ReadTimeout:
            raise transient(endpoint, f"sent nothing for {self._idle_timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unreachable(endpoint, error) from None
        return exchange.reply(len(body))

    def _request(self, endpoint: Endpoint, key: Key, body: bytes) -> httpx.Request:
        # Here, so that no frame that an error passes through has the bare key among its variables.
        headers = {**_HEADERS, **self.headers(key)}
        url = _url(endpoint.base_url, self.path)
        extensions = {**self._extensions, PUBLIC_ONLY: not endpoint.vouched}
        return httpx.Request("POST", url, headers=headers, content=body, extensions=extensions)


class Exchange:
    """One request and what came back for it."""

    def __init__(
        self,
        endpoint: Endpoint,
        key: Key,
        draft: Draft,
        *,
        on_progress: Progress,
        on_headers: Headers,
        on_text: Text,
        body_limit: int,
    ) -> None:
        self._endpoint = endpoint
        self._key = key
        self._draft = draft
        self._on_progress = on_progress
        self._on_text = on_text
        self._on_headers = on_headers
        self._body_limit = body_limit
        self._clock = asyncio.get_running_loop().time
        self._started = self._clock()
        self._first: float | None = None
        self._streamed = True

    def reply(self, sent: int) -> Reply:
        draft, now = self._draft, self._clock()
        calls = draft.calls()
        if not draft.answered:
            raise transient(self._endpoint, "answered without saying anything")
        if not all(call.name for call in calls):
            raise transient(self._endpoint, "answered with a tool call that names no tool")
        usage = draft.usage(sent)
        return Reply(
            text=draft.text(),
            tool_calls=calls,
            usage=usage,
            finish_reason=draft.finish(),
            model=draft.model or self._endpoint.model,
            endpoint=self._endpoint.name,
            endpoint_id=self._endpoint.id,
            streamed=self._streamed,
            cost_usd=cost(usage, self._endpoint),
            latency_ms=round((now - self._started) * 1000),
            first_token_ms=round(((self._first or now) - self._started) * 1000),
        )

    async def read(self, response: httpx.Response) -> None:
        self._on_headers(response.headers)
        if not response.is_success:
            raise await self._refused(response)
        if response.headers.get("content-encoding", "identity") != "identity":
            raise permanent(self._endpoint, "compresses its answers although it was asked not to")
        chunks = self._bounded(response)
        head = await _head(chunks)
        if head.startswith(b"<"):
            # Mostly a proxy whose service is away for a moment; a wrong address is known by the same sentence.
            said = "answered with a web page instead of JSON; check the endpoint's base URL"
            raise transient(self._endpoint, said, BASE)
        if head.startswith(b"{"):
            self._take_whole(head + b"".join([chunk async for chunk in chunks]))
        else:
            await self._take_stream(head, chunks)

    async def _refused(self, response: httpx.Response) -> AdapterError:
        body = bytearray()
        with suppress(httpx.HTTPError):  # the status alone says enough
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > ERROR_LIMIT:
                    break
        return refusal(self._endpoint, self._key, response.status_code, response.headers, bytes(body))

    async def _bounded(self, response: httpx.Response) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > self._body_limit:
                raise permanent(self._endpoint, f"sent more than {self._body_limit:,} bytes, which no answer needs")
            yield chunk

    def _take_whole(self, body: bytes) -> None:
        self._streamed = False
        if not body.rstrip().endswith(b"}"):
            raise transient(self._endpoint, CUT)
        self._take(body)
        self._draft.done = True

    async def _take_stream(self, head: bytes, chunks: AsyncIterator[bytes]) -> None:
        events = EventReader()
        self._take_events(events.feed(head))
        while not self._draft.complete:
            chunk = await anext(chunks, None)
            if chunk is None:
                self._take_events([event for event in events.rest() if _is_whole(event)])
                break
            self._take_events(events.feed(chunk))
        if not self._draft.complete:
            raise transient(self._endpoint, CUT)
        await self._take_rest(events, chunks)

    async def _take_rest(self, events: EventReader, chunks: AsyncIterator[bytes]) -> None:
        """A failure here costs the service's own count of tokens, which is then estimated, and a connection."""
        with suppress(TimeoutError, httpx.HTTPError):
            while not self._draft.done:
                async with asyncio.timeout(USAGE_PATIENCE_S):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                self._take_events(events.feed(chunk))
            async with asyncio.timeout(END_PATIENCE_S):
                async for _ in chunks:
                    pass

    def _take_events(self, events: Sequence[bytes]) -> None:
        for event in events:
            if event.strip() == b"[DONE]":
                self._draft.done = True
                return
            self._take(event)
        self._on_progress(self._draft.size)
        self._on_text(self._draft.text)

    def _take(self, data: bytes) -> None:
        value = self._object(data)
        if value.get("error"):
            raise told(self._endpoint, self._key, value["error"])
        self._draft.take(value)
        if self._first is None and self._draft.size:
            self._first = self._clock()

    def _object(self, data: bytes) -> Mapping[str, Any]:
        try:
            value = load(data)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise transient(self._endpoint, "answered with something that is not a JSON object")
        return value


async def _head(chunks: AsyncIterator[bytes]) -> bytes:
    """The first bytes that tell what the body is: its type is often declared wrongly."""
    head = b""
    async for chunk in chunks:
        head = (head + chunk).removeprefix(BOM).lstrip()
        if head:
            break
    return head


@lru_cache(maxsize=256)
def _url(base_url: str, path: str) -> httpx.URL:
    url = httpx.URL(base_url)
    if url.userinfo:
        raise httpx.InvalidURL("a user name or password in it")
    try:
        known = bool(url.host) and (url.port or 0) <= LAST_PORT
    except UnicodeError:  # what begins with xn-- and is none
        known = False
    if not known:
        raise httpx.InvalidURL("a host or port that there cannot be")
    return url.copy_with(path=join(url.path, path))


def _is_whole(event: bytes) -> bool:
    """The last one of a body may end in the middle of a line."""
    if event.strip() == b"[DONE]":
        return True
    try:
        load(event)
    except (ValueError, RecursionError):
        return False
    return True


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """An object in every case: several services fail on a history with anything else."""
    try:
        return parse_arguments(call)
    except InvalidInput:
        return {"not_json": call.arguments}


def dump(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:  # half a surrogate pair, as a file with a foreign encoding brings it
        return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
