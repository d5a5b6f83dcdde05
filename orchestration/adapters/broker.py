"""The broker of one process: kombu's memory transport, whose consumers are woken instead of looking all the time.

Kombu's own sleeps between two looks: 100 looks a second and worker cost a processor 3 % while nothing happens, and
fewer of them delay every nudge.
"""

from __future__ import annotations

import threading
import time
from queue import Empty
from typing import Any
from weakref import WeakSet

from kombu.transport import memory
from typing_extensions import override

# Whatever frees or brings work rings; should anything ever forget to, this is how long it takes.
LONGEST_S = 1.0


class Bell:
    """Wakes all who wait. Whoever remembers the count from before a look misses nothing that came during it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.count = 0

    def ring(self) -> None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()

    def wait(self, since: int, timeout: float) -> None:
        """Until it has rung after it stood at `since`."""
        with self._changed:
            self._changed.wait_for(lambda: self.count != since, timeout)


_transports: WeakSet[Transport] = WeakSet()
_lock = threading.Lock()  # of the set: it must not grow while somebody goes through it


def ring_for(queue: str) -> None:
    """Wakes who consumes the queue, and nobody else: an engine has a worker for each of its five."""
    with _lock:
        transports = list(_transports)
    for transport in transports:
        if transport.consumes(queue):
            transport.bell.ring()


class Channel(memory.Channel):
    connection: Transport

    @override
    def _put(self, queue: str, message: Any, **options: Any) -> None:
        super()._put(queue, message, **options)
        ring_for(queue)

    @override
    def basic_ack(self, delivery_tag: Any, multiple: bool = False) -> None:
        """A worker that had as many as it may take can take another one."""
        super().basic_ack(delivery_tag, multiple)
        self.connection.bell.ring()

    @override
    def basic_reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        super().basic_reject(delivery_tag, requeue)
        self.connection.bell.ring()


class Transport(memory.Transport):
    Channel = Channel

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)
        self.bell = Bell()
        with _lock:
            _transports.add(self)

    def consumes(self, queue: str) -> bool:
        return any(queue in channel._active_queues for channel in list(self.channels or ()))  # noqa: SLF001 - kombu's own name

    @override
    def drain_events(self, connection: Any, timeout: float | None = None, **options: Any) -> None:
        cycle: Any = self.cycle  # of the queues that are consumed
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            before = self.bell.count
            try:
                cycle.get(self._deliver, timeout=timeout)
            except Empty:
                left = LONGEST_S if end is None else min(LONGEST_S, end - time.monotonic())
                if left <= 0:
                    raise TimeoutError from None
                self.bell.wait(before, left)
            else:
                return
