"""Another endpoint answers where the first cannot: at once, with the reason, and only where that can help."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from orchestration.adapters.gateway import Gateway
from orchestration.adapters.llm.failures import NoCredit, RequestRefused
from orchestration.demo.service import Answer, ScriptedService
from orchestration.domain.conversation import Endpoint, Usage
from orchestration.domain.errors import Failure
from tests.adapters.gateway_rig import NEVER, SECRET, Rig


class Pair(Rig):
    """`service` is the first endpoint's, `other` the second's; the clock stands still until it is moved."""

    def __init__(self) -> None:
        super().__init__()
        self.other_answer = Answer("from the other", usage=Usage(1_000_000, 0))
        self.other = ScriptedService(lambda _: self.other_answer)
        self.now = 0.0
        self.gateway.close()
        self.gateway = Gateway(clock=lambda: self.now)

    def endpoint(self, **changes: Any) -> Endpoint:
        base_url = self.other.base_url.removesuffix("/v1")
        second = Endpoint(
            "second", "anthropic", base_url, "m-2", id="id-2", input_price=Decimal(3), loopback=True, key_env="NO_KEY"
        )
        return dataclasses.replace(super().endpoint(), alternatives=(second,), **changes)

    @property
    def totals(self) -> tuple[int, int]:
        return self.service.total, self.other.total

    def close(self) -> None:
        super().close()
        self.other.close()


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setenv("MAIN_KEY", SECRET)
    pair = Pair()
    yield pair
    pair.close()


def test_the_first_answers_while_it_can(pair: Pair):
    reply = pair.ask()
    assert (reply.endpoint, reply.detour, pair.totals) == ("main", "", (1, 0))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Answer(status=500), "is overloaded or broken (500"),
        (Answer(status=529), "is overloaded or broken (529"),
        (Answer(status=429, headers={"Retry-After": "200"}), "asks for fewer requests (429"),
        (Answer("long", fault="half_stream"), "before its answer was complete"),
        (Answer(status=401), "refused the key in $MAIN_KEY (401"),
        (Answer(status=402), "has no credit left (402"),
        (Answer(status=404), "knows no model m-1"),
    ],
)
def test_what_is_the_endpoints_fault_is_asked_of_the_next_one_at_once(pair: Pair, bad: Answer, reason: str):
    pair.script(bad)
    reply = pair.ask(retries=NEVER)
    assert (reply.text, reply.endpoint, reply.endpoint_id, reply.model) == ("from the other", "second", "id-2", "m-2")
    assert (reply.retries, reply.cost_usd, pair.totals) == (1, Decimal(3), (1, 1))
    assert reply.detour.startswith("main (127.0.0.1:")
    assert reason in reply.detour


@pytest.mark.parametrize(
    "bad",
    [
        Answer(status=400, error={"message": "bad tools"}),
        Answer(status=400, error={"code": "content_filter"}),
    ],
)
def test_what_is_the_requests_own_fault_is_asked_of_nobody_else(pair: Pair, bad: Answer):
    pair.script(bad)
    assert isinstance(pair.refused(), RequestRefused)
    assert pair.totals == (1, 0)
    assert pair.gateway.health(pair.endpoint()).failures == 0


def test_a_cancel_is_asked_of_nobody_else(pair: Pair):
    pair.script(Answer("long", fault="stall"))
    waiting = pair.start()
    pair.service.wait_for(lambda: pair.service.in_flight == 1)
    pair.cancellation.cancel("enough")
    error = waiting.exception(60)
    assert (str(error), pair.totals) == ("enough", (1, 0))


def test_a_dead_service_is_replaced_by_the_next(pair: Pair):
    to = pair.endpoint()
    pair.service.close()
    reply = pair.ask(to)
    assert (reply.endpoint, "refused the connection" in reply.detour) == ("second", True)


def test_where_both_fail_the_transient_one_decides_and_both_are_told(pair: Pair):
    pair.script(Answer(status=401))
    pair.other_answer = Answer(status=503)
    error = pair.refused()
    assert error.transient
    assert "refused the key" in str(error)
    assert "second (127.0.0.1" in str(error)
    assert pair.totals == (4, 4)


def test_where_none_can_help_the_first_ones_reason_decides(pair: Pair):
    pair.script(Answer(status=402))
    pair.other_answer = Answer(status=401)
    assert (pair.refused().kind, pair.totals) == (Failure.BUDGET, (1, 1))


@pytest.mark.parametrize(("first", "second"), [(402, 401), (401, 402)])
def test_where_none_can_help_and_one_wants_to_be_paid_that_is_what_helps(pair: Pair, first: int, second: int):
    pair.script(Answer(status=first))
    pair.other_answer = Answer(status=second)
    assert isinstance(pair.refused(), NoCredit)


def test_three_failures_in_a_row_leave_it_alone_until_a_probe_brings_it_back(pair: Pair):
    pair.script(Answer(status=500))
    for _ in range(5):
        assert pair.ask().endpoint == "second"
    assert pair.totals == (3, 5)
    pair.script(Answer("well again"))
    pair.now = 29.9
    assert pair.ask().endpoint == "second"
    pair.now = 30.0
    assert pair.ask().endpoint == "main"
    assert pair.ask().endpoint == "main"
    assert pair.gateway.health(pair.endpoint()).healthy


def test_only_one_call_is_the_probe(pair: Pair):
    pair.script(Answer(status=500))
    for _ in range(3):
        pair.ask()
    pair.script(Answer("slow", held="probe"))
    pair.now = 30.0
    probe = pair.start()
    pair.service.wait_for(lambda: pair.service.in_flight == 1)
    assert [pair.ask().endpoint for _ in range(5)] == ["second"] * 5
    pair.service.release("probe")
    assert probe.result(60).endpoint == "main"


def test_a_probe_that_fails_costs_its_call_nothing_and_waits_again(pair: Pair):
    pair.script(Answer(status=500))
    for _ in range(3):
        pair.ask()
    pair.now = 30.0
    assert [pair.ask().endpoint for _ in range(3)] == ["second"] * 3
    assert pair.service.total == 4
    pair.now = 60.0
    pair.ask()
    assert pair.service.total == 5


def test_one_that_asks_for_fewer_is_not_ill_but_passed_over_while_it_wants_nothing(pair: Pair):
    pair.script(Answer(status=429, headers={"Retry-After": "20"}))
    first, second = pair.ask(), pair.ask()
    assert [first.endpoint, second.endpoint, pair.service.total] == ["second", "second", 1]
    assert "wants nothing for 20 s" in second.detour
    assert pair.gateway.health(pair.endpoint()).healthy


def test_a_key_that_is_missing_is_a_reason_to_ask_the_next(pair: Pair, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MAIN_KEY")
    reply = pair.ask(pair.endpoint(loopback=False))
    assert (reply.endpoint, pair.totals) == ("second", (0, 1))
    assert "set the environment variable $MAIN_KEY" in reply.detour


def test_a_history_from_one_kind_is_understood_by_the_other(pair: Pair):
    pair.script(Answer("Looking.", calls=(("grep", {"pattern": "x"}),)), Answer(status=500))
    assert pair.ask().tool_calls[0].name == "grep"
    assert pair.ask().endpoint == "second"
    assert (pair.other.requests[0].kind, pair.other.requests[0].tools) == ("anthropic", ("grep",))
