"""What an attempt will probably take: history where there is enough of it, stated defaults where not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.estimates import (
    DEFAULTS,
    ENOUGH,
    KINDS,
    NOTHING,
    Past,
    Prices,
    Range,
    basis,
    estimates,
)

PRICES = Prices(input=2.0, output=10.0)


def past(kind: str, count: int) -> list[Past]:
    return [Past(kind, seconds=10.0 * n, tokens=1000.0 * n, cost_usd=0.1 * n) for n in range(1, count + 1)]


def test_without_history_the_defaults_are_used_and_priced():
    change = estimates([], PRICES)["change"]
    assert (change.seconds, change.tokens) == DEFAULTS["change"]
    assert not change.from_history
    # 95 % of the tokens at $2 and 5 % at $10 a million: $2.40.
    assert change.cost_usd.low == pytest.approx(30_000 * 2.4 / 1e6)
    assert change.cost_usd.high == pytest.approx(400_000 * 2.4 / 1e6)


def test_one_attempt_too_few_is_no_history():
    assert not estimates(past("change", ENOUGH - 1), PRICES)["change"].from_history
    assert estimates(past("change", ENOUGH), PRICES)["change"].attempts == ENOUGH


def test_history_is_told_without_its_ends():
    change = estimates(past("change", 11), PRICES)["change"]
    assert change.seconds == Range(30.0, 100.0)
    assert change.tokens == Range(3000.0, 10_000.0)
    assert change.cost_usd.low == pytest.approx(0.3)
    assert change.cost_usd.high == pytest.approx(1.0)


def test_each_kind_has_a_history_of_its_own():
    found = estimates([*past("change", 6), *past("verify", 2)], PRICES)
    assert [found[kind].from_history for kind in KINDS] == [True, False, False]


def test_the_basis_says_which():
    both = estimates([*past("change", 6), *past("verify", 2)], PRICES)
    assert basis(["change"], both) == "From this repository's own history: 6 finished change attempts."
    assert basis(["verify", "change"], both) == (
        "From this repository's own history: 6 finished change attempts. Fewer than 5 verify attempts have finished "
        "in this repository, so those figures are defaults and not experience."
    )
    assert basis([], both) == ""


def test_ranges_add_up():
    assert Range(1.0, 2.0) + Range(10.0, 20.0) + NOTHING == Range(11.0, 22.0)


AMOUNTS = st.integers(0, 1_000_000).map(float)


@given(st.lists(st.builds(Past, st.sampled_from(KINDS), AMOUNTS, AMOUNTS, AMOUNTS), max_size=20))
def test_a_range_lies_within_what_happened_and_in_order(done: list[Past]):
    for kind, one in estimates(done, PRICES).items():
        assert one.seconds.low <= one.seconds.high
        assert one.cost_usd.low <= one.cost_usd.high
        if one.from_history:
            seconds = [each.seconds for each in done if each.kind == kind]
            assert min(seconds) <= one.seconds.low
            assert one.seconds.high <= max(seconds)
