"""The gateway over real HTTP: retries, deadlines, cancellation in every phase, progress and secrecy."""

from __future__ import annotations

import dataclasses
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from orchestration.adapters import gateway as module
from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.gateway import Gateway, RetryPolicy, get_gateway
from orchestration.adapters.llm.openai import OpenAI
from orchestration.demo.service import Answer, Request, ScriptedService
from orchestration.domain.conversation import Endpoint, Message, Reply, ToolSpec, Usage
from orchestration.domain.errors import AdapterError, Failure

SECRET = "sk-very-secret-value"
MESSAGES = (Message("user", "swarm: s1\nsubtask: one\nDo it."),)
GREP = ToolSpec("grep", "Search.", {"type": "object"})
QUICK = RetryPolicy(max_retries=3, base_delay_ms=1, max_delay_ms=5)
NEVER = RetryPolicy(max_retries=0)


class Rig:
    """A gateway and a service whose answers the test sets: one for all, or one after the other."""

    def __init__(self) -> None:
        self.answers: Callable[[Request], Answer] = lambda _: Answer("hello")
        self.service = ScriptedService(self._script)
        self.gateway = Gateway(providers={"openai": OpenAI(idle_timeout_s=5)})
        self.threads = ThreadPoolExecutor(128)
        self.cancellation = Cancellation()

    def _script(self, request: Request) -> Answer:
        return self.answers(request)

    def script(self, *answers: Answer) -> None:
        """The last one is given for ever."""
        self.answers = lambda request: answers[min(request.number, len(answers)) - 1]

    def endpoint(self, **changes: Any) -> Endpoint:
        plain = Endpoint("main", "openai", self.service.base_url, "m-1", key_env="MAIN_KEY", loopback=True)
        return dataclasses.replace(plain, **changes)

    def ask(self, endpoint: Endpoint | None = None, **options: Any) -> Reply:
        options = {"purpose": "test", "cancellation": self.cancellation, "retries": QUICK, "timeout_s": 30} | options
        return self.gateway.complete(endpoint or self.endpoint(), MESSAGES, [GREP], **options)

    def start(self, endpoint: Endpoint | None = None, **options: Any) -> Future[Reply]:
        return self.threads.submit(self.ask, endpoint, **options)

    def refused(self, endpoint: Endpoint | None = None, **options: Any) -> AdapterError:
        with pytest.raises(AdapterError) as caught:
            self.ask(endpoint, **options)
        return caught.value

    def close(self) -> None:
        self.gateway.close()
        self.service.close()
        self.threads.shutdown()


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setenv("MAIN_KEY", SECRET)
    rig = Rig()
    yield rig
    rig.close()


