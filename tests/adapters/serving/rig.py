"""A gateway over HTTP before a caller that says what a test wants."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.serving.application import Application
from orchestration.adapters.serving.server import serving
from orchestration.adapters.serving.shape import Question, Refusal, Trouble
from orchestration.domain.conversation import Reply, ToolCall, Usage

TOKEN = "the-token"


def reply(text: str = "Hello.", *calls: ToolCall, finish: str = "stop") -> Reply:
    return Reply(
        text=text,
        tool_calls=calls,
        usage=Usage(12, 3, 2),
        finish_reason="tool_calls" if calls else finish,
        model="real-1",
        endpoint="house",
        cost_usd=Decimal(0),
        latency_ms=1,
        first_token_ms=1,
    )


@dataclass
class Caller:
    """Answers at once, or waits for `go` and for whoever hangs up."""

    says: Callable[[Question], Reply] = lambda _: reply()
    model: str = "real-1"
    waits: bool = False
    go: threading.Event = field(default_factory=threading.Event)
    asked: list[Question] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    in_flight: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def ask(self, question: Question, hung_up: Cancellation) -> Reply:
        self.asked.append(question)
        self.in_flight.set()
        with hung_up.calling(self.go.set):
            if self.waits:
                self.go.wait(60)
        if hung_up.is_set:
            self.left.append(hung_up.reason)
            self.ended.set()
            hung_up.check()
        return self.says(question)

    def serve(self, message: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return None

    def door(self, token: str) -> Caller:
        if token != TOKEN:
            raise Refusal(Trouble(401, "Wrong token.", "invalid_token"))
        return self


@contextmanager
def served(caller: Caller, *, keep_alive_s: float = 5.0) -> Iterator[httpx.Client]:
    application = Application(caller.door, keep_alive_s=keep_alive_s)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with (
        serving(application, network=True) as (port, _),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client,
    ):
        yield client


def connect(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 0), 20)


def is_closed(connection: socket.socket) -> bool:
    """Waits for the other side to say something, or to go."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
