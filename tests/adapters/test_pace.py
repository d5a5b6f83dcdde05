"""How the pace follows a service's headers and refusals; no clock but the test's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from orchestration.adapters.llm.pace import LEAST_RATE, LONGEST_HOLD_S, Allowance, Pace, read_allowance
from orchestration.adapters.llm.sharing import SharedPace

NOW = 1_800_000_000.0


def headers(limit: float, left: float, reset: str) -> dict[str, str]:
    names = ("limit", "remaining", "reset")
    return {f"x-ratelimit-{name}-requests": str(value) for name, value in zip(names, (limit, left, reset), strict=True)}


def told(pace: Pace, limit: float, left: float, reset: str, *, age: float = 0.0, now: float = NOW) -> Pace:
    pace.heard(headers(limit, left, reset), started=now - age, now=now)
    return pace


# Headers


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1", 1.0), ("0.25", 0.25), ("120ms", 0.12), ("6m0s", 360.0), ("1h2m3.5s", 3723.5), (str(NOW + 9), 9.0)],
)
def test_times_are_read_as_services_write_them(text: str, seconds: float):
    assert read_allowance(headers(10, 2, text), "requests", NOW) == Allowance(10, 2, pytest.approx(seconds))


def test_anthropics_headers():
    when = datetime.fromtimestamp(NOW + 12, UTC).isoformat().replace("+00:00", "Z")
    said = {"limit": "50", "remaining": "40", "reset": when}
    given = {f"anthropic-ratelimit-tokens-{name}": value for name, value in said.items()}
    assert read_allowance(given, "tokens", NOW) == Allowance(50, 40, 12)
    assert read_allowance(given, "requests", NOW) is None


@pytest.mark.parametrize("bad", [(0, 0, "1s"), (5, 1, "soon"), (5, 1, ""), ("x", 1, "1s"), (5, "-1", "1s")])
def test_nonsense_is_no_allowance(bad: Any):
    assert read_allowance(headers(*bad), "requests", NOW) is None


# Following


def test_plenty_left_is_no_pace():
    pace = told(Pace(), 100, 60, "30s")
    assert (pace.rate, pace.wait_s(NOW)) == (0.0, 0.0)


def test_little_left_spreads_calls_at_what_is_told():
    pace = told(Pace(), 100, 10, "20s")
    assert pace.rate == pytest.approx(5.0, rel=0.05)
    pace.start(NOW)
    assert pace.wait_s(NOW) == pytest.approx(0.2, rel=0.05)


def test_nothing_left_waits_for_the_reset_where_the_news_is_fresh():
    assert told(Pace(), 5, 0, "1s").wait_s(NOW) == pytest.approx(1.0)
    assert told(Pace(), 5, 0, "1s", age=0.9).wait_s(NOW) == 0.0


def test_few_tokens_left_hold_everybody_back_for_a_part():
    pace = Pace()
    pace.heard({k.replace("requests", "tokens"): v for k, v in headers(1000, 0, "60s").items()}, started=NOW, now=NOW)
    assert pace.wait_s(NOW) == pytest.approx(12.0)


def test_a_refusal_without_headers_starts_at_the_configured_delay():
    pace = Pace()
    pace.refused(now=NOW, hold_s=0.0, delay_s=2.0, first=True)
    assert pace.rate == 0.5


def test_without_a_refusal_there_is_no_delay_and_no_floor():
    pace = Pace()
    for _ in range(100):
        pace.answered()
        pace.start(NOW)
    assert pace.wait_s(NOW) == 0.0


def test_clean_answers_quicken_an_unknown_pace_up_to_what_was_proven():
    pace = Pace()
    pace.refused(now=NOW, hold_s=0.0, delay_s=1.0, first=True)
    for _ in range(20):
        pace.answered()
    assert pace.rate > 20
    pace.refused(now=NOW + 10, hold_s=0.0, delay_s=1.0, first=True)
    assert pace.rate == pytest.approx(2.0, rel=0.05)
    for _ in range(10):
        pace.answered()
    assert pace.rate < 2.1


def test_a_refusal_after_few_answers_halves_the_pace_and_does_not_stop_it():
    pace = Pace()
    for number in range(3):
        pace.refused(now=NOW + number, hold_s=0.0, delay_s=1.0, first=True)
        pace.answered()
    assert pace.rate == pytest.approx(1.25 * 1.25 / 4 * 1.25)


def test_an_idle_time_is_no_proof_of_a_slow_service():
    pace = Pace()
    pace.refused(now=NOW, hold_s=0.0, delay_s=1.0, first=True)
    for number in range(20):
        pace.start(NOW + 60 * number)
        pace.answered()
    rate = pace.rate
    pace.refused(now=NOW + 1200, hold_s=0.0, delay_s=1.0, first=True)
    assert pace.rate == rate / 2


def test_refusals_of_one_burst_slow_down_once():
    pace = told(Pace(), 5, 0, "1s")
    for number in range(20):
        pace.refused(now=NOW, hold_s=1.0, delay_s=1.0, first=number == 0)
    assert pace.rate == pytest.approx(5 * 0.97 * 0.9)
    assert pace.wait_s(NOW) == pytest.approx(1.0)


def test_holds_and_paces_have_an_end():
    pace = Pace()
    pace.refused(now=NOW, hold_s=1e9, delay_s=1e9, first=True)
    assert pace.wait_s(NOW) == LONGEST_HOLD_S
    assert pace.rate == LEAST_RATE


def test_a_late_timer_is_made_up_for_and_an_idle_hour_is_not():
    pace = Pace(rate=10.0)
    pace.start(NOW)
    pace.start(NOW + 0.13)
    assert pace.wait_s(NOW + 0.13) == pytest.approx(0.07, abs=1e-6)
    pace.start(NOW + 3600)
    assert pace.wait_s(NOW + 3600) == pytest.approx(0.1, abs=1e-6)


# Sharing


class Cache:
    """As Django's, in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.broken = False

    def get(self, key: str) -> Any:
        if self.broken:
            raise ConnectionError("nobody there")
        return self.kept.get(key)

    def set(self, key: str, value: Any, timeout: float | None = None) -> None:
        self.get(key)
        self.kept[key] = value

    def add(self, key: str, value: Any, timeout: float | None = None) -> bool:
        return self.get(key) is None and self.kept.setdefault(key, value) is value

    def delete(self, key: str) -> bool:
        return self.get(key) is not None and self.kept.pop(key) is not None


