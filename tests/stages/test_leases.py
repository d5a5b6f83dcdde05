"""Leases: one holder, a fence that rises, nothing written by one who lost it; the heartbeat renews and cancels."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone
from pytest_django.fixtures import Settings

from orchestration.adapters.cancellation import Cancellation
from orchestration.domain.states import AttemptStatus, IterationStatus
from orchestration.models import Attempt, Lease, PlanIteration
from orchestration.stages import leases
from orchestration.stages.leases import Heartbeat, hold, take, withdraw
from orchestration.stages.transition import advance
from tests import factories
from tests.stages.world import at_once

WAIT_S = 30


def expire(name: str = "branch") -> None:
    Lease.objects.filter(name=name).update(expires_at=timezone.now() - timedelta(seconds=1))


def test_a_lease_has_one_holder():
    held = take("branch", "here:1")
    assert held
    assert take("branch") is None
    assert take("another")
    row = Lease.objects.get(name="branch")
    assert (row.token, row.holder) == (held.token, "here:1")
    assert row.expires_at
    assert row.expires_at > timezone.now()


def test_one_that_ran_out_is_taken_over_and_the_fence_rises():
    first = take("branch")
    expire()
    second = take("branch")
    assert first
    assert second
    assert second.fence > first.fence
    assert second.token != first.token


def test_one_that_is_given_back_is_free_at_once_and_the_fence_rises_still():
    with hold("branch") as first:
        assert first
        with hold("branch") as nobody:
            assert nobody is None
        assert Lease.objects.get(name="branch").token == first.token, "who did not get it gives nothing back"
    with hold("branch") as second:
        assert second
        assert second.fence == first.fence + 1


def test_it_is_given_back_after_an_error_too():
    with pytest.raises(KeyError), hold("branch"):
        raise KeyError("x")
    assert take("branch")


def test_who_lost_it_does_not_give_back_another_holders():
    with hold("branch") as first:
        expire()
        second = take("branch")
    assert first
    assert second
    assert second.renew()


def test_of_many_takers_one_wins():
    Lease.objects.create(name="branch")
    for _ in range(5):
        won = [held for held in at_once(*[lambda: take("branch")] * 8) if held is not None]
        assert len(won) == 1
        expire()
    assert Lease.objects.get(name="branch").fence == 5


def test_of_many_takers_of_a_new_one_one_wins():
    results = at_once(*[lambda: take("new")] * 8)
    assert [type(one).__name__ for one in results if one is not None] == ["Held"]


def test_renewing_carries_it_on_and_says_when_it_is_lost():
    held = take("branch")
    assert held
    before = Lease.objects.get(name="branch").expires_at
    assert held.renew()
    assert before
    after = Lease.objects.get(name="branch").expires_at
    assert after
    assert after > before
    expire()
    assert not held.renew(), "somebody may have acted in between"
    take("branch")
    assert not held.renew()


def test_only_the_holder_confirms():
    held = take("branch")
    assert held
    with transaction.atomic():
        assert held.confirm()
    expire()
    with transaction.atomic():
        assert not held.confirm()
    thief = take("branch")
    assert thief
    with transaction.atomic():
        assert not held.confirm()
        assert thief.confirm()


class Clock:
    """Stands in for Django's."""

    ahead = timedelta()

    def now(self) -> datetime:
        return timezone.now() + self.ahead


def test_nobody_takes_it_over_between_the_confirmation_and_the_commit(monkeypatch: pytest.MonkeyPatch):
    """Even when it runs out meanwhile: the taker waits for the row."""
    held = take("branch")
    assert held
    clock = Clock()
    monkeypatch.setattr(leases, "timezone", clock)
    tried = threading.Event()
    order: list[str] = []

    def steal() -> None:
        tried.wait(WAIT_S)
        assert take("branch")
        order.append("taken")

    def write() -> None:
        with transaction.atomic():
            assert held.confirm()
            clock.ahead = timedelta(days=1)
            tried.set()
            wait_until_somebody_waits()
            order.append("written")

    assert at_once(steal, write) == [None, None]
    assert order == ["written", "taken"]


def wait_until_somebody_waits() -> None:
    """PostgreSQL tells; SQLite has one writer, and the other one cannot even begin."""
    if connection.vendor == "sqlite":
        return
    with connection.cursor() as cursor:
        for _ in range(3000):
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            row = cursor.fetchone()
            if row and row[0]:
                return
            threading.Event().wait(0.01)
    pytest.fail("nobody waits for the row")


# The heartbeat.


@contextmanager
def beating(row: Attempt | PlanIteration) -> Iterator[Cancellation]:
    heart = Heartbeat()
    with heart.keep(row) as cancellation:
        yield cancellation
    if heart._thread:
        heart._thread.join(WAIT_S)


def wait_for(cancellation: Cancellation) -> str:
    assert cancellation.wait(WAIT_S), "nobody cancelled it"
    return cancellation.reason


@pytest.fixture
def _short_leases(settings: Settings) -> None:
    settings.SWARM = settings.SWARM | {"LEASE_SECONDS": 1.5}


def renewed(row: Attempt | PlanIteration) -> bool:
    """Whether its end moves, seen twice."""
    seen = {row.lease_expires_at}
    for _ in range(2000):
        row.refresh_from_db()
        seen.add(row.lease_expires_at)
        if len(seen) == 3:
            return True
        threading.Event().wait(0.01)
    return False


