"""What the merge queue measures of itself while it lands, dies, and is looked after."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from orchestration.adapters.git.store import BareRepository
from orchestration.domain.queueing import FOUND, PARTS
from orchestration.models import MergeEntry, Repository, Swarm
from orchestration.models.queues import queue_figures
from orchestration.stages import branch
from orchestration.stages.maintain import maintain
from orchestration.stages.merge import merge
from orchestration.stages.rows import store_of
from tests.stages import gates
from tests.stages.test_merge_crashes import Killed, dying, queue_of_three, steal
from tests.stages.world import Nudges, World


def figures(swarm: Swarm) -> dict[str, Any]:
    return queue_figures(Swarm.objects.select_related("repository").get(pk=swarm.pk))


def test_every_part_of_a_landing_is_measured_and_the_swap_once_for_a_chain(world: World):
    swarm = queue_of_three(world)
    merge(swarm.pk)
    first, *others = MergeEntry.objects.order_by("chain_place")
    assert set(first.took) == set(PARTS)
    assert [set(one.took) for one in others] == [{"merge", "check", "commit"}] * 2
    told = figures(swarm)
    assert set(told["parts_ms_p50"]) == set(told["parts_ms_p95"]) == set(PARTS)
    assert all(value >= 0 for value in told["parts_ms_p50"].values())
    assert told["recoveries"] == {}


def test_what_was_contained_already_took_no_merge(world: World):
    swarm = world.running()
    world.queued(swarm, "one", {"one.txt": "x\n"})
    merge(swarm.pk)
    world.queued(swarm, "same", {"one.txt": "x\n"})
    merge(swarm.pk)
    assert MergeEntry.objects.get(subtask__name="same").took == {}


@pytest.mark.sandbox
def test_a_gated_landing_keeps_what_its_candidate_took_though_it_was_made_long_before(world: World, nudges: Nudges):
    swarm = gates.gated(world)
    gates.queued(world, swarm, "one")
    gates.work(swarm, nudges)
    assert set(MergeEntry.objects.get().took) == set(PARTS)


@pytest.mark.parametrize(
    ("when", "point"), [("before", {"before_swap": 3}), ("after", {"after_swap": 3})], ids=["not swapped", "swapped"]
)
def test_a_writer_that_died_is_counted_at_the_point_at_which_it_died(
    world: World, monkeypatch: pytest.MonkeyPatch, when: str, point: dict[str, int]
):
    swarm = queue_of_three(world)
    with monkeypatch.context() as crash:
        crash.setattr(BareRepository, "swap", dying(BareRepository.swap, when))
        with pytest.raises(Killed):
            merge(swarm.pk)
    steal(swarm)
    merge(swarm.pk)
    assert figures(swarm)["recoveries"] == point
    reasons = set(MergeEntry.objects.values_list("status", "status_reason"))
    assert reasons == {("landed", FOUND if when == "after" else "")}
    assert set(MergeEntry.objects.earliest("chain_place").took) >= {"merge", "check", "commit"}


def test_a_branch_that_another_writer_moved_is_no_crash(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm, real = queue_of_three(world), branch._intend
    foreign = world.commit(swarm, {"foreign.txt": "f\n"})

    def beaten(*args: Any) -> None:
        real(*args)
        store_of(swarm).swap(swarm.branch, foreign, swarm.base_sha)

    monkeypatch.setattr(branch, "_intend", beaten)
    merge(swarm.pk)
    told = figures(swarm)
    assert (told["swap_rejects"], told["recoveries"], told["landed"]) == (3, {}, 3)


def test_locks_of_killed_children_are_counted_whoever_removes_them(world: World):
    swarm = queue_of_three(world)
    store = store_of(swarm)
    store.pack()
    lock = store.path / "refs" / "heads" / f"{swarm.branch}.lock"
    for path, look in ((lock, merge), (store.path / "packed-refs.lock", None)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (time.time() - 7200,) * 2)
        if look:
            look(swarm.pk)
        else:
            maintain(swarm.repository.pk)
        assert not path.exists()
    assert figures(swarm)["locks_removed"] == 2
    maintain(swarm.repository.pk)
    assert figures(swarm)["locks_removed"] == 2


def test_upkeep_counts_what_lies_loose_and_in_packs(world: World):
    swarm = queue_of_three(world)
    merge(swarm.pk)
    assert figures(swarm)["packs"] is None, "it was never looked after"
    maintain(swarm.repository.pk)
    told = figures(swarm)
    assert told["loose_objects"] == store_of(swarm).loose_objects() > 0
    store_of(swarm).pack()
    maintain(swarm.repository.pk)
    told = figures(swarm)
    assert (told["loose_objects"], told["packs"]) == (0, store_of(swarm).packs())
    assert told["packs"] >= 1
    assert Repository.objects.get().locks_removed == 0