def pair(board: Cache | None) -> tuple[SharedPace, SharedPace]:
    return SharedPace("main", board, lambda: NOW), SharedPace("main", board, lambda: NOW)


def test_what_one_process_hears_slows_down_the_other():
    here, there = pair(Cache())
    here.heard(headers(50, 5, "10s"), NOW)
    assert here.claim() == 0.0
    assert there.claim() > 0.1
    alone, other = pair(None)
    alone.heard(headers(50, 5, "10s"), NOW)
    assert (alone.claim(), other.claim()) == (0.0, 0.0)


def test_a_cache_that_is_gone_stops_nobody_and_is_told_once(caplog: pytest.LogCaptureFixture):
    cache = Cache()
    here, _ = pair(cache)
    cache.broken = True
    here.heard(headers(50, 5, "10s"), NOW)
    assert [here.claim() > 0 for _ in range(3)] == [False, True, True]
    assert len([line for line in caplog.messages if "paces its model calls alone" in line]) == 1


def test_a_lock_that_nobody_gives_back_is_passed_over():
    cache = Cache()
    here, there = pair(cache)
    here.heard(headers(50, 5, "10s"), NOW)
    cache.kept[f"{here._key}-lock"] = 1
    assert there.claim() == 0.0
    assert there.claim() > 0
