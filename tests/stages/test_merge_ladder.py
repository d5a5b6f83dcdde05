"""Conflicts that the queue settles without a model, and chains longer than one."""

from __future__ import annotations

import pytest

from orchestration.stages import merge as stage
from orchestration.stages.merge import merge
from tests.stages.test_merge import content, entries, landings
from tests.stages.world import World


def test_what_conflicts_is_tried_again_when_the_others_have_landed(world: World):
    """The one behind it takes back what it conflicts with."""
    swarm = world.running()
    world.queued(swarm, "first", {"a.txt": "FIRST\n"})
    merge(swarm.pk)
    swarm.refresh_from_db()
    world.queued(swarm, "second", {"a.txt": "SECOND\n"})
    world.queued(swarm, "undo", {"a.txt": "one\ntwo\nthree\n"}, base=swarm.head_sha)
    merge(swarm.pk)
    assert set(entries().values()) == {"landed"}
    assert landings(swarm) == ["first", "undo", "second"]
    assert content(swarm, "a.txt") == "SECOND\n"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("union", "FIRST\ntwo\nthree\n"), ("ours", "FIRST\ntwo\nthree\n"), ("theirs", "SECOND\ntwo\nthree\n")],
)
def test_a_policy_of_the_repository_settles_a_conflict(world: World, policy: str, expected: str):
    swarm = world.running()
    swarm.repository.merge_policies = [["*.txt", policy]]
    swarm.repository.save()
    world.queued(swarm, "first", {"a.txt": "FIRST\ntwo\nthree\n"})
    world.queued(swarm, "second", {"a.txt": "SECOND\ntwo\nthree\n"})
    world.queued(swarm, "third", {"src/b.py": "b = 2\n"})
    world.queued(swarm, "fourth", {"src/b.py": "b = 3\n"})
    merge(swarm.pk)
    assert entries() == {"first": "landed", "second": "landed", "third": "landed", "fourth": "conflict"}
    union = "FIRST\nSECOND\ntwo\nthree\n"
    assert content(swarm, "a.txt") == (union if policy == "union" else expected)


def test_the_same_change_by_two_lands_once(world: World):
    swarm = world.running()
    world.queued(swarm, "one", {"same.txt": "x\n"})
    world.queued(swarm, "two", {"same.txt": "x\n"})
    merge(swarm.pk)
    assert set(entries().values()) == {"landed"}
    assert landings(swarm) == ["one"]


def test_more_than_a_chain_and_a_batch_all_land_in_order(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stage, "CHAIN", 2)
    monkeypatch.setattr(stage, "BATCH", 3)
    swarm = world.running()
    for number in range(7):
        world.queued(swarm, f"t{number}", {f"t{number}.txt": "x\n"})
    merge(swarm.pk)
    assert landings(swarm) == [f"t{number}" for number in range(7)]
