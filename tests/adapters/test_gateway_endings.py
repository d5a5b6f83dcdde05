"""A call ends at once when it is cancelled or the gateway closes, and its key is seen nowhere."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import pytest

from orchestration.adapters import gateway as module
from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.gateway import Gateway, RetryPolicy, get_gateway
from orchestration.adapters.llm.sharing import shared_board
from orchestration.adapters.per_process import PerProcess
from orchestration.demo.service import Answer, ScriptedService
from orchestration.domain.conversation import Reply
from orchestration.domain.errors import AdapterError, Failure
from tests.adapters.gateway_rig import NEVER, SECRET, Rig, until


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setenv("MAIN_KEY", SECRET)
    rig = Rig()
    yield rig
    rig.close()


# Cancellation


def ended(rig: Rig, waiting: Future[Reply]) -> None:
    rig.cancellation.cancel("the swarm was cancelled")
    with pytest.raises(AdapterError, match=r"^the swarm was cancelled$") as caught:
        waiting.result(60)
    assert caught.value.kind is Failure.CANCELLED


def test_a_call_cancelled_before_it_begins_reaches_nobody(rig: Rig):
    rig.cancellation.cancel("too late")
    assert rig.refused().kind is Failure.CANCELLED
    assert rig.refused(rig.endpoint(kind="anthropic")).kind is Failure.CANCELLED
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
    assert first.result(60).text == "first"
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
    assert [each.result(60).text for each in others] == ["hello"] * 5


# Closing, forking, keys


def test_closing_ends_every_call(rig: Rig):
    rig.script(Answer("long", fault="stall"))
    waiting = [rig.start() for _ in range(10)]
    rig.service.wait_for(lambda: rig.service.in_flight == 10)
    rig.gateway.close()
    for each in waiting:
        with pytest.raises(AdapterError, match="The model gateway was closed") as caught:
            each.result(60)
        assert caught.value.kind is Failure.CANCELLED
    assert "The model gateway is closed." in str(rig.refused())
    rig.gateway.close()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    another = PerProcess(lambda: Gateway(board=shared_board()))
    monkeypatch.setattr(module, "_gateway", another)
    yield
    another.close()


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
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    rig.gateway.close()
    rig.gateway = Gateway()
    assert rig.ask().text == "hello"


def test_a_redirect_takes_the_key_nowhere(rig: Rig):
    with ScriptedService(lambda _: Answer("elsewhere")) as other:
        rig.script(Answer(status=307, headers={"Location": f"{other.base_url}/chat/completions"}))
        assert "redirects to" in str(rig.refused())
        assert other.total == 0


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
