"""A cancel reaches what is in flight, once, with its reason."""

from __future__ import annotations

import threading

import pytest

from orchestration.adapters.cancellation import Cancellation
from orchestration.domain.errors import AdapterError, Failure


def test_a_wait_ends_when_another_thread_cancels():
    cancellation = Cancellation()
    threading.Timer(0.01, cancellation.cancel, args=["the swarm was cancelled"]).start()
    assert cancellation.wait(60)
    assert cancellation.is_set


def test_a_wait_without_a_cancel_says_so():
    assert not Cancellation().wait(0.001)


def test_check_raises_with_the_first_reason():
    cancellation = Cancellation()
    cancellation.check()
    cancellation.cancel("first")
    cancellation.cancel("second")
    with pytest.raises(AdapterError, match="first") as caught:
        cancellation.check()
    assert caught.value.kind is Failure.CANCELLED


def test_a_callback_runs_once_while_it_is_registered_and_never_after():
    cancellation, calls = Cancellation(), []
    with cancellation.calling(lambda: calls.append("left")):
        pass
    with cancellation.calling(lambda: calls.append("inside")):
        cancellation.cancel("stop")
        cancellation.cancel("stop again")
    assert calls == ["inside"]


def test_a_callback_registered_too_late_runs_at_once():
    cancellation, calls = Cancellation(), []
    cancellation.cancel("stop")
    with cancellation.calling(lambda: calls.append("late")):
        assert calls == ["late"]
    assert calls == ["late"]


def test_a_limit_is_raised_as_what_it_was():
    cancellation = Cancellation()
    limit = AdapterError(Failure.BUDGET, "The swarm's budget of $5.00 is used up.")
    cancellation.cancel(str(limit), limit)
    cancellation.cancel("too late")
    with pytest.raises(AdapterError, match=r"\$5\.00") as caught:
        cancellation.check()
    assert caught.value.kind is Failure.BUDGET
    assert cancellation.reason == str(limit)
