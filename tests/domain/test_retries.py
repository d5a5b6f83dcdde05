"""Only what may work later is tried again, later each time, and not for ever."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orchestration.domain.config import SwarmConfig
from orchestration.domain.errors import Failure
from orchestration.domain.retries import MAX_LOST, GiveUp, Retry, after_failure, after_loss, backoff_ms

PLAIN = SwarmConfig()
DELAYS = st.integers(0, 600_000)


@pytest.mark.parametrize("failure", [None, *(kind for kind in Failure if kind is not Failure.TRANSIENT)])
def test_what_will_not_work_later_is_not_tried_again(failure: Failure | None):
    assert after_failure(failure, 1, PLAIN, jitter=0.5) == GiveUp("")


@pytest.mark.parametrize("retries", [0, 1, 3, 20])
def test_it_is_tried_again_as_often_as_configured(retries: int):
    config = SwarmConfig(max_retries=retries)
    decisions = [after_failure(Failure.TRANSIENT, failures, config, jitter=1) for failures in range(1, retries + 2)]
    assert all(isinstance(one, Retry) for one in decisions[:-1])
    assert decisions[-1] == GiveUp(f" It was tried {retries + 1} times.")


def test_the_delay_doubles_up_to_the_longest():
    config = SwarmConfig(max_retries=20)
    assert [backoff_ms(failures, config) for failures in range(1, 9)] == [
        500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000
    ]  # fmt: skip


@given(DELAYS, DELAYS, st.integers(1, 20), st.floats(0, 1))
def test_a_delay_is_within_its_bounds_and_the_jitter_spreads_its_second_half(
    base: int, longest: int, failures: int, jitter: float
):
    assume(base <= longest)
    config = SwarmConfig(base_delay_ms=base, max_delay_ms=longest, max_retries=20)
    decision = after_failure(Failure.TRANSIENT, failures, config, jitter=jitter)
    assert isinstance(decision, Retry)
    whole = backoff_ms(failures, config)
    assert min(base, longest) <= whole <= longest
    assert whole // 2 <= decision.delay_ms <= whole
    assert after_failure(Failure.TRANSIENT, failures, config, jitter=1) == Retry(whole)


def test_a_lost_process_says_nothing_against_the_subtask_and_is_forgiven_often_but_not_for_ever():
    assert [after_loss(losses) for losses in (1, 4, MAX_LOST)] == [Retry(0)] * 3
    assert MAX_LOST > 20
    decision = after_loss(MAX_LOST + 1)
    assert decision == GiveUp(f" It was lost {MAX_LOST + 1} times with the process that ran it.")
