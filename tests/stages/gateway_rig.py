"""An attempt with its gateway open, and a scripted model of either kind behind it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx
import openai

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.serving.access import SOCKET, GatewayAccess
from orchestration.agents.conversation import Clock
from orchestration.demo.service import Answer, Request, ScriptedService
from orchestration.models import Attempt, Swarm
from orchestration.stages.forward import open_gateway
from orchestration.stages.reporting import AttemptReport
from orchestration.stages.rows import config_of
from tests.stages.world import World, claimed

Script = Callable[[Request], Answer]
ASK: Mapping[str, Any] = {"model": "whatever", "messages": [{"role": "user", "content": "Mend the parser."}]}
CHAT = "/openai/v1/chat/completions"
MESSAGES = "/anthropic/v1/messages"
LONGEST_S = 60  # bounds a broken machine; a busy one is only slow


class Lines:
    """One answer after another, the last one for ever."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers) or [Answer("Hello.")]
        self.asked = 0

    def __call__(self, request: Request) -> Answer:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


@dataclass
class Office:
    """What a test of the gateway holds."""

    attempt: Attempt
    access: GatewayAccess
    report: AttemptReport
    service: ScriptedService
    cancellation: Cancellation
    client: httpx.Client

    def post(self, path: str = CHAT, /, **body: Any) -> httpx.Response:
        return self.client.post(path, json={**ASK, **({"max_tokens": 100} if path == MESSAGES else {}), **body})

    def fresh(self) -> Attempt:
        return Attempt.objects.get(pk=self.attempt.pk)

    def swarm(self) -> Swarm:
        return Swarm.objects.get(pk=self.attempt.subtask.swarm_id)


@contextmanager
def opened(
    world: World, script: Script, *, kind: str = "openai", network: bool = False, seconds: float = 60, **config: Any
) -> Iterator[Office]:
    """A claimed attempt whose agent reaches `script`, a service of `kind`; the client speaks as the agent would."""
    with ScriptedService(script, model="real-1") as service:
        base_url = service.base_url if kind == "openai" else service.base_url.removesuffix("/v1")
        world.endpoint.kind, world.endpoint.base_url, world.endpoint.model = kind, base_url, "real-1"
        world.endpoint.save()
        swarm = world.running(**config)
        attempt = claimed(world.assigned(swarm))
        report = AttemptReport(swarm, attempt, config_of(swarm).max_total_steps)
        cancellation = Cancellation()
        gateway = open_gateway(attempt, report, cancellation, network=network, left=Clock(seconds).left)
        with gateway as access, client_of(access) as client:
            yield Office(attempt, access, report, service, cancellation, client)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST_S
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        threading.Event().wait(0.01)


def hang_up(connection: socket.socket, path: str, token: str, service: ScriptedService) -> None:
    """Asks, and is gone once the model has been asked."""
    body = json.dumps(ASK).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with connection:
        connection.sendall(head.encode() + body)
        service.wait_for(lambda: service.in_flight == 1)


def openai_client(access: GatewayAccess) -> Any:
    return openai.OpenAI(api_key=access.token, base_url=access.openai_url, max_retries=0)


def anthropic_client(access: GatewayAccess) -> Any:
    return anthropic.Anthropic(api_key=access.token, base_url=access.anthropic_url, max_retries=0)


def client_of(access: GatewayAccess, token: str = "") -> httpx.Client:
    transport = None
    if access.directory is not None:
        transport = httpx.HTTPTransport(uds=str(access.directory / SOCKET))
    headers = {"Authorization": f"Bearer {token or access.token}"}
    return httpx.Client(base_url=access.base_url, headers=headers, transport=transport, timeout=30)
