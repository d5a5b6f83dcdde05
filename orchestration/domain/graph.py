"""The plan as a graph of names: cycles, levels, the longest chain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

Graph = Mapping[str, Iterable[str]]  # name -> the names it depends on


def find_cycle(graph: Graph) -> tuple[str, ...]:
    """The names around one cycle, each before one that it depends on, the first again at the end; else empty."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return tuple(reversed(error.args[1]))
    return ()


def levels(graph: Graph) -> dict[str, int]:
    """How many dependencies stand before each name on its longest chain. The graph has no cycle."""
    depth: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        depth[name] = 1 + max((depth[before] for before in graph.get(name, ())), default=-1)
    return depth


def longest_chain(graph: Graph, weights: Mapping[str, float]) -> tuple[tuple[str, ...], float]:
    """The chain of dependencies with the greatest sum of weights, and that sum."""
    best: dict[str, tuple[float, str]] = {}
    for name in TopologicalSorter(graph).static_order():
        before = max(((best[d][0], d) for d in graph.get(name, ())), default=(0.0, ""))
        best[name] = (before[0] + weights.get(name, 0.0), before[1])
    if not best:
        return (), 0.0
    last = max(best, key=lambda name: best[name][0])
    total, chain = best[last][0], [last]
    while best[chain[-1]][1]:
        chain.append(best[chain[-1]][1])
    return tuple(reversed(chain)), total
