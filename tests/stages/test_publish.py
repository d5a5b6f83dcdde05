"""Landing directly on the branch that a result is meant for: never a false "landed", and it lands when it can."""

from __future__ import annotations

import pytest

from orchestration.adapters.git.pushing import Pushing
from orchestration.domain import publishing
from orchestration.domain.states import SubtaskStatus
from orchestration.models import Event, GateRun, MergeEntry, Publication, Subtask
from orchestration.stages import publish
from orchestration.stages.merge import merge
from orchestration.stages.publish import try_again
from orchestration.stages.transition import advance
from tests.stages import gates
from tests.stages.publications import at, at_its_end, due_again, ended, finalizing, row
from tests.stages.remotes import Bare, Hub
from tests.stages.world import Nudges, World

pytestmark = pytest.mark.sandbox


# What arrives


def test_the_result_is_on_the_target_and_only_then_it_is_landed(world: World, bare: Bare):
    swarm = finalizing(world, "test -f one.txt")
    assert ended(swarm) == ("succeeded", "")
    assert bare.tip() == swarm.head_sha
    assert (row(swarm).status, row(swarm).landed_sha) == ("landed", swarm.head_sha)
    assert bare.tip(swarm.branch) == swarm.head_sha, "the swarm's branch appears as well"
    kinds = list(Event.objects.filter(kind__startswith="publication.").values_list("kind", flat=True))
    assert kinds == ["publication.pending", "publication.pushing", "publication.landed"]


def test_by_https_the_same(world: World, bare: Bare, hub: Hub):
    swarm = finalizing(world)
    assert ended(swarm)[0] == "succeeded"
    assert bare.tip() == swarm.head_sha


def test_without_a_word_about_landing_only_the_branch_appears(world: World, bare: Bare):
    before = bare.tip()
    swarm = finalizing(world, landing=None)
    assert ended(swarm)[0] == "succeeded"
    assert (bare.tip(), bare.tip(swarm.branch)) == (before, swarm.head_sha)
    assert not Publication.objects.exists()


def test_a_result_with_red_checks_never_leaves(world: World, bare: Bare):
    before = bare.tip()
    status, reason = ended(finalizing(world, "false"))
    assert status == "partly_succeeded"
    assert "Nothing was put on main" in reason
    assert bare.tip() == before


def test_what_is_pushed_is_what_was_checked(world: World, bare: Bare, monkeypatch: pytest.MonkeyPatch):
    """Something lands on the swarm's branch between its checks and the push: that is checked first."""
    swarm = finalizing(world, "test ! -e bad.txt")
    real, late = publish.land_outward, list[MergeEntry]()

    def meanwhile(*args: object) -> object:
        if not late:
            late.append(world.queued(swarm, "late", {"bad.txt": "x\n"}))
            merge(swarm.pk)
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(publish, "land_outward", meanwhile)
    before = bare.tip()
    assert ended(swarm)[0] == "partly_succeeded"
    assert bare.tip() == before


# The target moves


def test_what_others_pushed_is_taken_in_through_the_queue(world: World, bare: Bare):
    swarm = finalizing(world, "test -f one.txt")
    theirs = bare.others_push({"theirs.txt": "by others\n"})
    assert ended(swarm) == ("succeeded", "")
    assert (bare.file("theirs.txt"), bare.file("one.txt")) == ("by others", "by one")
    assert bare.git("merge-base", "--is-ancestor", theirs, bare.tip()) == ""
    taken = Subtask.objects.get(origin="target")
    assert (taken.name, taken.status) == ("take-in", "complete")
    assert MergeEntry.objects.get(subtask=taken).head_sha == theirs
    assert swarm.stats["subagents_spawned"] == 1, "nobody ran to take it in"


def test_it_is_checked_with_what_others_pushed_before_it_goes_on(world: World, bare: Bare):
    swarm = finalizing(world, "! grep -q broken *.txt")
    theirs = bare.others_push({"theirs.txt": "broken\n"})
    status, reason = ended(swarm)
    assert status == "partly_succeeded"
    assert "is red on the result" in reason
    assert bare.tip() == theirs, "nothing of ours was put on top"


def test_in_gated_mode_it_lands_only_behind_a_green_gate(world: World, bare: Bare, nudges: Nudges):
    at(world, checks=[gates.GOOD], gates_at_once=1)
    swarm = world.running(landing="direct", gate="gated")
    world.queued(swarm, "one", {"one.txt": "by one\n"})
    gates.work(swarm, nudges)
    bare.others_push({"theirs.txt": "by others\n"})
    assert ended(at_its_end(swarm)) == ("finalizing", "main has moved; take-in takes in what is new there.")
    gates.work(swarm, nudges)
    assert ended(swarm) == ("succeeded", "")
    assert bare.tip() == swarm.head_sha
    assert GateRun.objects.filter(status="green").count() == 2
    gates.audit(swarm)


