"""What binds a built-in agent's calls binds those of an agent that asks over HTTP, one at a time or many at once."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import pytest
from django.db import connection
from django.utils import timezone

from orchestration.adapters.serving.access import SOCKET
from orchestration.demo.service import Answer
from orchestration.domain.conversation import Usage
from orchestration.domain.errors import AdapterError, Failure
from orchestration.models import Attempt, ModelCall, Swarm
from orchestration.stages import forward
from orchestration.stages.accounting import OverBudget
from tests.stages.gateway_rig import ASK, CHAT, MESSAGES, Lines, Office, client_of, hang_up, opened, until

READ = ("read", {"path": "a"})


def at_once(office: Office, count: int, path: str = CHAT, **body: Any) -> list[httpx.Response]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: office.post(path, **body), range(count)))


def error(response: httpx.Response) -> str:
    return str(response.json()["error"]["message"])


@pytest.mark.parametrize("token", ["nonsense", "", "{other}", "{id}.guess", "{token}x"])
def test_a_token_of_nobody_or_of_another_attempt_opens_nothing(world, token):
    with opened(world, Lines()) as office:
        other = Attempt.objects.create(
            subtask=office.attempt.subtask, number=2, status="complete", finished_at=timezone.now()
        )
        given = token.format(other=forward.new_token(other), id=office.attempt.public_id, token=office.access.token)
        with client_of(office.access) as client:
            headers = {"Authorization": f"Bearer {given}" if given else "Basic"}
            refused = [
                client.post(CHAT, json=ASK, headers=headers),
                client.post(MESSAGES, json=ASK, headers={"Authorization": "", "x-api-key": given}),
                client.get("/openai/v1/models", headers=headers),
                client.post(CHAT, content=b"not even JSON", headers=headers),
            ]
        assert [one.status_code for one in refused] == [401] * 4
        assert "token is missing or wrong" in error(refused[0])
        assert refused[0].headers["x-should-retry"] == "false"
        assert refused[1].json()["error"]["type"] == "authentication_error"
        assert office.service.total == 0
        assert office.post().status_code == 200  # the control: with its own token the attempt is answered


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "cancelled", "finished_at": timezone.now()},
        {"lease_token": "of-another-worker"},
        {"lease_expires_at": timezone.now()},
    ],
)
def test_a_token_is_void_once_the_attempt_is_over_or_its_lease_is_lost(world, fields):
    with opened(world, Lines()) as office:
        assert office.post().status_code == 200
        Attempt.objects.filter(pk=office.attempt.pk).update(**fields)
        refused = office.post()
        assert (refused.status_code, office.service.total) == (401, 1)
        assert "attempt of this token is over" in error(refused)


def test_a_token_is_kept_as_a_hash_and_void_once_the_gateway_is_closed(world):
    with opened(world, Lines()) as office:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM orchestration_attempt")
            assert office.access.token not in str(cursor.fetchall())
        assert office.access.token not in repr(office.access)
        assert office.fresh().gateway_hash
    assert not office.fresh().gateway_hash


def test_turns_are_never_more_than_the_limit_whoever_asks_at_once(world):
    with opened(world, Lines(Answer("Yes.", delay_s=0.05)), max_steps_per_subagent=3) as office:
        answers = at_once(office, 6)
        assert sorted(one.status_code for one in answers) == [200, 200, 200, 429, 429, 429]
        assert (office.fresh().steps, office.service.total, office.fresh().reserved_steps) == (3, 3, 0)
        refused = next(one for one in answers if one.status_code == 429)
        assert refused.headers["x-should-retry"] == "false"
        with pytest.raises(AdapterError, match="did not hand off within 3 turns") as ended:
            office.access.stop.check()
        assert ended.value.kind is Failure.PERMANENT


def test_a_call_that_fails_leaves_its_turn_to_the_one_that_waits(world):
    refused = Answer(status=400, error={"message": "no such thing"}, held="first")
    with opened(world, Lines(refused, Answer("Yes.")), max_steps_per_subagent=1) as office:
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(office.post)
            office.service.wait_for(lambda: office.service.in_flight == 1)
            second = pool.submit(office.post)
            office.service.release("first")
            assert (first.result().status_code, second.result().status_code) == (400, 200)
        assert "no such thing" in error(first.result())


def test_more_calls_at_once_than_an_attempt_may_have_are_told_to_come_again(world, monkeypatch):
    monkeypatch.setattr(forward, "AT_ONCE", 2)
    with opened(world, Lines(Answer("Yes.", held="all"))) as office, ThreadPoolExecutor(2) as pool:
        both = [pool.submit(office.post) for _ in range(2)]
        office.service.wait_for(lambda: office.service.in_flight == 2)
        assert office.access.idle() == 0
        third = office.post()
        office.service.release("all")
        assert [one.result().status_code for one in both] == [200, 200]
        assert (third.status_code, third.headers["x-should-retry"]) == (429, "true")
        assert not office.access.stop.is_set
        assert office.access.idle() > 0


def test_tokens_spent_by_parallel_calls_never_pass_the_budget(world):
    answer = Answer("Yes.", usage=Usage(20, 30), delay_s=0.02)
    with opened(world, Lines(answer), budget_tokens=1000) as office:
        answers = at_once(office, 12)
        spent = [one for one in answers if one.status_code == 200]
        swarm = office.swarm()
        assert swarm.tokens == 50 * len(spent) <= 1000
        assert len(spent) >= 1
        while office.post().status_code == 200:
            assert office.swarm().tokens <= 1000
        assert (office.swarm().reserved_tokens, office.fresh().reserved_tokens) == (0, 0)
        with pytest.raises(OverBudget, match="budget of 1,000 tokens"):
            office.access.stop.check()
        assert (office.swarm().status, office.swarm().stopped_by) == ("paused", "swarm")


def test_money_is_held_back_for_each_call_in_flight_and_settled(world):
    world.endpoint.input_price, world.endpoint.output_price = 1, 10
    first, others = (Answer("Yes.", usage=Usage(100, 100), held=held) for held in ("first", "all"))
    with opened(world, Lines(first, others), budget_usd="5") as office, ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(office.post) for _ in range(3)]
        office.service.wait_for(lambda: office.service.in_flight == 3)
        held = office.fresh()
        assert held.reserved_steps == 3
        assert held.reserved_tokens == office.swarm().reserved_tokens > 3 * 4096
        assert office.swarm().reserved_usd > Decimal("0.12")
        office.service.release("first")
        until(lambda: office.fresh().reserved_steps == 2)
        assert held.reserved_tokens > office.fresh().reserved_tokens == office.swarm().reserved_tokens > 2 * 4096
        office.service.release("all")
        assert [one.result().status_code for one in asked] == [200] * 3
        swarm, attempt = office.swarm(), office.fresh()
        assert (swarm.cost_usd, attempt.cost_usd) == (Decimal("0.0033"), Decimal("0.0033"))
        assert (swarm.reserved_tokens, swarm.reserved_usd, attempt.reserved_tokens, attempt.reserved_usd) == (
            0,
            0,
            0,
            0,
        )


def test_no_more_tool_calls_are_given_than_the_swarm_has_left(world):
    with opened(world, Lines(Answer("", (READ, READ, READ))), max_total_steps=4) as office:
        given = [len(office.post().json()["choices"][0]["message"]["tool_calls"]) for _ in range(2)]
        assert given == [3, 1]
        assert (office.swarm().tool_calls, office.fresh().tool_calls) == (4, 4)
        refused = office.post(MESSAGES)
        assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
        assert (office.swarm().tool_calls, office.service.total) == (4, 2)
        with pytest.raises(AdapterError, match="limit of 4 tool calls") as ended:
            office.access.stop.check()
        assert ended.value.kind is Failure.BUDGET


def test_an_agent_that_hangs_up_ends_the_call_and_frees_what_was_held_back(world):
    with opened(world, Lines(Answer("Never.", held="for ever")), budget_tokens=100_000) as office:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"{office.access.directory}/{SOCKET}")
        hang_up(connection, CHAT, office.access.token, office.service)
        office.service.wait_for(lambda: office.service.hung_up == 1)
        until(lambda: office.fresh().reserved_steps == 0)
        assert (office.swarm().reserved_tokens, office.fresh().reserved_tokens, office.fresh().steps) == (0, 0, 0)
        assert ModelCall.objects.count() == 0
        assert not office.access.stop.is_set  # the agent may ask again


def test_a_cancelled_attempt_ends_its_calls(world):
    with opened(world, Lines(Answer("Never.", held="for ever"))) as office, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(office.post)
        office.service.wait_for(lambda: office.service.in_flight == 1)
        office.cancellation.cancel("The swarm was cancelled.")
        assert asked.result().status_code == 503
        assert error(asked.result()) == "The swarm was cancelled."
        assert office.access.stop.is_set


def test_closing_ends_what_is_in_flight_and_leaves_no_socket_and_no_thread(world):
    before = set(threading.enumerate())
    with ThreadPoolExecutor(1) as pool:
        with opened(world, Lines(Answer("Never.", held="for ever"))) as office:
            directory = office.access.directory
            assert directory is not None
            other = client_of(office.access)
            asked = pool.submit(other.post, CHAT, json=ASK)
            office.service.wait_for(lambda: office.service.in_flight == 1)
            assert (directory / SOCKET).is_socket()
        with pytest.raises(httpx.HTTPError):
            asked.result().raise_for_status()
        other.close()
    assert not directory.exists()
    assert office.access.stop.reason == "The attempt is over."  # that ended the call, before its connection was cut
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert left <= {"gateway over HTTP", "model gateway"}
    assert Swarm.objects.get().reserved_tokens == 0
    assert office.fresh().reserved_steps == 0
