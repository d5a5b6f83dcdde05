"""The gateway below /gateway/ of the site, for agents whose carrier has a network."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta

import httpx
import openai
import pytest
from django.utils import timezone

from orchestration.demo.service import Answer, ScriptedService
from orchestration.models import Attempt, Step
from orchestration.stages.forward import new_token
from tests import factories
from tests.stages.gateway_rig import ASK, CHAT, Lines, hang_up, until
from tests.web.server import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def live_site(server: LiveServer) -> str:
    return server.url


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    with ScriptedService(Lines(Answer("Hello from afar.")), model="real-1") as service:
        yield service


def running(service: ScriptedService, **fields: object) -> Attempt:
    """An attempt that another process runs."""
    endpoint = factories.make_endpoint(base_url=service.base_url, model="real-1")
    swarm = factories.make_swarm(factories.make_repository(endpoint.team), endpoint=endpoint)
    lease = {"lease_expires_at": timezone.now() + timedelta(minutes=1), "steps": 2}
    return factories.make_attempt(factories.make_subtask(swarm), **lease | fields)


def test_an_attempt_that_runs_elsewhere_asks_with_its_token(live_site, service):
    attempt = running(service)
    factories.make_step(attempt)
    with openai.OpenAI(api_key=new_token(attempt), base_url=f"{live_site}/gateway/openai/v1", max_retries=0) as client:
        said = client.chat.completions.create(model="m", messages=ASK["messages"])
        assert said.choices[0].message.content == "Hello from afar."
        with client.chat.completions.stream(model="m", messages=ASK["messages"]) as events:
            assert "".join(one.delta for one in events if one.type == "content.delta") == "Hello from afar."
    attempt.refresh_from_db()
    assert (attempt.steps, attempt.reserved_steps) == (4, 0)
    words = [(step.number, step.turn, step.text) for step in Step.objects.all()]
    assert words == [(1, 1, "Reading."), (2, 3, "Hello from afar."), (3, 4, "Hello from afar.")]


@pytest.mark.parametrize(
    "fields",
    [{"lease_expires_at": timezone.now()}, {"status": "complete"}, {"started_at": timezone.now() - timedelta(days=1)}],
)
def test_not_once_it_is_over_lost_or_out_of_time(live_site, service, fields):
    attempt = running(service, **fields)
    headers = {"x-api-key": new_token(attempt)}
    refused = httpx.post(f"{live_site}/gateway/anthropic/v1/messages", json={**ASK, "max_tokens": 9}, headers=headers)
    assert refused.status_code in {401, 529}
    assert refused.json()["type"] == "error"
    assert service.total == 0


def test_nobody_else_is_let_in(live_site, service):
    first, second = running(service), running(service)
    mine = new_token(first)
    new_token(second)
    for token in ("", "x", f"{second.public_id}.{mine.partition('.')[2]}"):
        headers = {"Authorization": f"Bearer {token}x"}
        assert (
            httpx.post(f"{live_site}/gateway/openai/v1/chat/completions", json=ASK, headers=headers).status_code == 401
        )
    assert service.total == 0


def test_pages_are_where_they_were(live_site):
    assert httpx.get(f"{live_site}/healthz").status_code == 200
    assert httpx.get(f"{live_site}/gateway").status_code in {302, 404}
    assert httpx.get(f"{live_site}/gateway/").json()["error"]["code"] == "not_found"


def test_whoever_hangs_up_cancels_the_call_here_as_well(live_site):
    with ScriptedService(Lines(Answer("Never.", held="for ever"))) as service:
        attempt = running(service)
        site = httpx.URL(live_site)
        connection = socket.create_connection((site.host, site.port))
        hang_up(connection, f"/gateway{CHAT}", new_token(attempt), service)
        service.wait_for(lambda: service.hung_up == 1)
        until(lambda: Attempt.objects.get(pk=attempt.pk).reserved_steps == 0)
