"""A hundred callers, and a service that takes few requests a second: nobody fails, little is lost, little refused."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.gateway import Gateway, RetryPolicy
from orchestration.demo.service import Answer, Request, ScriptedService
from orchestration.domain.conversation import Endpoint, Message
from tests.adapters.test_pace import Cache

pytestmark = pytest.mark.long
SPEED = 8  # everything as with 5 requests a second, played so many times as fast
RATE, BURST = 5.0 * SPEED, 5.0
CALLERS, CALLS = 100, 2
SETTLED_AFTER = 60  # calls
LEAST = 0.4  # of the rate; alone on a machine it is over 0.85


class Bucket:
    """Takes RATE requests a second; says so in its headers, and refuses the others."""

    def __init__(self, *, tells: bool = True) -> None:
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self._level, self._at = BURST, time.monotonic()
        self._tells = tells

    def __call__(self, _: Request) -> Answer:
        now = time.monotonic()
        self._level, self._at = min(BURST, self._level + (now - self._at) * RATE), now
        accepted = self._level >= 1
        self._level -= accepted
        (self.accepted if accepted else self.refused).append(now)
        wait_ms = {} if accepted else {"Retry-After-Ms": str(math.ceil(1000 / SPEED))}
        return Answer("hello", status=200 if accepted else 429, headers=wait_ms | self._headers(), delay_s=0.02)

    def _headers(self) -> dict[str, str]:
        if not self._tells:
            return {}
        reset_ms = (BURST - self._level) / RATE * 1000
        left = {"x-ratelimit-remaining-requests": str(int(self._level))}
        return left | {"x-ratelimit-limit-requests": "5", "x-ratelimit-reset-requests": f"{reset_ms:.0f}ms"}

    @property
    def achieved(self) -> float:
        """Of what it would have taken from the first request to the last answer."""
        took = self.accepted[-1] - self.accepted[0]
        return len(self.accepted) / (took * RATE + BURST)

    @property
    def refused_when_settled(self) -> float:
        since = self.accepted[SETTLED_AFTER]
        refused, accepted = (sum(at > since for at in times) for times in (self.refused, self.accepted))
        return refused / (refused + accepted)


@pytest.fixture
def play() -> Iterator[Callable[..., list[str]]]:
    open_: list[Gateway | ScriptedService] = []

    def run(bucket: Bucket, *, gateways: int = 1, kind: str = "openai") -> list[str]:
        """All answers; whoever fails raises here."""
        service, board = ScriptedService(bucket), Cache() if gateways > 1 else None
        ways = [Gateway(board=board) for _ in range(gateways)]
        open_.extend([service, *ways])
        to = Endpoint("main", "openai", service.base_url, "m", loopback=True, request_delay_ms=1000 // SPEED)
        patience = RetryPolicy(max_retries=3, base_delay_ms=500 // SPEED, max_delay_ms=30_000 // SPEED)

        def work(number: int) -> list[str]:
            asked = (to, [Message("user", "hi")], [])
            options = {"purpose": "test", "cancellation": Cancellation(), "retries": patience, "timeout_s": 120.0}
            return [ways[number % gateways].complete(*asked, **options).text for _ in range(CALLS)]

        with ThreadPoolExecutor(CALLERS) as threads:
            return [text for each in threads.map(work, range(CALLERS)) for text in each]

    yield run
    for each in open_:
        each.close()


def test_a_service_that_tells_its_limit_is_used_fully_and_refuses_hardly_anything(play: Callable[..., list[str]]):
    bucket = Bucket()
    assert play(bucket) == ["hello"] * (CALLERS * CALLS)
    assert bucket.achieved >= LEAST
    assert bucket.refused_when_settled < 0.05


def test_two_processes_share_the_pace(play: Callable[..., list[str]]):
    bucket = Bucket()
    assert play(bucket, gateways=2) == ["hello"] * (CALLERS * CALLS)
    assert bucket.achieved >= LEAST
    assert bucket.refused_when_settled < 0.05


def test_a_service_that_only_refuses_loses_no_caller(play: Callable[..., list[str]]):
    bucket = Bucket(tells=False)
    assert play(bucket) == ["hello"] * (CALLERS * CALLS)
    assert bucket.refused_when_settled < 0.2