@pytest.mark.usefixtures("_short_leases")
def test_what_runs_here_is_renewed():
    attempt = factories.make_attempt(lease_expires_at=leases.lease_end())
    iteration = factories.make_iteration(attempt.subtask.swarm, status="running", lease_token="planning")
    with beating(attempt) as one, beating(iteration) as other:
        assert renewed(attempt)
        assert renewed(iteration)
        assert not one.is_set
        assert not other.is_set


@pytest.mark.usefixtures("_short_leases")
def test_what_has_ended_here_is_not_renewed_any_more():
    attempt = factories.make_attempt(lease_expires_at=leases.lease_end())
    other = factories.make_attempt(lease_expires_at=leases.lease_end())
    heart = Heartbeat()
    with heart.keep(other):
        with heart.keep(attempt):
            assert renewed(attempt)
        attempt.refresh_from_db()
        ended = attempt.lease_expires_at
        assert renewed(other)
        attempt.refresh_from_db()
        assert attempt.lease_expires_at == ended


def test_a_cancelled_attempt_is_told():
    attempt = factories.make_attempt()
    with beating(attempt) as cancellation:
        assert advance(attempt.subtask.swarm, Attempt.objects.get(), AttemptStatus.CANCELLED)
        assert wait_for(cancellation) == "It was cancelled or taken over by another worker."


def test_an_attempt_that_another_worker_has_is_told_and_no_other():
    attempt, other = factories.make_attempt(), factories.make_attempt()
    with beating(attempt) as cancellation, beating(other) as untouched:
        Attempt.objects.filter(pk=attempt.pk).update(lease_token="another's")
        wait_for(cancellation)
        assert not untouched.is_set


def test_a_plan_that_is_over_is_told():
    swarm = factories.make_swarm()
    iteration = factories.make_iteration(swarm, status="running", lease_token="planning")
    with beating(iteration) as cancellation:
        assert advance(swarm, PlanIteration.objects.get(pk=iteration.pk), IterationStatus.LOST)
        wait_for(cancellation)


def test_a_plan_and_an_attempt_with_the_same_number_are_not_mistaken():
    attempt = factories.make_attempt(pk=4711)
    iteration = factories.make_iteration(attempt.subtask.swarm, pk=4711, status="running", lease_token="planning")
    heart = Heartbeat()
    with heart.keep(attempt) as one, heart.keep(iteration) as other:
        assert advance(attempt.subtask.swarm, Attempt.objects.get(), AttemptStatus.CANCELLED)
        wait_for(one)
        assert not other.is_set


def test_when_the_process_goes_down_everything_here_ends():
    attempt, other = factories.make_attempt(), factories.make_attempt()
    heart = Heartbeat()
    with heart.keep(attempt) as one, heart.keep(other) as two:
        heart.cancel_all("The server was stopped.")
        assert (one.reason, two.reason) == ("The server was stopped.", "The server was stopped.")


def test_the_thread_ends_with_the_last_row_and_begins_again():
    attempt = factories.make_attempt()
    heart = Heartbeat()
    for _ in range(2):
        with heart.keep(attempt):
            thread = heart._thread
            assert thread
            assert thread.is_alive()
        thread.join(WAIT_S)
        assert not thread.is_alive()


def test_a_database_that_is_away_for_a_moment_does_not_end_it(monkeypatch: pytest.MonkeyPatch):
    from django.db import OperationalError

    attempt = factories.make_attempt()
    heart = Heartbeat()
    real, failed = heart._beat, threading.Event()

    def broken(*, renew: bool) -> None:
        if not failed.is_set():
            failed.set()
            raise OperationalError("gone")
        real(renew=renew)

    monkeypatch.setattr(heart, "_beat", broken)
    with heart.keep(attempt) as cancellation:
        assert failed.wait(WAIT_S)
        Attempt.objects.update(lease_token="another's")
        wait_for(cancellation)


def test_a_named_lease_is_renewed_as_long_as_its_work_takes(settings: Settings):
    settings.SWARM = settings.SWARM | {"LEASE_SECONDS": 6}
    held = take("branch")
    assert held
    heart = Heartbeat()
    with heart.keep_lease(held) as cancellation:
        row = Lease.objects.get(name="branch")
        ends = {row.expires_at}
        for _ in range(2000):
            row.refresh_from_db()
            ends.add(row.expires_at)
            if len(ends) == 2:
                break
            threading.Event().wait(0.01)
        assert len(ends) == 2
        assert not cancellation.is_set


def test_work_under_a_lease_that_was_withdrawn_is_told():
    held, other = take("branch"), take("other")
    assert held
    assert other
    heart = Heartbeat()
    with heart.keep_lease(held) as cancellation, heart.keep_lease(other) as untouched:
        withdraw("branch")
        wait_for(cancellation)
        assert not untouched.is_set
    with hold("branch") as free:
        assert free


def test_a_process_that_goes_down_waits_for_all_that_runs_in_it():
    held = take("branch")
    assert held
    heart = Heartbeat()
    with heart.keep_lease(held) as cancellation:
        heart.cancel_all("The server was stopped.")
        assert cancellation.reason == "The server was stopped."
        assert not heart.wait_until_idle(0)
    assert heart.wait_until_idle(0)
