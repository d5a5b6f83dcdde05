"""The gateway over real HTTP: answers, progress, retries and deadlines."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from orchestration.adapters.gateway import Gateway, RetryPolicy
from orchestration.adapters.llm.openai import OpenAI
from orchestration.demo.service import Answer
from orchestration.domain.conversation import Usage
from orchestration.domain.errors import Failure
from tests.adapters.gateway_rig import NEVER, SECRET, Rig
from tests.deadlines import in_time_for


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setenv("MAIN_KEY", SECRET)
    rig = Rig()
    yield rig
    rig.close()


# Answers


def test_a_reply(rig: Rig):
    rig.script(Answer("hi", calls=(("grep", {"pattern": "x"}),), usage=Usage(10, 5)))
    reply = rig.ask()
    assert (reply.text, reply.usage, reply.retries, reply.finish_reason) == ("hi", Usage(10, 5), 0, "tool_calls")
    (seen,) = rig.service.requests
    assert (seen.swarm, seen.subtask, seen.tools) == ("s1", "one", ("grep",))


def test_options_reach_the_service(rig: Rig):
    rig.ask(tool_choice="required", max_output_tokens=99)
    (seen,) = rig.service.requests
    assert (seen.body["tool_choice"], seen.body["max_tokens"]) == ("required", 99)


def test_a_hundred_calls_at_once(rig: Rig):
    rig.script(Answer("one two three", held="all", chunks=5, pace_s=0.001))
    waiting = [rig.start() for _ in range(100)]
    rig.service.wait_for(lambda: rig.service.in_flight == 100, 30)
    assert rig.gateway.stats(rig.endpoint()).in_flight == 100
    rig.service.release("all")
    assert {each.result(30).text for each in waiting} == {"one two three"}
    assert rig.service.most_in_flight == 100
    assert rig.gateway.stats(rig.endpoint()).in_flight == 0


def test_connections_are_used_again(rig: Rig):
    for _ in range(5):
        rig.ask()
    assert len(rig.service.connections) == 1


def test_progress_comes_in_the_callers_thread_and_seldom(rig: Rig):
    rig.script(Answer("x" * 100, chunks=100, pace_s=0.002))
    seen: list[tuple[int, int]] = []
    began = time.monotonic()
    rig.ask(on_progress=lambda size: seen.append((threading.get_ident(), size)))
    took = time.monotonic() - began
    assert {thread for thread, _ in seen} == {threading.get_ident()}
    assert 1 <= len(seen) <= took / 0.5 + 1
    assert all(size <= 100 for _, size in seen)


def test_a_callers_fault_in_on_progress_ends_the_call(rig: Rig):
    rig.script(Answer("long", fault="stall"))

    def fail(_: int) -> None:
        raise LookupError("the lease is gone")

    with pytest.raises(LookupError, match="the lease is gone"):
        rig.ask(on_progress=fail)
    rig.service.wait_for(lambda: rig.service.hung_up == 1)


# Failures and retries


@pytest.mark.parametrize(
    "bad",
    [
        Answer(status=500),
        Answer(status=429),
        Answer(status=529),
        Answer("long", fault="drop"),
        Answer("long", fault="half_stream"),
        Answer("long", fault="bad_event"),
        Answer(fault="html"),
    ],
    ids=lambda answer: str(answer.fault or answer.status),
)
def test_a_transient_failure_is_tried_again_and_counted(rig: Rig, bad: Answer, caplog: pytest.LogCaptureFixture):
    rig.script(bad, bad, Answer("at last"))
    reply = rig.ask(purpose="planner s1")
    assert (reply.text, reply.retries, rig.service.total) == ("at last", 2, 3)
    assert len([line for line in caplog.messages if "planner s1: main (127" in line and "Trying again" in line]) == 2


def test_retries_end(rig: Rig):
    rig.script(Answer(status=503))
    error = rig.refused()
    assert (error.kind, rig.service.total) == (Failure.TRANSIENT, 4)
    assert "overloaded or broken (503" in str(error)


def test_no_retries_means_one_try(rig: Rig):
    rig.script(Answer(status=503))
    assert rig.refused(retries=NEVER).transient
    assert rig.service.total == 1


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (Answer(status=401), Failure.PERMANENT),
        (Answer(status=404), Failure.PERMANENT),
        (Answer(status=400), Failure.PERMANENT),
        (Answer(status=402), Failure.BUDGET),
        (Answer(status=429, error={"code": "insufficient_quota"}), Failure.BUDGET),
    ],
)
def test_other_failures_are_not_tried_again(rig: Rig, bad: Answer, kind: Failure):
    rig.script(bad)
    assert (rig.refused().kind, rig.service.total) == (kind, 1)


def test_a_stalled_stream_is_tried_again(rig: Rig):
    rig.gateway.close()
    rig.gateway = Gateway(providers={"openai": OpenAI(idle_timeout_s=1)})
    rig.script(Answer("long", fault="stall"), Answer("whole"))
    reply = rig.ask()
    assert (reply.text, reply.retries) == ("whole", 1)


def test_the_body_is_encoded_once_for_all_tries(rig: Rig):
    encoded: list[bytes] = []

    class Counting(OpenAI):
        def encode(self, *arguments: Any, **options: Any) -> bytes:
            encoded.append(super().encode(*arguments, **options))
            return encoded[-1]

    rig.gateway.close()
    rig.gateway = Gateway(providers={"openai": Counting()})
    rig.script(Answer(status=500), Answer(status=500), Answer("at last"))
    rig.ask()
    assert (len(encoded), rig.service.total) == (1, 3)


@pytest.mark.parametrize(("retry", "longest"), [(0, 0.5), (1, 1.0), (5, 16.0), (6, 30.0), (500, 30.0)])
def test_the_backoff_doubles_up_to_its_limit(retry: int, longest: float):
    assert RetryPolicy().longest_s(retry) == longest


def test_an_unsupported_kind_is_refused_with_a_sentence(rig: Rig):
    rig.gateway.close()
    rig.gateway = Gateway(providers={"openai": OpenAI()})
    error = rig.refused(rig.endpoint(kind="anthropic"))
    assert error.kind is Failure.PERMANENT
    assert 'is of the kind "anthropic", which is not supported; use "openai".' in str(error)


def test_both_kinds_are_spoken(rig: Rig):
    assert [rig.ask(rig.endpoint(kind=kind)).text for kind in ("openai", "anthropic")] == ["hello", "hello"]
    assert [seen.kind for seen in rig.service.requests] == ["openai", "anthropic"]


# The deadline


@pytest.mark.parametrize(
    "bad",
    [
        Answer("long", fault="stall"),
        Answer(delay_s=3600),
    ],
)
def test_the_deadline_ends_a_call(rig: Rig, bad: Answer):
    rig.script(bad)
    limit, error = in_time_for(lambda limit: rig.refused(timeout_s=limit), lambda _: rig.service.total > 0)
    assert error.kind is Failure.TRANSIENT
    assert f"timed out after {limit:g} s." in str(error)
    rig.service.wait_for(lambda: rig.service.hung_up == rig.service.total > 0)


def test_the_deadline_covers_the_waits_between_tries_and_tells_the_reason(rig: Rig):
    rig.script(Answer(status=503))
    slow = RetryPolicy(max_retries=100, base_delay_ms=60_000, max_delay_ms=60_000)
    limit, error = in_time_for(
        lambda limit: rig.refused(timeout_s=limit, retries=slow), lambda error: "Before" in str(error)
    )
    assert f"timed out after {limit:g} s. Before that: main (" in str(error)
    assert "(503: scripted status 503)." in str(error)


def test_the_deadline_covers_the_wait_for_a_slot(rig: Rig):
    rig.script(Answer("first", held="first"))
    narrow = rig.endpoint(max_concurrent=1)
    first = rig.start(narrow)
    rig.service.wait_for(lambda: rig.service.in_flight == 1)
    assert "timed out after 0.05 s" in str(rig.refused(narrow, timeout_s=0.05))
    rig.service.release("first")
    assert first.result(60).text == "first"
    assert rig.ask(narrow).text == "first"