def until(condition: Callable[[], bool]) -> None:
    """For what the service cannot see: the gateway's own state."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never came true"
        threading.Event().wait(0.002)


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
        (Answer(fault="html"), Failure.PERMANENT),
    ],
)
def test_other_failures_are_not_tried_again(rig: Rig, bad: Answer, kind: Failure):
    rig.script(bad)
    assert (rig.refused().kind, rig.service.total) == (kind, 1)


def test_a_stalled_stream_is_tried_again(rig: Rig):
    rig.gateway.close()
    rig.gateway = Gateway(providers={"openai": OpenAI(idle_timeout_s=0.05)})
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
    error = rig.refused(rig.endpoint(kind="anthropic"))
    assert error.kind is Failure.PERMANENT
    assert 'is of the kind "anthropic", which is not supported yet' in str(error)


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
    error = rig.refused(timeout_s=0.1)
    assert error.kind is Failure.TRANSIENT
    assert "timed out after 0.1 s." in str(error)
    rig.service.wait_for(lambda: rig.service.hung_up == 1)
    assert rig.service.total == 1


def test_the_deadline_covers_the_waits_between_tries_and_tells_the_reason(rig: Rig):
    rig.script(Answer(status=503))
    slow = RetryPolicy(max_retries=100, base_delay_ms=60_000, max_delay_ms=60_000)
    error = rig.refused(timeout_s=0.2, retries=slow)
    assert "timed out after 0.2 s. Before that: main (" in str(error)
    assert "(503: scripted status 503)." in str(error)


def test_the_deadline_covers_the_wait_for_a_slot(rig: Rig):
    rig.script(Answer("first", held="first"))
    narrow = rig.endpoint(max_concurrent=1)
    first = rig.start(narrow)
    rig.service.wait_for(lambda: rig.service.in_flight == 1)
    assert "timed out after 0.05 s" in str(rig.refused(narrow, timeout_s=0.05))
    rig.service.release("first")
    assert first.result(10).text == "first"
    assert rig.ask(narrow).text == "first"


# Cancellation


def ended(rig: Rig, waiting: Future[Reply]) -> None:
    rig.cancellation.cancel("the swarm was cancelled")
    with pytest.raises(AdapterError, match=r"^the swarm was cancelled$") as caught:
        waiting.result(5)
    assert caught.value.kind is Failure.CANCELLED


def test_a_call_cancelled_before_it_begins_reaches_nobody(rig: Rig):
    rig.cancellation.cancel("too late")
    assert rig.refused().kind is Failure.CANCELLED
    assert rig.service.total == 0


def test_cancel_while_waiting_for_a_slot(rig: Rig):
    rig.script(Answer("first", held="first"))
    narrow = rig.endpoint(max_concurrent=1)
    first = rig.start(narrow, cancellation=Cancellation())
    rig.service.wait_for(lambda: rig.service.in_flight == 1)
    second = rig.start(narrow)
    until(lambda: rig.gateway.stats(narrow).waiting == 1)
    ended(rig, second)
    until(lambda: rig.gateway.stats(narrow).waiting == 0)
    rig.service.release("first")
    assert first.result(10).text == "first"
    assert rig.service.total == 1


def test_cancel_while_connecting(rig: Rig):
    with socket.socket() as deaf:  # its backlog is full, so that the kernel answers no further connection
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(deaf.getsockname())
        to = rig.endpoint(base_url=f"http://127.0.0.1:{deaf.getsockname()[1]}/v1")
        waiting = rig.start(to)
        until(lambda: rig.gateway.stats(to).in_flight == 1)
        ended(rig, waiting)
        until(lambda: rig.gateway.stats(to).in_flight == 0)
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("answer", [Answer(delay_s=3600), Answer("long", fault="stall"), Answer("x" * 999, pace_s=9)])
def test_cancel_while_waiting_for_the_answer_and_while_it_streams(rig: Rig, answer: Answer):
    rig.script(answer)
    waiting = rig.start()
    rig.service.wait_for(lambda: rig.service.in_flight == 1)
    ended(rig, waiting)
    rig.service.wait_for(lambda: rig.service.hung_up == 1)
    until(lambda: rig.gateway.stats(rig.endpoint()).in_flight == 0)


def test_cancel_while_backing_off(rig: Rig):
    rig.script(Answer(status=500))
    waiting = rig.start(retries=RetryPolicy(base_delay_ms=3_600_000, max_delay_ms=3_600_000), timeout_s=7200)
    until(lambda: rig.gateway.stats(rig.endpoint()).failures_in_a_row == 1)
    ended(rig, waiting)
    assert rig.service.total == 1


def test_cancel_while_held_back(rig: Rig):
    rig.script(Answer(status=429, headers={"Retry-After": "200"}))
    assert rig.refused(retries=NEVER).transient
    waiting = rig.start()
    until(lambda: rig.gateway.stats(rig.endpoint()).waiting == 1)
    ended(rig, waiting)


def test_cancelling_one_call_leaves_the_others(rig: Rig):
    rig.script(Answer("hello", held="all"))
    others = [rig.start(cancellation=Cancellation()) for _ in range(5)]
    mine = rig.start()
    rig.service.wait_for(lambda: rig.service.in_flight == 6)
    ended(rig, mine)
    rig.service.release("all")
    assert [each.result(10).text for each in others] == ["hello"] * 5


# Closing, forking, keys


def test_closing_ends_every_call(rig: Rig):
    rig.script(Answer("long", fault="stall"))
    waiting = [rig.start() for _ in range(10)]
    rig.service.wait_for(lambda: rig.service.in_flight == 10)
    rig.gateway.close()
    for each in waiting:
        with pytest.raises(AdapterError, match="The model gateway was closed") as caught:
            each.result(5)
        assert caught.value.kind is Failure.CANCELLED
    assert "The model gateway is closed." in str(rig.refused())
    rig.gateway.close()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "_gateway", None)
    yield
    module._close_at_exit()


@pytest.mark.usefixtures("fresh")
def test_a_process_has_one_gateway():
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: get_gateway(), range(8)))) == 1


@pytest.mark.usefixtures("fresh")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_its_own_and_cannot_use_its_parents(rig: Rig):
    parents = get_gateway()
    child = os.fork()
    if child == 0:
        os._exit(_in_child(rig, parents))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    rig.service.wait_for(lambda: rig.service.total == 1)
    assert get_gateway() is parents
    rig.gateway = parents
    assert rig.ask().text == "hello"


def _in_child(rig: Rig, parents: Gateway) -> int:
    with suppress(BaseException):
        mine = get_gateway()
        rig.gateway = parents
        refused = "is closed" in str(rig.refused())
        rig.gateway = mine
        return 0 if refused and mine is not parents and rig.ask().text == "hello" else 1
    return 2


def test_a_key_is_read_at_each_call(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    rig.ask()
    monkeypatch.setenv("MAIN_KEY", "another")
    rig.ask()
    monkeypatch.delenv("MAIN_KEY")
    rig.ask()
    assert [seen.authorization for seen in rig.service.requests] == [f"Bearer {SECRET}", "Bearer another", ""]


def test_a_missing_key_is_refused_at_once_away_from_loopback(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MAIN_KEY")
    error = rig.refused(rig.endpoint(loopback=False))
    assert error.kind is Failure.PERMANENT
    assert "$MAIN_KEY" in str(error)
    assert rig.service.total == 0


def test_proxies_of_the_environment_are_not_used(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with_proxies = Gateway()
    rig.gateway, own = with_proxies, rig.gateway
    assert rig.ask().text == "hello"
    own.close()


@pytest.mark.parametrize(
    "bad",
    [
        Answer(status=401, error={"message": f"Incorrect API key provided: {SECRET}"}),
        Answer(status=500, error={"message": f"Bearer {SECRET} failed"}),
        Answer(status=429, error={"message": SECRET}),
        Answer("long", error={"message": SECRET}, fault="error_event"),
        Answer("long", fault="half_stream"),
        Answer(fault="html"),
    ],
)
def test_the_key_is_in_no_error_no_log_and_no_repr(rig: Rig, bad: Answer, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    rig.script(bad)
    error: BaseException | None = rig.refused()
    shown = [caplog.text, repr(rig.gateway.stats(rig.endpoint())), repr(rig.endpoint()), repr(vars(rig.gateway))]
    while error is not None:
        shown += [str(error), repr(error), *([] if bad.error else _locals(error))]
        error = error.__cause__ or error.__context__
    assert rig.service.requests[0].authorization == f"Bearer {SECRET}"
    assert not [text for text in shown if SECRET in text]


def _locals(error: BaseException) -> list[str]:
    """What an error page with local variables would show of our own frames."""
    shown = []
    trace = error.__traceback__
    while trace is not None:
        if "/orchestration/adapters/" in trace.tb_frame.f_code.co_filename:
            shown += [repr(value) for name, value in trace.tb_frame.f_locals.items() if name != "body"]
        trace = trace.tb_next
    return shown
