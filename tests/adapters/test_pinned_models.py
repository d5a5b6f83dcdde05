"""A model service that no operator vouched for is asked at the address that was checked, and at no private one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from django.conf import settings

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.gateway import Gateway, RetryPolicy
from orchestration.adapters.llm.pool import PUBLIC_ONLY, ManyPools
from orchestration.demo.service import Answer, ScriptedService
from orchestration.domain.conversation import Endpoint, Message, Reply
from orchestration.domain.errors import AdapterError


class Bench:
    def __init__(self) -> None:
        self.service = ScriptedService(lambda _: Answer("hello"))
        self.gateway = Gateway()
        self.endpoint = Endpoint("ours", "openai", f"http://models.test:{self.service.port}/v1", "m-1", loopback=True)

    def ask(self, *, vouched: bool) -> Reply:
        return self.gateway.complete(
            replace(self.endpoint, vouched=vouched),
            [Message("user", "Hello")],
            [],
            purpose="test",
            retries=RetryPolicy(max_retries=0),
            cancellation=Cancellation(),
        )


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.gateway.close()
    bench.service.close()


@pytest.fixture
def resolves(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the service's name mean these addresses, one after the other at each look."""
    real = socket.getaddrinfo

    def to(*addresses: str) -> list[str]:
        left = list(addresses)

        def found(host: Any, port: Any, *more: Any, **named: Any) -> Any:
            if host not in {"models.test", b"models.test"}:
                return real(host, port, *more, **named)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (left.pop(0) if len(left) > 1 else left[0], port))]

        monkeypatch.setattr(socket, "getaddrinfo", found)
        return left

    return to


def test_a_private_address_is_refused_unless_somebody_vouched(bench: Bench, resolves: Any):
    resolves("127.0.0.1")
    with pytest.raises(AdapterError, match="private or reserved address"):
        bench.ask(vouched=False)
    assert bench.service.total == 0
    assert bench.ask(vouched=True).text == "hello"  # the control: it would have been reached


def test_an_operator_may_list_it(bench: Bench, resolves: Any, monkeypatch: pytest.MonkeyPatch):
    resolves("127.0.0.1")
    monkeypatch.setitem(settings.SWARM, "ALLOWED_HOSTS_OUT", ("models.test",))
    assert bench.ask(vouched=False).text == "hello"


def test_what_the_name_means_a_moment_later_is_not_asked(bench: Bench, resolves: Any, monkeypatch: pytest.MonkeyPatch):
    """The address that was checked is the one that is used: a second look would lead elsewhere."""
    monkeypatch.setitem(settings.SWARM, "ALLOWED_HOSTS_OUT", ("127.0.0.1",))
    left = resolves("127.0.0.1", "127.0.0.9")
    assert bench.ask(vouched=False).text == "hello"
    assert left == ["127.0.0.9"]  # looked up once


async def test_connections_are_kept_for_one_name_alone(bench: Bench, resolves: Any, monkeypatch: pytest.MonkeyPatch):
    """The certificate was checked for that name: another one at the same address gets a connection of its own."""
    monkeypatch.setitem(settings.SWARM, "ALLOWED_HOSTS_OUT", ("127.0.0.1",))
    resolves("127.0.0.1")
    transport = ManyPools()
    async with httpx.AsyncClient(transport=transport, timeout=60) as client:
        for host in ("models.test", "127.0.0.1", "models.test"):
            address = f"http://{host}:{bench.service.port}/v1/models"
            assert (await client.get(address, extensions={PUBLIC_ONLY: True})).is_success
        assert list(transport._pinned) == ["models.test", "127.0.0.1"]
        assert len(bench.service.connections) == 2