def test_in_gated_mode_what_is_red_with_it_is_told(world: World, bare: Bare, nudges: Nudges):
    at(world, checks=[gates.GOOD], gates_at_once=1)
    swarm = world.running(landing="direct", gate="gated")
    world.queued(swarm, "one", {"one.txt": "by one\n"})
    gates.work(swarm, nudges)
    theirs = bare.others_push({"bad.txt": "by others\n"})
    ended(at_its_end(swarm))
    gates.work(swarm, nudges)
    status, reason = ended(swarm)
    assert (status, row(swarm).status, row(swarm).trouble) == ("finalizing", "refused", "conflict")
    assert "main has moved, and what is new there cannot be taken in: Its gate was red" in reason
    assert bare.tip() == theirs


def moving(bare: Bare, monkeypatch: pytest.MonkeyPatch, times: int) -> list[str]:
    """Somebody pushes between our look and our push, so often."""
    real, pushed = Pushing.push, list[str]()

    def push(self: Pushing, *args: str, **how: object) -> None:
        if len(pushed) < times:
            pushed.append(bare.others_push({f"theirs-{len(pushed)}.txt": "by others\n"}))
        real(self, *args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Pushing, "push", push)
    return pushed


def test_a_target_that_moves_between_look_and_push_loses_nothing(
    world: World, bare: Bare, monkeypatch: pytest.MonkeyPatch
):
    pushed = moving(bare, monkeypatch, 3)
    swarm = finalizing(world, "test -f one.txt")
    assert ended(swarm) == ("succeeded", "")
    history = bare.git("rev-list", "main").split()
    assert bare.tip() == swarm.head_sha
    assert set(pushed) < set(history)
    assert len(pushed) == 3


def test_one_that_never_rests_gets_pauses_and_then_a_person(world: World, bare: Bare, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(publishing, "MOST_MOVES", 4)
    monkeypatch.setattr(publish, "MOVES_AT_ONCE", 2)
    moving(bare, monkeypatch, 9)
    swarm = finalizing(world)
    waits = 0
    while ended(swarm)[0] == "finalizing" and row(swarm).status == "waiting":
        assert "has moved" in row(swarm).status_reason
        waits += 1
        due_again(swarm)
    assert (row(swarm).status, row(swarm).trouble) == ("refused", "moved")
    assert waits == 1
    assert not row(swarm).landed_sha


def test_a_branch_that_was_wound_back_is_not_wound_forward_again(
    world: World, bare: Bare, monkeypatch: pytest.MonkeyPatch
):
    """Somebody took a commit off the target after we had looked: a plain push would bring it back."""
    bare.others_push({"leak.txt": "a secret\n"})
    world.clone.git("reset", "-q", "--hard", "theirs")
    swarm, real, back = finalizing(world), Pushing.push, list[str]()

    def push(self: Pushing, *args: str, **how: object) -> None:
        if not back:
            back.append(bare.git("rev-parse", "main^"))
            bare.git("update-ref", "refs/heads/main", back[0])
        real(self, *args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Pushing, "push", push)
    _, reason = ended(swarm)
    assert bare.tip() == back[0]
    assert (row(swarm).status, row(swarm).trouble) == ("refused", "rewritten")
    assert "which it held, is not in it any more" in reason


def test_a_conflict_with_what_others_pushed_goes_the_way_of_every_conflict(world: World, bare: Bare):
    swarm = world.running(landing="direct")
    world.queued(swarm, "ours", {"a.txt": b"\0ours\n"})
    merge(swarm.pk)
    theirs = bare.others_push({"a.txt": b"\0theirs\n"})
    assert ended(at_its_end(swarm)) == ("running", "main has moved; take-in takes in what is new there.")
    taken = Subtask.objects.get(origin="target")
    assert (taken.status, bare.tip()) == ("conflict", theirs)
    assert advance(swarm, taken, SubtaskStatus.FAILED, reason="Nobody could settle it.")
    _, reason = ended(at_its_end(swarm))
    assert (row(swarm).status, row(swarm).trouble) == ("refused", "conflict")
    assert "cannot be taken in: Nobody could settle it." in reason
    bare.others_push({"a.txt": "one\ntwo\nthree\n"}, "they take it back")
    try_again(swarm, world.ada)
    assert ended(swarm)[0] == "succeeded"
    assert bare.tip() == swarm.head_sha
    assert bare.file("a.txt").endswith("ours")
