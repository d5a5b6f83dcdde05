"""What the tests of the openai provider ask with, and servers that answer them."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from orchestration.adapters.llm.keys import Key
from orchestration.adapters.llm.openai import OpenAI
from orchestration.adapters.llm.pool import ManyPools
from orchestration.demo.service import Answer, ScriptedService
from orchestration.domain.conversation import Endpoint, Message, Reply, ToolSpec
from orchestration.domain.errors import AdapterError

SECRET = "sk-very-secret-value"
MESSAGES = (Message("system", "You work."), Message("user", "swarm: s1\nDo it."))
GREP = ToolSpec("grep", "Search.", {"type": "object", "properties": {"pattern": {"type": "string"}}})


def endpoint(base_url: str = "http://127.0.0.1:1/v1", **changes: Any) -> Endpoint:
    plain = Endpoint("main", "openai", base_url, "m-1", key_env="MAIN_KEY", loopback=True)
    return dataclasses.replace(plain, **changes)


def encode(messages: Sequence[Message] = MESSAGES, tools: Sequence[ToolSpec] = (), **options: Any) -> dict[str, Any]:
    to = options.pop("to", endpoint())
    options = {"tool_choice": None, "max_output_tokens": None} | options
    value: dict[str, Any] = orjson.loads(OpenAI().encode(to, messages, tools, **options))
    return value


class Asker:
    """Asks one scripted service."""

    def __init__(self) -> None:
        self.answer = Answer("hello")
        self.service = ScriptedService(lambda _: self.answer)
        self.pools = ManyPools()
        self.progress: list[int] = []

    async def ask(self, provider: OpenAI | None = None, **changes: Any) -> Reply:
        provider = provider or OpenAI()
        to = endpoint(**{"base_url": self.service.base_url} | changes)
        body = provider.encode(to, MESSAGES, [GREP], tool_choice=None, max_output_tokens=None)
        return await provider.complete(self.pools, to, Key(SECRET), body, on_progress=self.progress.append)

    async def refused(self, provider: OpenAI | None = None, **changes: Any) -> AdapterError:
        with pytest.raises(AdapterError) as caught:
            await self.ask(provider, **changes)
        assert SECRET not in repr(caught.value)
        assert str(caught.value).endswith(".")
        return caught.value


class RawServer:
    """Answers each connection with the same bytes, in the pieces given, and closes it."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            received = b""
            while b'"stream":true' not in received:
                received += connection.recv(65536)
            for piece in self._pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    def close(self) -> None:
        self._thread.join(60)
        self._socket.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
TEXT = b'data: {"choices":[{"delta":{"content":"h\xc3\xa9llo"}}]}\r\n\r\n'
STOP = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\r\n\r\n'
