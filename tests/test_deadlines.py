"""The tests' own deadlines."""

from __future__ import annotations

import pytest

from orchestration.agents.conversation import OutOfTime
from tests.deadlines import LIMITS, PLENTY_S, clock_from, in_time_for


@pytest.mark.parametrize("needs", LIMITS)
def test_the_first_limit_that_is_long_enough_is_taken(needs: float):
    assert in_time_for(lambda limit: limit * 2, lambda result: result >= needs * 2) == (needs, needs * 2)


def test_where_none_is_long_enough_the_last_result_is_told():
    assert in_time_for(str, lambda _: False) == (LIMITS[-1], str(LIMITS[-1]))


def test_a_clock_begins_when_it_is_told_to():
    begun = False
    clock = clock_from(lambda: begun)(-1)
    assert clock.left() == PLENTY_S
    begun = True
    with pytest.raises(OutOfTime):
        clock.left()
    begun = False
    with pytest.raises(OutOfTime):
        clock.left()
