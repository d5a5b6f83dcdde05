"""Who is the one, and for how long: named leases for writers, and the heartbeat of everything that runs here."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from orchestration.adapters.cancellation import Cancellation
from orchestration.models import Attempt, GateRun, Lease, PlanIteration
from orchestration.models.prepared import PreparedRead, PreparedUpdate

logger = logging.getLogger(__name__)
NOT_OURS = "It was cancelled or taken over by another worker."
POLL_SECONDS = 1.0  # how soon a cancel reaches an attempt in this process


def lease_end() -> datetime:
    return timezone.now() + timedelta(seconds=settings.SWARM["LEASE_SECONDS"])


def new_token() -> str:
    return secrets.token_hex(16)


def _valid(name: str, token: str, now: datetime) -> QuerySet[Lease]:
    return Lease.objects.filter(name=name, token=token, expires_at__gt=now)


def _claimed(name: str, now: datetime, until: datetime, **by: str) -> tuple[QuerySet[Lease], dict[str, Any]]:
    free = Lease.objects.filter(Q(token="") | Q(expires_at__lte=now), name=name)
    return free, {**by, "fence": F("fence") + 1, "expires_at": until}


_held = PreparedRead(lambda **mine: _valid(**mine).values_list("pk"))
_locked = PreparedRead(lambda **mine: _valid(**mine).select_for_update().values_list("pk"))
_renew = PreparedUpdate(lambda until, **mine: (_valid(**mine), {"expires_at": until}))
_claim = PreparedUpdate(_claimed)
_fence = PreparedRead(lambda name: Lease.objects.filter(name=name).values_list("fence"))
_give_back = PreparedUpdate(
    lambda name, token: (Lease.objects.filter(name=name, token=token), {"token": "", "expires_at": None})
)


@dataclass(frozen=True, slots=True)
class Held:
    """A named lease that is ours; `fence` is higher than every earlier holder's."""

    name: str
    token: str
    fence: int

    def confirm(self) -> bool:
        """Inside a transaction: still ours, and locked against a takeover until the commit."""
        return bool(_locked(name=self.name, token=self.token, now=timezone.now()))

    def renew(self) -> bool:
        return _renew(name=self.name, token=self.token, now=timezone.now(), until=lease_end()) == 1

    def lasts(self) -> bool:
        return bool(_held(name=self.name, token=self.token, now=timezone.now()))


@contextmanager
def hold(name: str, holder: str = "") -> Iterator[Held | None]:
    """The named lease, or None where another holder has it. Given back at the end."""
    held = take(name, holder)
    try:
        yield held
    finally:
        if held:
            _give_back(name=name, token=held.token)


def withdraw(name: str) -> None:
    """Takes the lease from whoever has it: its heartbeat ends what runs under it."""
    Lease.objects.filter(name=name).update(token="", expires_at=None)


def take(name: str, holder: str = "") -> Held | None:
    """None where somebody has it. The first to ask for a name makes its row."""
    token = new_token()
    if not _is_free(name, token, holder):
        _, is_new = Lease.objects.get_or_create(name=name)
        if not is_new or not _is_free(name, token, holder):
            return None
    [(fence,)] = _fence(name=name)
    return Held(name, token, fence)


def share(name: str, holder: str, seconds: float) -> None:
    """For `seconds` from now, by whichever process of this holder asks; nothing where somebody else has it."""
    until = timezone.now() + timedelta(seconds=seconds)
    ours = Lease.objects.filter(name=name, holder=holder).exclude(token="")
    if ours.update(expires_at=until) == 0 and take(name, holder) is not None:
        ours.update(expires_at=until)


def _is_free(name: str, token: str, holder: str) -> bool:
    """And from here on ours."""
    return _claim(name=name, token=token, holder=holder, now=timezone.now(), until=lease_end()) == 1


def release_connection() -> None:
    """Before a wait on a model or a child: a pooled connection is given back, SQLite's is cheap to keep."""
    if connection.vendor != "sqlite" and not connection.in_atomic_block:
        connection.close()


Leased = Attempt | PlanIteration | GateRun


class Heartbeat:
    """One thread a process that renews what runs here, and cancels it when the row says so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[type[Leased], int], tuple[str, Cancellation]] = {}
        self._held: dict[Held, Cancellation] = {}
        self._thread: threading.Thread | None = None

    @contextmanager
    def keep(self, row: Leased) -> Iterator[Cancellation]:
        """Renews the row's lease while inside. The flag is set as soon as the lease or the row is no longer ours."""
        cancellation = Cancellation()
        key = (type(row), row.pk)
        with self._lock:
            self._kept[key] = (row.lease_token, cancellation)
            self._start()
        try:
            yield cancellation
        finally:
            with self._lock:
                del self._kept[key]

    @contextmanager
    def keep_lease(self, held: Held) -> Iterator[Cancellation]:
        """The same for a named lease whose work may take longer than it lasts."""
        cancellation = Cancellation()
        with self._lock:
            self._held[held] = cancellation
            self._start()
        try:
            yield cancellation
        finally:
            with self._lock:
                del self._held[held]

    def cancel_all(self, reason: str) -> None:
        """The process is going down: everything that runs here ends now."""
        with self._lock:
            flags = [*self._held.values(), *(flag for _, flag in self._kept.values())]
        for flag in flags:
            flag.cancel(reason)

    def wait_until_idle(self, seconds: float) -> bool:
        """True once nothing is kept any more: every attempt that was cancelled has written its ending."""
        end = time.monotonic() + seconds
        while self._busy() and time.monotonic() < end:
            time.sleep(0.02)
        return not self._busy()

    def _busy(self) -> bool:
        with self._lock:
            return bool(self._kept or self._held)

    def _start(self) -> None:
        """With the lock held."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
            self._thread.start()

    def _snapshot(self) -> dict[tuple[type[Leased], int], tuple[str, Cancellation]]:
        with self._lock:
            return dict(self._kept)

    def _run(self) -> None:
        renewed = time.monotonic()
        while self._going_on():
            time.sleep(POLL_SECONDS)
            due = time.monotonic() - renewed > settings.SWARM["LEASE_SECONDS"] / 3
            renewed = time.monotonic() if due else renewed
            try:
                self._beat(renew=due)
            except DatabaseError:
                logger.exception("The heartbeat could not reach the database; it tries again.")
                close_old_connections()
        connection.close()

    def _going_on(self) -> bool:
        """Ends the thread with the last kept row, so that an idle process holds no connection."""
        with self._lock:
            going_on = bool(self._kept or self._held)
            if not going_on:
                self._thread = None
            return going_on

    def _beat(self, *, renew: bool) -> None:
        with self._lock:
            leases = dict(self._held)
        for held, cancellation in leases.items():
            if not (held.renew() if renew else held.lasts()):
                cancellation.cancel(NOT_OURS)
        kept = self._snapshot()
        for model in {model for model, _ in kept}:
            mine = {pk: entry for (kind, pk), entry in kept.items() if kind is model}
            rows = model._default_manager.filter(pk__in=list(mine), status="running")  # noqa: SLF001 - Django's own
            alive = {(pk, token) for pk, token in rows.values_list("pk", "lease_token")}
            ours = [pk for pk, (token, _) in mine.items() if (pk, token) in alive]
            if renew:
                rows.filter(pk__in=ours).update(lease_expires_at=lease_end())
            for pk in set(mine) - set(ours):
                mine[pk][1].cancel(NOT_OURS)


heartbeat = Heartbeat()
