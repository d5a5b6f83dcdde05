"""The prefix ladder, decision by decision."""

from __future__ import annotations

import pytest

from orchestration.domain.gating import (
    LEAST_CAP,
    MOST_CAP,
    TROUBLE_IN_A_ROW,
    Evict,
    Known,
    Land,
    Start,
    Trouble,
    View,
    Wait,
    Why,
    decide,
    grown,
    halved,
)

GREEN, RED, RUNNING = Known(green=True), Known(reds=1), Known(running=True)
TWICE_RED, FLAKED = Known(reds=2), Known(green=True, reds=1)


def view(length: int, known: dict[int, Known] | None = None, **fields: object) -> View:
    return View(length, {0: GREEN} | (known or {}), **fields)  # type: ignore[arg-type]


def started(view: View) -> list[int]:
    return [decision.prefix for decision in decide(view) if isinstance(decision, Start)]


def waits(view: View) -> Wait:
    (decision,) = decide(view)
    assert isinstance(decision, Wait)
    return decision


def test_an_empty_queue_waits():
    assert waits(view(0)) == Wait("Nothing waits to land.")


def test_one_gate_tries_the_longest_prefix_within_the_cap():
    assert decide(view(20)) == (Start(8, Why.PROVE),)
    assert decide(view(20, cap=4)) == (Start(4, Why.PROVE),)
    assert decide(view(3)) == (Start(3, Why.PROVE),)


def test_several_gates_try_a_ladder_of_prefixes():
    assert started(view(20, slots=4)) == [8, 2, 4, 6]
    assert started(view(2, slots=4)) == [2, 1]


def test_a_gate_that_becomes_free_splits_the_largest_gap():
    assert started(view(8, {8: RUNNING, 2: RUNNING}, slots=3)) == [5]


def test_what_came_later_is_tried_while_earlier_gates_run():
    assert started(view(6, {2: RUNNING}, slots=2)) == [6]


def test_nothing_starts_while_every_gate_is_taken():
    assert waits(view(8, {8: RUNNING})).reason == "Gates are running."
    assert waits(view(8, stray=1)).reason == "Gates are running."


def test_the_longest_green_lands_and_proves_the_reds_below_it_flakes():
    assert decide(view(8, {2: RED, 4: GREEN, 6: GREEN, 8: RED}, slots=4)) == (Land(6, flakes=(2,)),)


def test_a_green_lands_at_once_though_longer_ones_still_run():
    assert decide(view(8, {4: GREEN, 8: RUNNING}, slots=2)) == (Land(4),)


def test_a_candidate_that_was_red_and_then_green_lands_as_a_flake():
    assert decide(view(1, {1: FLAKED})) == (Land(1, flakes=(1,)),)


def test_a_red_is_searched_below_itself_only():
    assert decide(view(20, {8: RED})) == (Start(4, Why.SEARCH),)
    assert started(view(20, {8: RED}, slots=3)) == [2, 4, 6]
    assert started(view(20, {8: RED, 4: RED})) == [2]
    assert started(view(20, {8: RED, 4: RUNNING}, slots=2)) == [2]


def test_a_search_waits_where_all_that_could_tell_is_running():
    assert waits(view(9, {2: RED, 1: RUNNING}, slots=4)).reason == "Gates are running."


def test_a_suspect_is_tried_once_more_alone():
    assert decide(view(9, {1: RED})) == (Start(1, Why.CONFIRM),)


def test_a_suspect_that_is_red_again_alone_is_evicted():
    assert decide(view(9, {1: TWICE_RED})) == (Evict(reds=2),)


@pytest.mark.parametrize("first", [RED, Known(running=True, reds=1), Known(running=True, reds=2)])
def test_nobody_is_evicted_for_one_red_or_while_a_gate_may_still_acquit(first: Known):
    assert not any(isinstance(one, Evict) for one in decide(view(9, {1: first}, slots=2)))


def test_nobody_is_evicted_from_a_tip_that_was_not_gated():
    assert decide(View(1, {1: TWICE_RED})) == (Start(0, Why.TIP),)
    assert decide(View(1, {1: RED}, slots=2)) == (Start(1, Why.CONFIRM), Start(0, Why.TIP))
    assert decide(View(1, {1: TWICE_RED, 0: RED})) == (Start(0, Why.TIP),)


def test_where_the_branch_itself_is_red_nobody_is_to_blame():
    told = waits(View(1, {1: TWICE_RED, 0: TWICE_RED}))
    assert told.paused
    assert told.reason == "The gate is red on the branch itself, so nobody who waits is to blame."


def test_where_the_branch_itself_is_red_a_later_entry_may_be_the_cure():
    known = {0: TWICE_RED, 1: TWICE_RED, 2: RED}
    assert decide(View(3, known)) == (Start(3, Why.PROVE),)
    assert decide(View(3, known | {3: GREEN})) == (Land(3, flakes=(1, 2)),)


def test_strict_commits_are_tried_one_by_one_and_in_order():
    assert started(view(20, slots=3, strict=True)) == [1, 2, 3]
    assert started(view(20, {1: RUNNING, 2: RED}, slots=3, strict=True)) == []


def test_strict_commits_land_only_as_far_as_each_is_green():
    assert decide(view(9, {1: GREEN, 2: GREEN, 4: GREEN, 3: RUNNING}, slots=4, strict=True)) == (Land(2),)
    assert decide(view(9, {1: RED, 2: GREEN}, strict=True)) == (Start(1, Why.CONFIRM),)


def test_trouble_with_the_machine_is_tried_again_with_one_gate_at_a_time():
    trouble = Trouble(in_a_row=1, last="No space left.")
    assert started(view(20, slots=4, trouble=trouble)) == [8]
    assert waits(view(20, {8: RUNNING}, slots=4, trouble=trouble)).reason.endswith("it is tried again: No space left.")


def test_trouble_rests_before_the_next_try():
    told = waits(view(20, trouble=Trouble(1, resting=True, last="No space left.")))
    assert told == Wait("The gate could not be run; it is tried again: No space left.")


def test_trouble_that_stays_pauses_the_queue_and_says_so():
    told = waits(view(20, trouble=Trouble(TROUBLE_IN_A_ROW, resting=True, last="No sandbox.")))
    assert told == Wait("The gate could not be run 3 times in a row; it is tried again: No sandbox.", paused=True)


def test_trouble_keeps_nothing_green_from_landing():
    assert decide(view(2, {1: GREEN}, trouble=Trouble(9, resting=True))) == (Land(1),)


def test_the_cap_grows_with_every_landing_and_is_halved_by_every_culprit():
    assert [grown(2), grown(8), grown(63), grown(MOST_CAP)] == [3, 12, MOST_CAP, MOST_CAP]
    assert [halved(64), halved(5), halved(3), halved(2)] == [32, 2, LEAST_CAP, LEAST_CAP]
