"""A call begins only where it fits; what is held back for others is waited for; the sentence has the figures."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.budgets import (
    ANSWER_TOKENS,
    LEAST_ANSWER_TOKENS,
    Amount,
    Ask,
    Budget,
    Grant,
    Hold,
    Limit,
    Stop,
    Unit,
    decide,
    said,
    spent_up,
)

ASK = Ask(1000, input_price=Decimal(3), output_price=Decimal(15))
WHOLE = ASK.with_answer(ANSWER_TOKENS)
LEAST = ASK.with_answer(LEAST_ANSWER_TOKENS)


def tokens(most: int, spent: int = 0, reserved: int = 0) -> Limit:
    words = f"The swarm's budget of {most:,} tokens"
    return Limit(words, Unit.TOKENS, Decimal(most), Decimal(spent), Decimal(reserved))


def dollars(most: str, spent: str = "0", reserved: str = "0") -> Limit:
    return Limit(f"The swarm's budget of ${most}", Unit.USD, Decimal(most), Decimal(spent), Decimal(reserved))


def test_the_estimate_is_the_request_and_a_whole_answer_at_their_prices():
    assert Amount(5096, Decimal("0.06444")) == WHOLE
    assert decide([], ASK) == Grant(WHOLE)


def test_what_fits_exactly_fits():
    assert decide([tokens(6096, 500, 500), dollars("0.06444")], ASK) == Grant(WHOLE)


def test_beside_calls_in_flight_it_waits_for_them():
    assert decide([tokens(6095, 500, 500)], ASK) == Hold()
    assert decide([dollars("0.06444", reserved="0.000001")], ASK) == Hold()


def test_the_last_call_holds_back_what_is_left():
    assert decide([tokens(5000, 1000)], ASK) == Grant(Amount(4000, Decimal("0.048")))
    assert decide([tokens(5000, 1000), dollars("0.0330")], ASK) == Grant(Amount(3000, Decimal("0.033")))


def test_where_no_answer_fits_it_stops_with_the_figures():
    assert decide([tokens(1255)], ASK) == Stop(
        "The swarm's budget of 1,255 tokens is used up: 0 tokens spent, and the next call may take 1,256 tokens.",
        Budget.SWARM,
    )
    month = replace(dollars("5.00", "5.2"), of=Budget.MONTH)
    assert decide([month], ASK) == Stop("The swarm's budget of $5.00 is used up: $5.20 spent.", Budget.MONTH)
    assert decide([tokens(1256)], ASK) == Grant(LEAST)


def test_it_stops_although_others_are_in_flight_where_their_savings_would_not_help():
    assert isinstance(decide([tokens(2000, 1000, 900)], ASK), Stop)


def test_a_free_model_has_no_bound_in_dollars():
    assert isinstance(decide([dollars("0.01")], Ask(1_000_000)), Grant)


def test_nothing_more_begins_once_all_is_spent():
    assert spent_up([tokens(10, 9, 5), dollars("1")]) is None
    sentence = "The swarm's budget of $1.00 is used up: $1.00 spent."
    assert spent_up([tokens(10, 9), dollars("1.00", "1.00")]) == Stop(sentence, Budget.SWARM)


@pytest.mark.parametrize(
    ("unit", "figure", "text"),
    [
        (Unit.USD, "0", "$0.00"),
        (Unit.USD, "1234.5", "$1,234.50"),
        (Unit.USD, "0.000123", "$0.000123"),
        (Unit.TOKENS, "1234567", "1,234,567 tokens"),
    ],
)
def test_figures_are_said_as_people_write_them(unit: Unit, figure: str, text: str):
    assert said(unit, Decimal(figure)) == text


ASKS = st.builds(Ask, st.integers(0, 5000), st.integers(0, 20).map(Decimal), st.integers(0, 80).map(Decimal))
LIMITS = st.lists(
    st.builds(tokens, st.integers(1, 20_000), st.integers(0, 9000), st.integers(0, 9000))
    | st.builds(dollars, *[st.integers(1, 999).map(lambda cents: str(Decimal(cents) / 1000))] * 3),
    max_size=3,
)


@given(LIMITS, ASKS)
def test_a_grant_never_reaches_beyond_a_limit_and_a_stop_is_never_early(limits: list[Limit], ask: Ask):
    decision = decide(limits, ask)
    if isinstance(decision, Grant):
        assert all(limit.fits(decision.amount) for limit in limits)
        assert decision.amount.tokens >= ask.input_tokens + LEAST_ANSWER_TOKENS
    elif isinstance(decision, Stop):
        least = ask.with_answer(LEAST_ANSWER_TOKENS)
        assert any(limit.spent + least.of(limit.unit) > limit.most for limit in limits)
    else:
        assert any(limit.reserved for limit in limits)
