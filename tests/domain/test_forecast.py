"""A plan's price, its time from the graph and the agents allowed, and who may get into whose way."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.estimates import Estimate, Range
from orchestration.domain.forecast import MOST_PAIRS, Forecast, Planned, forecast
from orchestration.domain.scopes import overlap

BY_KIND = {
    "change": Estimate(Range(10.0, 100.0), Range(1000.0, 5000.0), Range(1.0, 2.0), attempts=7),
    "verify": Estimate(Range(5.0, 20.0), Range(100.0, 500.0), Range(0.1, 0.2)),
    "research": Estimate(Range(5.0, 20.0), Range(100.0, 500.0), Range(0.1, 0.2)),
}


def planned(name: str, *needs: str, scope: str = "", kind: str = "change") -> Planned:
    return Planned(name, kind, tuple(scope.split()), needs)


def met(plan: list[Planned]) -> list[tuple[str, str]]:
    return [(pair.one, pair.other) for pair in forecast(plan, BY_KIND, 4).pairs]


def test_an_empty_plan_costs_nothing():
    found = forecast([], BY_KIND, 4)
    assert (found.cost_usd, found.wall_s, found.chain, found.pairs) == (Range(0, 0), Range(0, 0), (), ())


def test_cost_and_tokens_are_those_of_all_together():
    found = forecast([planned("a"), planned("b"), planned("look", kind="verify")], BY_KIND, 4)
    assert found.cost_usd == Range(2.1, 4.2)
    assert found.tokens == Range(2100.0, 10_500.0)
    assert found.by_name["look"].cost_usd == Range(0.1, 0.2)


def test_with_agents_enough_the_chain_decides():
    found = forecast([planned("a"), planned("b", "a"), planned("c", "b"), planned("d")], BY_KIND, 100)
    assert found.wall_s == Range(30.0, 300.0)
    assert (found.chain, found.limited_by) == (("a", "b", "c"), "chain")


def test_with_few_agents_the_work_decides():
    found = forecast([planned(name) for name in "abcdef"], BY_KIND, 2)
    assert found.wall_s == Range(30.0, 300.0)
    assert (found.work_s, found.limited_by) == (Range(60.0, 600.0), "slots")


def test_what_is_done_already_takes_no_time():
    assert forecast([planned("b", "done-before")], BY_KIND, 4).wall_s == Range(10.0, 100.0)


def test_two_with_the_same_scope_and_no_order_may_conflict():
    plan = [planned("a", scope="src/shop/**"), planned("b", scope="docs/** src/shop/cart.py")]
    (pair,) = forecast(plan, BY_KIND, 4).pairs
    assert (pair.one, pair.other, pair.glob, pair.other_glob) == ("a", "b", "src/shop/**", "src/shop/cart.py")


@pytest.mark.parametrize(
    "plan",
    [
        [planned("a", scope="src/**"), planned("b", "a", scope="src/**")],
        [planned("a", scope="src/**"), planned("m", "a"), planned("b", "m", scope="src/**")],
        [planned("a", scope="src/**"), planned("b", scope="docs/**")],
        [planned("a", scope="src/**"), planned("b", scope="src/**", kind="verify")],
    ],
    ids=["one needs the other", "over a third", "different places", "one only looks"],
)
def test_these_do_not_get_into_each_others_way(plan: list[Planned]):
    assert not met(plan)


def test_an_unknown_scope_is_said_and_never_guessed():
    found = forecast([planned("a"), planned("b", scope="src/**"), planned("look", kind="research")], BY_KIND, 4)
    assert found.unknown == ("a",)
    assert not found.pairs


def test_of_very_many_pairs_only_the_first_are_told():
    found = forecast([planned(f"t{n}", scope="src/**") for n in range(40)], BY_KIND, 4)
    assert len(found.pairs) == MOST_PAIRS
    assert found.more_pairs
    assert not forecast([planned("a", scope="x"), planned("b", scope="x")], BY_KIND, 4).more_pairs


GLOBS = st.sampled_from(
    [
        "src/**",
        "src/a/**",
        "src/a/b.py",
        "*.py",
        "**/b.py",
        "src/[ab]/x",
        "src/{a,b}",
        "docs",
        "./docs/x",
        "!src",
        "/up",
    ]
)


@given(st.lists(st.lists(GLOBS, max_size=3), max_size=6))
def test_no_pair_is_missed_by_looking_only_where_they_can_meet(found: list[list[str]]):
    plan = [Planned(f"t{at}", "change", tuple(scope), ()) for at, scope in enumerate(found)]
    wanted = {
        (one.name, other.name)
        for one, other in combinations(plan, 2)
        if any(overlap(mine, theirs) for mine in one.scope for theirs in other.scope)
    }
    assert set(met(plan)) == wanted


@st.composite
def plans(draw: st.DrawFn) -> list[Planned]:
    names = [f"t{n}" for n in range(draw(st.integers(0, 7)))]
    kinds = st.sampled_from(sorted(BY_KIND))
    return [
        Planned(name, draw(kinds), (), tuple(sorted(draw(st.sets(st.sampled_from(names[:at])))) if at else ()))
        for at, name in enumerate(names)
    ]


@given(plans(), st.integers(1, 10))
def test_more_agents_never_take_longer_and_never_beat_the_chain(plan: list[Planned], slots: int):
    few: Forecast = forecast(plan, BY_KIND, slots)
    many = forecast(plan, BY_KIND, slots + 1)
    assert many.wall_s.high <= few.wall_s.high
    assert many.wall_s.high >= forecast(plan, BY_KIND, 10_000).wall_s.high
    assert few.wall_s.low <= few.wall_s.high <= few.work_s.high
