"""Conflicts that need a person: guidance, three sides to choose from, an edit, and giving up. Who may, and when."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestration.domain.errors import InvalidInput
from orchestration.domain.rights import Role
from orchestration.models import Attempt, MergeEntry, Swarm, User
from orchestration.reads.questions import only_answers_help
from orchestration.stages.mediate import Choice, Take, give_up, guide, settle
from orchestration.stages.merge import merge
from orchestration.stages.standing import Standing
from tests import factories
from tests.stages.test_merge import content
from tests.stages.test_resolve import BOTH, in_conflict, tries
from tests.stages.world import Model, Nudges, World, hand_off, statuses, write


def stuck(world: World, model: Model, nudges: Nudges, **files: str | None) -> tuple[Swarm, MergeEntry]:
    """Everybody has tried, and a person is asked."""
    swarm, entry = in_conflict(world, **files)
    model.workers["second"] = [hand_off("blocked", summary="Two meanings.")]
    merge(swarm.pk)
    nudges.run()
    return swarm, again(entry)


def again(entry: MergeEntry) -> MergeEntry:
    return MergeEntry.objects.select_related("subtask", "swarm__repository", "attempt").get(pk=entry.pk)


def test_the_swarm_waits_for_a_person_and_does_not_end(world: World, model: Model, nudges: Nudges):
    swarm, entry = stuck(world, model, nudges)
    swarm.refresh_from_db()
    assert (swarm.status, entry.rung, entry.subtask.status) == ("running", "person", "conflict")
    assert only_answers_help(swarm)
    assert not Standing(swarm).failures


def test_guidance_is_told_to_the_agent_and_its_merge_lands(world: World, model: Model, nudges: Nudges):
    swarm, entry = stuck(world, model, nudges)
    model.workers["second"] = [write("a.txt", BOTH), hand_off()]
    guide(entry, world.ada, "Keep both lines, the first one first.")
    nudges.run()
    assert content(swarm, "a.txt") == BOTH
    told = [one.first_text for one in world.service.requests if one.subtask == "second"]
    assert "Keep both lines, the first one first." in told[-1]
    assert "Keep both lines" not in told[0]
    assert tries()[-1] == ("continued", "complete")


def test_guidance_that_did_not_help_leads_back_to_a_person(world: World, model: Model, nudges: Nudges):
    _, entry = stuck(world, model, nudges)
    guide(entry, world.ada, "Think again.")
    nudges.run()
    assert (again(entry).rung, again(entry).subtask.status) == ("person", "conflict")
    guide(again(entry), world.ada, "And again.")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(Take.OURS), "FIRST\ntwo\nthree\n"),
        (Choice(Take.THEIRS), "SECOND\ntwo\nthree\n"),
        (Choice(Take.BOTH), "FIRST\nSECOND\ntwo\nthree\n"),
        (Choice(Take.EDITED, "mine\r\nhere\r\n"), "mine\nhere\n"),
    ],
)
def test_a_person_settles_it_and_it_lands_in_its_old_place(
    world: World, model: Model, nudges: Nudges, choice: Choice, expected: str
):
    swarm, entry = stuck(world, model, nudges)
    settle(entry, world.ada, {"a.txt": choice})
    nudges.run()
    assert content(swarm, "a.txt") == expected
    assert content(swarm, "second.txt") == "by second\n"
    landed = MergeEntry.objects.get(subtask__name="second", status="landed")
    assert landed.enqueued_at == entry.enqueued_at
    assert (landed.attempt.agent, landed.attempt.rung, landed.attempt.status) == ("ada", "person", "complete")
    assert landed.attempt.handoff.summary == "ada settled the conflict."
    assert again(entry).status == "superseded"
    swarm.refresh_from_db()
    assert swarm.status == "succeeded"


def test_a_file_that_one_side_deleted_is_taken_or_left_out(world: World, model: Model, nudges: Nudges):
    swarm = world.running()
    world.queued(swarm, "first", {"a.txt": None})
    entry = world.queued(swarm, "second", {"a.txt": "SECOND\ntwo\nthree\n", "second.txt": "x\n"})
    model.workers["second"] = [hand_off("blocked")]
    merge(swarm.pk)
    nudges.run()
    with pytest.raises(InvalidInput, match=r"a\.txt is no text on both sides"):
        settle(again(entry), world.ada, {"a.txt": Choice(Take.BOTH)})
    settle(again(entry), world.ada, {"a.txt": Choice(Take.OURS)})
    nudges.run()
    assert content(swarm, "a.txt") is None
    assert content(swarm, "second.txt") == "x\n"


def test_an_edit_keeps_the_ends_of_lines_that_the_file_has(world: World, model: Model, nudges: Nudges):
    swarm = world.running()
    world.queued(swarm, "first", {"a.txt": "FIRST\r\ntwo\r\n"}, priority=1)
    entry = world.queued(swarm, "second", {"a.txt": "SECOND\r\ntwo\r\n"})
    model.workers["second"] = [hand_off("blocked")]
    merge(swarm.pk)
    nudges.run()
    settle(again(entry), world.ada, {"a.txt": Choice(Take.EDITED, "BOTH\ntwo\r\n")})
    nudges.run()
    assert content(swarm, "a.txt") == "BOTH\r\ntwo\r\n"


def test_every_path_needs_a_choice(world: World, model: Model, nudges: Nudges):
    _, entry = stuck(world, model, nudges)
    with pytest.raises(InvalidInput, match=r"Say what becomes of a\.txt"):
        settle(entry, world.ada, {})
    with pytest.raises(InvalidInput, match=r"b\.txt does not conflict"):
        settle(entry, world.ada, {"a.txt": Choice(Take.OURS), "b.txt": Choice(Take.OURS)})
    assert again(entry).status == "conflict"


def test_markers_and_too_much_are_refused(world: World, model: Model, nudges: Nudges):
    _, entry = stuck(world, model, nudges)
    with pytest.raises(InvalidInput, match=r"Conflict markers stand in a\.txt"):
        settle(entry, world.ada, {"a.txt": Choice(Take.EDITED, "<<<<<<< ours\nx\n=======\ny\n>>>>>>> theirs\n")})
    with pytest.raises(InvalidInput, match="characters"):
        settle(entry, world.ada, {"a.txt": Choice(Take.EDITED, "x" * 1_000_001)})


def test_giving_up_ends_the_subtask_and_the_planner_hears_of_it(world: World, model: Model, nudges: Nudges):
    swarm, entry = stuck(world, model, nudges)
    give_up(entry, world.ada)
    assert again(entry).status == "rejected"
    assert statuses(swarm)["second"] == "failed"
    assert "second: failed (Its conflict was given up by ada.)" in Standing(swarm).failures
    nudges.run()
    swarm.refresh_from_db()
    assert swarm.status == "partly_succeeded"


ACTS: list[Callable[[MergeEntry, User], None]] = [
    lambda entry, person: guide(entry, person, "Go."),
    give_up,
    lambda entry, person: settle(entry, person, {"a.txt": Choice(Take.OURS)}),
]


@pytest.mark.parametrize("act", ACTS, ids=["guide", "give_up", "settle"])
def test_only_members_may_and_only_once(
    world: World, model: Model, nudges: Nudges, act: Callable[[MergeEntry, User], None]
):
    _, entry = stuck(world, model, nudges)
    viewer = factories.join(factories.make_user("vic"), world.team, Role.VIEWER)
    with pytest.raises(InvalidInput, match="Only members"):
        act(entry, viewer)
    act(entry, world.ada)
    with pytest.raises(InvalidInput, match="nothing is to settle"):
        act(again(entry), world.ada)
    assert Attempt.objects.filter(rung="person").count() <= 1


def test_two_people_at_once_settle_it_once(world: World, model: Model, nudges: Nudges):
    _, entry = stuck(world, model, nudges)
    stale = again(entry)
    settle(entry, world.ada, {"a.txt": Choice(Take.OURS)})
    with pytest.raises(InvalidInput, match="It changed in this moment"):
        settle(stale, world.ada, {"a.txt": Choice(Take.THEIRS)})
    assert MergeEntry.objects.filter(subtask__name="second").exclude(pk=entry.pk).count() == 1
