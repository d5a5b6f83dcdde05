"""The broker inside a process: a message wakes its consumer, and so does whatever lets it take another one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kombu import Connection, Queue

from orchestration.adapters import broker
from orchestration.adapters.broker import Bell
from swarmsite.celery import app

LONG = 30.0


@pytest.fixture(autouse=True)
def _nothing_wakes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "LONGEST_S", LONG)


@pytest.fixture
def connect() -> Iterator[Callable[[], Connection]]:
    opened: list[Connection] = []

    def make() -> Connection:
        opened.append(Connection("memory://", transport_options={"polling_interval": LONG}))
        return opened[-1]

    yield make
    for connection in opened:
        connection.close()


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> Queue:
    return Queue(f"test-{request.node.name}")


class Consumer(threading.Thread):
    """Takes messages until told to end; `prefetch` at most before it acknowledges one."""

    def __init__(self, connection: Connection, queue: Queue, prefetch: int = 0) -> None:
        super().__init__(daemon=True)
        self._connection, self._queue, self._prefetch = connection, queue, prefetch
        self.listening = threading.Event()
        self.messages: list[Any] = []
        self.came = threading.Semaphore(0)

    def run(self) -> None:
        with self._connection.Consumer(self._queue, callbacks=[self._take]) as consumer:
            if self._prefetch:
                consumer.qos(prefetch_count=self._prefetch)
            self.listening.set()
            while "end" not in [message.payload for message in self.messages]:
                self._connection.drain_events(timeout=LONG)

    def _take(self, body: Any, message: Any) -> None:
        self.messages.append(message)
        self.came.release()


def send(connection: Connection, queue: Queue, *payloads: str) -> None:
    with connection.Producer() as producer:
        for payload in payloads:
            producer.publish(payload, routing_key=queue.name, declare=[queue], serializer="json")


def rung(connection: Connection) -> int:
    """How often somebody was woken who consumes through it."""
    transport = connection.transport
    assert isinstance(transport, broker.Transport)
    return transport.bell.count


def test_the_engine_uses_it():
    assert app.connection_for_write(url="memory://").transport_cls == "memory"
    assert isinstance(Connection("memory://").transport, broker.Transport)


def test_a_message_wakes_a_consumer_that_waits(connect: Callable[[], Connection], queue: Queue):
    consumer = Consumer(connect(), queue)
    consumer.start()
    assert consumer.listening.wait(LONG)
    producer = connect()
    for number in range(3):
        send(producer, queue, str(number))
        assert consumer.came.acquire(timeout=LONG / 2), "it slept on"
    send(producer, queue, "end")
    consumer.join(LONG)
    assert [message.payload for message in consumer.messages] == ["0", "1", "2", "end"]


def test_a_message_wakes_nobody_who_consumes_another_queue(connect: Callable[[], Connection], queue: Queue):
    other = Queue(f"{queue.name}-other")
    mine, others = connect(), connect()
    with mine.Consumer(queue), others.Consumer(other):
        before = rung(others)
        send(connect(), queue, "one", "two")
        assert rung(mine) == 2
        assert rung(others) == before
        send(connect(), other, "three")
        assert rung(others) == before + 1


def test_every_consumer_of_a_queue_is_woken(connect: Callable[[], Connection], queue: Queue):
    one, two = connect(), connect()
    with one.Consumer(queue), two.Consumer(queue):
        send(connect(), queue, "for one of you")
        assert rung(one) == rung(two) == 1


@pytest.mark.parametrize("way", ["ack", "reject"])
def test_an_acknowledgement_wakes_a_consumer_that_was_full(connect: Callable[[], Connection], queue: Queue, way: str):
    consumer = Consumer(connect(), queue, prefetch=1)
    send(connect(), queue, "first", "end")
    consumer.start()
    assert consumer.came.acquire(timeout=LONG)
    assert not consumer.came.acquire(timeout=0.05), "it took more than it may"
    getattr(consumer.messages[0], way)()
    assert consumer.came.acquire(timeout=LONG / 2), "it slept on"
    consumer.join(LONG)


def test_a_consumer_does_not_wait_longer_than_it_was_told(connect: Callable[[], Connection], queue: Queue):
    connection = connect()
    with connection.Consumer(queue), pytest.raises(TimeoutError):
        connection.drain_events(timeout=0.01)


def test_a_ring_during_a_look_is_not_missed():
    bell = Bell()
    before = bell.count
    bell.ring()
    started = time.monotonic()
    bell.wait(before, LONG)
    assert time.monotonic() - started < LONG


def test_without_a_ring_a_wait_ends_by_itself():
    bell = Bell()
    bell.wait(bell.count, 0.01)
    assert bell.count == 0


def test_a_ring_wakes_all():
    bell, woken = Bell(), threading.Semaphore(0)

    def wait() -> None:
        bell.wait(0, LONG)
        woken.release()

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    bell.ring()
    for thread in threads:
        thread.join(LONG)
        assert woken.acquire(timeout=0)
