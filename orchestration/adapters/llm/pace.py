"""How many calls a second a service takes: read from its headers where it tells, found by asking where it does not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestration.adapters.llm.failures import number

LOW = 0.2  # of the limit: from here on calls are spread out
LONGEST_HOLD_S = 300.0
LEAST_RATE = 1 / 60  # a second: nobody is kept from asking for longer than a minute
FASTEST = 1000.0  # a second: that is no limit any more
ENOUGH = 10  # accepted calls that prove a rate; fewer say nothing of what the service takes

# A little under what is told: clocks differ, and one refusal costs more than a late start.
_START, _MOST = 0.97, 4.0

_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "": 1.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one answer says of one limit: how much there is, how much is left, seconds until it is whole again."""

    limit: float
    left: float
    reset_s: float

    @property
    def ratio(self) -> float:
        return self.left / self.limit


def read_allowance(headers: Mapping[str, str], what: str, now: float) -> Allowance | None:
    """`what` is requests or tokens. None where the service does not tell all of it."""
    names = [
        (f"anthropic-ratelimit-{what}-limit", f"anthropic-ratelimit-{what}-remaining"),
        (f"x-ratelimit-limit-{what}", f"x-ratelimit-remaining-{what}"),
    ]
    if what == "requests":
        names += [("x-ratelimit-limit", "x-ratelimit-remaining"), ("ratelimit-limit", "ratelimit-remaining")]
    for limit_name, left_name in names:
        limit, left = number(headers.get(limit_name, "")), number(headers.get(left_name, ""))
        reset = _seconds(headers.get(left_name.replace("remaining", "reset"), ""), now)
        if limit and left is not None and reset is not None:
            return Allowance(limit, min(left, limit), reset)
    return None


def _seconds(text: str, now: float) -> float | None:
    """From 1, 0.5, 120ms, 6m0s, a Unix time or an ISO time."""
    text = text.strip()
    plain = number(text)
    if plain is not None:
        return max(0.0, plain - now) if plain > 1e8 else plain
    if text and not _DURATION.sub("", text):
        return sum(float(amount) * _UNITS[unit] for amount, unit in _DURATION.findall(text))
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return max(0.0, when.replace(tzinfo=when.tzinfo or UTC).timestamp() - now)


@dataclass(slots=True)
class Pace:
    """All times are seconds of the wall clock: processes share it. `rate` 0 is no limit."""

    rate: float = 0.0
    next_at: float = 0.0
    held_until: float = 0.0
    limit: float = 0.0
    window_s: float = 0.0
    factor: float = _START
    accepted: int = 0  # one after the other since `counted_from`: the last refusal, or the last idle time
    counted_from: float = 0.0
    proven: float = 0.0  # what it accepted in a second between two refusals

    @property
    def told(self) -> float:
        """Calls a second by the service's own words; 0 where it does not say."""
        return self.limit / self.window_s if self.window_s else 0.0

    def wait_s(self, now: float) -> float:
        """Until the next call may start."""
        return max(0.0, self.held_until - now, self.next_at - now if self.rate else 0.0)

    def start(self, now: float) -> None:
        """A call starts now. What a late timer cost is made up for, an idle time is not."""
        if self.rate:
            interval = 1 / self.rate
            if now - self.next_at < interval:
                self.next_at += interval
                return
            self.next_at = now + interval
            self.accepted, self.counted_from = 0, now  # an idle time proves nothing of what the service takes

    def heard(self, headers: Mapping[str, str], *, started: float, now: float) -> None:
        """From the headers of any answer; `started` is when its request was sent."""
        requests, tokens = (read_allowance(headers, what, now) for what in ("requests", "tokens"))
        if requests:
            self._learn(requests)
            fresh = now - started <= self.window_s / 4
            if requests.left < 1 and fresh:
                self._hold(now, requests.reset_s)
        if tokens and tokens.ratio < LOW / 2:
            self._hold(now, tokens.reset_s * (LOW - tokens.ratio))

    def refused(self, *, now: float, hold_s: float, delay_s: float, first: bool) -> None:
        """Too many. `first`: since we last slowed down. `delay_s` is where a pace that nobody tells starts."""
        self._hold(now, hold_s)
        if not first:
            return
        if self.told:
            self.factor = max(0.05, self.factor * 0.9)
            self._follow()
        elif self.rate and self.accepted >= ENOUGH:
            self.proven = self.accepted / max(1.0, now - self.counted_from)
            self.rate = max(LEAST_RATE, min(self.rate * 0.7, self.proven * _START))
        elif self.rate:
            self.rate = max(LEAST_RATE, self.rate / 2)
        elif delay_s:
            self.rate = max(LEAST_RATE, 1 / delay_s)
        self.accepted, self.counted_from = 0, now

    def answered(self) -> None:
        """A clean answer: a little faster."""
        self.accepted += 1
        if self.told:
            self.factor = min(_START, self.factor * 1.002) if self.factor < _START else self.factor
            self._follow()
        elif self.rate:
            self.rate *= 1.002 if 0 < 0.9 * self.proven <= self.rate else 1.25
            self.rate = 0.0 if self.rate > FASTEST else self.rate

    def _learn(self, told: Allowance) -> None:
        """The longest reset is the window, for a bucket that fills and for one that is renewed."""
        if told.limit != self.limit:
            self.limit, self.window_s = told.limit, 0.0
        self.window_s = max(self.window_s, told.reset_s)
        if told.ratio >= 0.5:
            self.factor = min(_MOST, self.factor * (1.01 if self.factor >= _START else 1.002))
        elif told.ratio < 0.3 and self.factor > _START:
            self.factor = max(_START, self.factor - 0.01)
        if told.ratio < LOW and self.told and not self.rate:
            self.rate = 1.0  # spread out from now on, as fast as is told
        self._follow()

    def _follow(self) -> None:
        if self.rate and self.told:
            self.rate = max(LEAST_RATE, self.told * self.factor)

    def _hold(self, now: float, seconds: float) -> None:
        self.held_until = max(self.held_until, now + min(seconds, LONGEST_HOLD_S))
