"""Whole queues against an oracle: whoever is red beside what landed before it is evicted, and nobody else, whatever
flakes, whichever gate ends first, and however often the machine fails."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import ceil, log2
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.domain.gating import MOST_CAP, Trouble
from orchestration.management.bench.gating import Queue, simulate

EXAMPLES = int(os.environ.get("GATE_EXAMPLES", "150"))


@dataclass(frozen=True)
class Truth:
    """Bad alone, and bad together."""

    bad: frozenset[int]
    pairs: tuple[tuple[int, int], ...] = ()

    def red(self, candidate: frozenset[int]) -> bool:
        return bool(candidate & self.bad) or any(candidate.issuperset(pair) for pair in self.pairs)

    def culprits(self, entries: range) -> list[int]:
        """One after another: what the slowest queue would evict."""
        landed: frozenset[int] = frozenset()
        evicted = []
        for entry in entries:
            if self.red(landed | {entry}):
                evicted.append(entry)
            else:
                landed |= {entry}
        return evicted


@st.composite
def truths(draw: st.DrawFn) -> tuple[int, Truth]:
    entries = draw(st.integers(1, 40))
    one = st.integers(0, entries - 1)
    bad = draw(st.frozensets(one, max_size=6))
    pairs = draw(st.lists(st.tuples(one, one).filter(lambda pair: pair[0] != pair[1]), max_size=4))
    return entries, Truth(bad, tuple(pairs))


def drain(queue: Queue, truth: Truth, chance: Random, *, flaky: float, broken: float) -> tuple[int, int]:
    """Gates end one after another in any order. A green candidate comes out red at most once. Returns the flakes and
    the gates that the machine failed."""
    flaked: set[frozenset[int]] = set()
    failed = 0
    while queue.waiting:
        while queue.step():
            pass
        assert len(queue.running) <= queue.slots
        if not queue.running:
            assert not queue.waiting, "the queue stands still"
            break
        candidate = chance.choice(sorted(queue.running, key=sorted))
        if chance.random() < broken:
            queue.running.remove(candidate)
            queue.trouble = Trouble(queue.trouble.in_a_row + 1)
            failed += 1
            continue
        queue.trouble = Trouble()
        flakes = not truth.red(candidate) and candidate not in flaked and chance.random() < flaky
        flaked |= {candidate} if flakes else set()
        queue.ended(candidate, green=not truth.red(candidate) and not flakes)
    return len(flaked), failed


def most_gates(queue: Queue, flakes: int, failed: int) -> int:
    """One for each landing, a search and a confirmation for each culprit and each flake, on every slot."""
    search = ceil(log2(MOST_CAP)) + 2
    return queue.slots * (len(queue.landed) + search * (len(queue.evicted) + flakes) + 1) + failed


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    truths(),
    st.integers(1, 5),
    st.booleans(),
    st.randoms(use_true_random=False),
    st.sampled_from([0.0, 0.1, 0.5]),
    st.sampled_from([0.0, 0.2]),
)
def test_exactly_the_culprits_are_evicted(  # noqa: PLR0917 - what is drawn
    given_truth: tuple[int, Truth], slots: int, strict: bool, chance: Random, flaky: float, broken: float
):
    entries, truth = given_truth
    queue = Queue(list(range(entries)), slots, strict=strict)
    flakes, failed = drain(queue, truth, chance, flaky=flaky, broken=broken)
    assert queue.evicted == truth.culprits(range(entries))
    assert queue.landed == [entry for entry in range(entries) if entry not in queue.evicted]
    assert not queue.waiting
    assert queue.gates <= most_gates(queue, flakes, failed)


@settings(max_examples=EXAMPLES // 3, deadline=None)
@given(truths(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_where_every_commit_must_be_green_each_was_gated(given_truth: tuple[int, Truth], slots: int, chance: Random):
    entries, truth = given_truth
    queue = Queue(list(range(entries)), slots, strict=True)
    drain(queue, truth, chance, flaky=0.2, broken=0.0)
    for landed in range(len(queue.landed) + 1):
        assert frozenset(queue.landed[:landed]) in queue.greens


@settings(max_examples=EXAMPLES // 3, deadline=None)
@given(truths(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_a_branch_that_is_red_itself_costs_nobody_their_place(
    given_truth: tuple[int, Truth], slots: int, chance: Random
):
    entries, _ = given_truth
    queue = Queue(list(range(entries)), slots, greens=set())
    for _ in range(1000):
        while queue.step():
            pass
        if not queue.running:
            break
        queue.ended(chance.choice(queue.running), green=False)
    assert (queue.landed, queue.evicted) == ([], [])
    assert not queue.running


def test_an_infallible_machine_that_fails_for_a_while_evicts_nobody():
    queue = Queue(list(range(10)), 2)
    for _ in range(20):
        while queue.step():
            pass
        queue.running.clear()
        queue.trouble = Trouble(queue.trouble.in_a_row + 1)
    assert queue.evicted == []
    queue.trouble = Trouble()
    drain(queue, Truth(frozenset({3})), Random(1), flaky=0.0, broken=0.0)
    assert queue.evicted == [3]


def test_a_queue_without_culprits_needs_few_gates():
    queue = Queue(list(range(100)), 1)
    drain(queue, Truth(frozenset()), Random(1), flaky=0.0, broken=0.0)
    assert queue.gates <= 6


def test_the_figures_of_the_benchmark_are_within_their_targets():
    for slots, most in ((1, 0.5), (4, 0.9)):
        figures = [simulate(seed, slots) for seed in range(1, 21)]
        assert sorted(one["gate_runs_per_landing"] for one in figures)[10] <= most
        assert {one["innocents_evicted"] for one in figures} == {0}
