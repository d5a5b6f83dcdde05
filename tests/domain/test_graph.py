"""The plan as a graph, held against computations too simple to be wrong."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.graph import find_cycle, levels, longest_chain

Edges = dict[str, list[str]]
NAMES = "abcdef"
ANY = st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=4), max_size=6)
ACYCLIC = st.fixed_dictionaries(
    {name: st.lists(st.sampled_from(NAMES[:at]), max_size=3) if at else st.just([]) for at, name in enumerate(NAMES)}
)
# Sums of these are exact, so that two chains of equal weight are equal.
WEIGHTS = st.fixed_dictionaries({name: st.integers(0, 20).map(float) for name in NAMES})


def reachable(graph: Edges, start: str) -> set[str]:
    found: set[str] = set()
    waiting = list(graph.get(start, []))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph.get(name, [])
    return found


def chains(graph: Edges, end: str) -> list[list[str]]:
    """Every chain that ends there, however short."""
    return [[end], *([*chain, end] for before in graph.get(end, []) for chain in chains(graph, before))]


@given(ANY)
def test_a_cycle_is_found_where_one_is_and_only_there(graph: Edges):
    cyclic = any(name in reachable(graph, name) for name in graph)
    assert bool(find_cycle(graph)) == cyclic


@given(ANY)
def test_a_cycle_is_a_way_along_dependencies_back_to_its_start(graph: Edges):
    cycle = find_cycle(graph)
    if cycle:
        assert cycle[0] == cycle[-1]
        assert all(after in graph[name] for name, after in pairwise(cycle))


@pytest.mark.parametrize(
    ("graph", "cycle"),
    [
        ({}, set()),
        ({"a": []}, set()),
        ({"a": ["a"]}, {"a"}),
        ({"a": ["b"], "b": ["a"], "c": ["a"]}, {"a", "b"}),
        ({"a": ["b"], "b": ["c"]}, set()),
    ],
)
def test_cycles_by_hand(graph: Edges, cycle: set[str]):
    assert set(find_cycle(graph)) == cycle


def test_a_chain_of_thousands_is_no_trouble():
    names = [f"n{number}" for number in range(5000)]
    graph = {name: [before] for before, name in pairwise(names)}
    assert levels(graph)[names[-1]] == 4999
    assert find_cycle(graph) == ()
    assert len(find_cycle(graph | {names[0]: [names[-1]]})) == 5001
    assert longest_chain(graph, {})[1] == 0.0


@given(ACYCLIC)
def test_a_level_is_the_length_of_the_longest_chain_before(graph: Edges):
    found = levels(graph)
    assert found == {name: max(len(chain) for chain in chains(graph, name)) - 1 for name in graph}


@given(ACYCLIC)
def test_everything_stands_above_what_it_needs(graph: Edges):
    found = levels(graph)
    assert all(found[name] > found[before] for name in graph for before in graph[name])


@given(ACYCLIC, WEIGHTS)
def test_the_longest_chain_is_the_heaviest_of_all(graph: Edges, weights: dict[str, float]):
    chain, total = longest_chain(graph, weights)
    every = [chain for name in graph for chain in chains(graph, name)]
    assert total == max(sum(weights[name] for name in chain) for chain in every)
    assert total == sum(weights[name] for name in chain)
    assert all(before in graph[name] for before, name in pairwise(chain))


def test_the_longest_chain_by_hand():
    graph = {"plan": [], "quick": ["plan"], "slow": ["plan"], "end": ["quick", "slow"]}
    assert longest_chain(graph, {"plan": 1, "quick": 1, "slow": 5, "end": 2}) == (("plan", "slow", "end"), 8.0)
    assert longest_chain(graph, {"quick": 3}) == (("plan", "quick"), 3.0)
    assert longest_chain({}, {}) == ((), 0.0)


def test_a_dependency_that_is_no_node_of_its_own_counts_too():
    assert levels({"b": ["a"]}) == {"a": 0, "b": 1}
    assert longest_chain({"b": ["a"]}, {"a": 2, "b": 1}) == (("a", "b"), 3.0)
