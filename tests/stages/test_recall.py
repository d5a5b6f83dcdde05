"""What was settled once is not asked again; what a command makes is made anew."""

from __future__ import annotations

from orchestration.models import Attempt, MergeEntry, Resolution, Swarm
from orchestration.stages.merge import merge
from tests.stages.test_merge import content, entries
from tests.stages.test_resolve import BOTH, in_conflict, run, steps, tries
from tests.stages.world import Model, Nudges, World, hand_off, statuses, write


def settled_once(world: World, model: Model, nudges: Nudges) -> Swarm:
    swarm, _ = in_conflict(world)
    model.workers["second"] = [write("a.txt", BOTH), hand_off()]
    run(swarm, nudges)
    assert entries()["second"] == "landed"
    return swarm


def test_a_conflict_that_was_settled_before_needs_no_agent(world: World, model: Model, nudges: Nudges):
    settled_once(world, model, nudges)
    before = len(world.service.requests)
    other = world.running()
    world.queued(other, "third", {"a.txt": "FIRST\ntwo\nthree\n"})
    world.queued(other, "fourth", {"a.txt": "SECOND\ntwo\nthree\n"})
    merge(other.pk)
    assert content(other, "a.txt") == BOTH
    assert statuses(other) == {"third": "complete", "fourth": "complete"}
    assert len(world.service.requests) == before
    kept = Resolution.objects.get()
    assert (kept.path, kept.uses, kept.entry and kept.entry.subtask.name) == ("a.txt", 1, "second")


def test_it_can_be_forgotten(world: World, model: Model, nudges: Nudges):
    settled_once(world, model, nudges)
    Resolution.objects.all().delete()
    other = world.running()
    world.queued(other, "third", {"a.txt": "FIRST\ntwo\nthree\n"})
    world.queued(other, "fourth", {"a.txt": "SECOND\ntwo\nthree\n"})
    merge(other.pk)
    assert statuses(other)["fourth"] == "conflict"


def test_what_did_not_land_is_not_remembered(world: World, model: Model, nudges: Nudges):
    swarm, _ = in_conflict(world)
    model.workers["second"] = [write("a.txt", BOTH), hand_off()]
    merge(swarm.pk)
    nudges.run_until(lambda: MergeEntry.objects.filter(subtask__name="second", rounds=1).exists())
    assert not Resolution.objects.exists()
    nudges.run()
    assert Resolution.objects.count() == 1


def test_other_contents_are_another_conflict(world: World, model: Model, nudges: Nudges):
    settled_once(world, model, nudges)
    other = world.running()
    world.queued(other, "third", {"a.txt": "FIRST\ntwo\nthree\n"})
    world.queued(other, "fourth", {"a.txt": "SECOND!\ntwo\nthree\n"})
    merge(other.pk)
    assert statuses(other)["fourth"] == "conflict"


def test_of_two_files_only_the_one_that_is_not_known_is_asked_about(world: World, model: Model, nudges: Nudges):
    settled_once(world, model, nudges)
    other = world.running()
    world.queued(other, "third", {"a.txt": "FIRST\ntwo\nthree\n", "src/b.py": "b = 2\n"})
    world.queued(other, "fourth", {"a.txt": "SECOND\ntwo\nthree\n", "src/b.py": "b = 3\n"})
    model.workers["fourth"] = [write("src/b.py", "b = 23\n"), hand_off()]
    run(other, nudges)
    assert (content(other, "a.txt"), content(other, "src/b.py")) == (BOTH, "b = 23\n")
    told = next(one.first_text for one in world.service.requests if one.subtask == "fourth")
    assert "src/b.py (base" in told
    assert "a.txt (base" not in told


def made(world: World, command: str) -> Swarm:
    swarm = world.running()
    swarm.repository.merge_policies = [["lock.txt", "regenerate", command]]
    swarm.repository.save()
    world.queued(swarm, "first", {"lock.txt": "of first\n", "needs/first": "1\n"})
    world.queued(swarm, "second", {"lock.txt": "of second\n", "needs/second": "2\n"})
    return swarm


def test_a_command_makes_the_file_anew_from_both_sides(world: World, nudges: Nudges):
    swarm = made(world, "cat needs/* > lock.txt")
    run(swarm, nudges)
    assert content(swarm, "lock.txt") == "1\n2\n"
    assert statuses(swarm) == {"first": "complete", "second": "complete"}
    assert tries() == [("regenerate", "complete")]
    assert not world.service.requests
    assert Attempt.objects.get(rung="regenerate").handoff.summary == "Made lock.txt anew after the merge."
    assert not Resolution.objects.exists()


def test_a_command_that_fails_leads_to_an_agent_with_its_reason(world: World, model: Model, nudges: Nudges):
    swarm = made(world, "echo no such index >&2; exit 3")
    model.workers["second"] = [write("lock.txt", "by hand\n"), hand_off()]
    run(swarm, nudges)
    assert steps() == ["regenerate", "continued"]
    told = next(one.first_text for one in world.service.requests if one.subtask == "second")
    assert "did not make the file anew (exit code 3)" in told
    assert "no such index" in told
    assert content(swarm, "lock.txt") == "by hand\n"


def test_a_command_that_changes_other_files_is_not_believed(world: World, model: Model, nudges: Nudges):
    swarm = made(world, "cat needs/* > lock.txt; echo x > a.txt")
    model.workers["second"] = [write("lock.txt", "by hand\n"), hand_off()]
    run(swarm, nudges)
    assert tries() == [("regenerate", "failed"), ("continued", "complete")]
    assert content(swarm, "a.txt") == "one\ntwo\nthree\n"
