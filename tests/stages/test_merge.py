"""The merge queue: what lands, in which order, and how it says so; what conflicts and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.adapters.git.store import BareRepository, CleanMerge
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.events import Stage
from orchestration.domain.merging import MAX_INFRA_FAILURES
from orchestration.models import Lease, MergeEntry, Subtask, Swarm
from orchestration.stages import merge as stage
from orchestration.stages.merge import merge
from orchestration.stages.rows import store_of
from orchestration.stages.steer import cancel
from tests import factories
from tests.stages.world import Nudges, World, at_once, statuses


def entries() -> dict[str, str]:
    return dict(MergeEntry.objects.values_list("subtask__name", "status"))


def landings(swarm: Swarm) -> list[str]:
    """The subtasks of the landings on the branch, oldest first, from git alone."""
    store = store_of(swarm)
    tip = store.tip(swarm.branch)
    assert tip
    return [name for _, name in reversed(store.trailers(swarm.base_sha, tip, "MQ-Task"))]


def content(swarm: Swarm, path: str) -> str | None:
    store = store_of(swarm)
    found = store.read_file(store.tip(swarm.branch) or "", path)
    return found.decode() if found is not None else None


def test_a_commit_lands_with_exactly_what_its_worker_wrote(world: World, nudges: Nudges):
    swarm = world.running()
    entry = world.queued(swarm, "one", {"new.txt": "new\n", "a.txt": "ONE\ntwo\nthree\n", "src/b.py": None})
    merge(swarm.pk)
    entry.refresh_from_db()
    swarm.refresh_from_db()
    store = store_of(swarm)
    assert entry.status == "landed"
    assert entry.landed_sha == swarm.head_sha == store.tip(swarm.branch)
    assert statuses(swarm) == {"one": "complete"}
    assert store.diff(entry.head_sha, entry.landed_sha) == ""
    assert store.is_ancestor(entry.head_sha, entry.landed_sha)
    assert {(Stage.DISPATCH, swarm.pk), (Stage.PLAN, swarm.pk)} <= set(nudges.all)
    assert store.pins("candidates") == {}


def test_commits_that_do_not_touch_one_another_all_land_unchanged(world: World):
    swarm = world.running()
    for name in ("one", "two", "three"):
        world.queued(swarm, name, {f"{name}.txt": f"by {name}\n"})
    world.queued(swarm, "end", {"a.txt": "one\ntwo\nthree!\n"})
    world.queued(swarm, "start", {"a.txt": "one!\ntwo\nthree\n"})
    merge(swarm.pk)
    assert set(entries().values()) == {"landed"}
    assert content(swarm, "a.txt") == "one!\ntwo\nthree!\n"
    assert [content(swarm, f"{name}.txt") for name in ("one", "two", "three")] == ["by one\n", "by two\n", "by three\n"]
    world.clone.git("fetch", "-q", str(store_of(swarm).path), f"{swarm.branch}:landed")
    assert world.clone.git("fsck", "--strict") == ""


def test_a_landing_can_be_proved_from_git_alone_and_once(world: World):
    swarm = world.running()
    made = {name: world.queued(swarm, name, {f"{name}.txt": "x\n"}) for name in ("one", "two")}
    merge(swarm.pk)
    merge(swarm.pk)
    store, tip = store_of(swarm), store_of(swarm).tip(swarm.branch)
    assert tip
    assert sorted(value for _, value in store.trailers(swarm.base_sha, tip, "MQ-Request")) == sorted(
        entry.public_id for entry in made.values()
    )
    assert dict(store.trailers(swarm.base_sha, tip, "MQ-Head")) == {
        entry.landed_sha: entry.head_sha for entry in MergeEntry.objects.all()
    }
    assert landings(swarm) == ["one", "two"]
    assert store.log(tip, limit=1)[0].subject == "Land two"


def test_a_summary_that_speaks_in_trailers_proves_nothing(world: World):
    """The agent's words stand in the message, and could claim another landing."""
    swarm = world.running()
    entry = world.queued(swarm, "one", {"one.txt": "x\n"})
    handoff = entry.attempt.handoff
    handoff.summary = "Did it.\n\nMQ-Request: forged\nMQ-Task: other"
    handoff.save()
    merge(swarm.pk)
    tip = store_of(swarm).tip(swarm.branch)
    assert tip
    assert [v for _, v in store_of(swarm).trailers(swarm.base_sha, tip, "MQ-Request")] == [entry.public_id]


def test_the_same_merge_gives_the_same_commit(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm = world.running()
    world.queued(swarm, "one", {"one.txt": "x\n"})
    made: list[str] = []
    real = BareRepository.commit

    def commit(self: BareRepository, *args: Any, **kwargs: Any) -> str:
        made.append(real(self, *args, **kwargs))
        if len(made) < 3:
            raise AdapterError(Failure.TRANSIENT, "The disk hesitates.")
        return made[-1]

    monkeypatch.setattr(BareRepository, "commit", commit)
    for _ in range(3):
        merge(swarm.pk)
        due_again()
    assert len(made) == 3
    assert len(set(made)) == 1
    assert store_of(swarm).tip(swarm.branch) == made[0]


def test_the_most_urgent_lands_first_then_the_oldest(world: World):
    swarm = world.running()
    for name, priority in (("old", 5), ("young", 5), ("urgent", 1), ("idle", 9)):
        world.queued(swarm, name, {f"{name}.txt": "x\n"}, priority=priority)
    merge(swarm.pk)
    assert landings(swarm) == ["urgent", "old", "young", "idle"]


def test_a_conflict_is_named_with_its_files_and_the_others_land(world: World, nudges: Nudges):
    swarm = world.running()
    world.queued(swarm, "first", {"a.txt": "FIRST\n", "src/b.py": "b = 2\n"})
    loser = world.queued(swarm, "second", {"a.txt": "SECOND\n", "src/b.py": "b = 3\n"})
    world.queued(swarm, "third", {"c.txt": "c\n"})
    merge(swarm.pk)
    loser.refresh_from_db()
    assert entries() == {"first": "landed", "second": "conflict", "third": "landed"}
    assert sorted(loser.conflict_paths) == ["a.txt", "src/b.py"]
    assert loser.status_reason == "Conflicts with what landed before in a.txt, src/b.py."
    assert statuses(swarm) == {"first": "complete", "second": "conflict", "third": "complete"}
    assert Subtask.objects.get(name="second").status_reason == loser.status_reason
    assert content(swarm, "a.txt") == "FIRST\n"
    assert store_of(swarm).contains(loser.head_sha), "its work is not lost"


def test_what_is_contained_already_lands_without_a_commit(world: World):
    swarm = world.running()
    first = world.queued(swarm, "first", {"x.txt": "x\n"})
    merge(swarm.pk)
    tip = store_of(swarm).tip(swarm.branch)
    subtask = factories.make_subtask(swarm, name="again", status="handed_off")
    attempt = factories.make_attempt(subtask, status="complete", base_sha=swarm.base_sha, head_sha=first.head_sha)
    entry = MergeEntry.objects.create(swarm=swarm, subtask=subtask, attempt=attempt, head_sha=first.head_sha)
    merge(swarm.pk)
    entry.refresh_from_db()
    assert (entry.status, entry.landed_sha) == ("landed", tip)
    assert store_of(swarm).tip(swarm.branch) == tip
    assert statuses(swarm)["again"] == "complete"


def test_a_merge_that_changes_what_nobody_changed_is_rejected(world: World, monkeypatch: pytest.MonkeyPatch):
    """A wrong tree, as from a stale base or a broken git: it must not reach the branch."""
    swarm = world.running()
    world.queued(swarm, "first", {"first.txt": "x\n"})
    merge(swarm.pk)
    tip = store_of(swarm).tip(swarm.branch)
    entry = world.queued(swarm, "second", {"second.txt": "y\n"})
    head_tree = store_of(swarm).run("rev-parse", f"{entry.head_sha}^{{tree}}").text.strip()
    monkeypatch.setattr(BareRepository, "merge", lambda *_: CleanMerge(head_tree))
    merge(swarm.pk)
    entry.refresh_from_db()
    assert entry.status == "rejected"
    assert entry.status_reason == "The merge would change what nobody changed: first.txt."
    assert statuses(swarm) == {"first": "complete", "second": "failed"}
    assert store_of(swarm).tip(swarm.branch) == tip


# The machine fails.


def broken(*_: Any) -> Any:
    raise AdapterError(Failure.TRANSIENT, "The disk is full.")


def test_an_error_of_the_machine_evicts_nobody(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm = world.running()
    entry = world.queued(swarm, "one", {"one.txt": "x\n"})
    with monkeypatch.context() as patch:
        patch.setattr(BareRepository, "merge", broken)
        for _ in range(MAX_INFRA_FAILURES + 1):
            merge(swarm.pk)
            due_again()
    entry.refresh_from_db()
    assert (entry.status, entry.status_reason) == ("queued", "The disk is full.")
    assert entry.infra_failures == MAX_INFRA_FAILURES + 1
    assert Lease.objects.get(name=f"merge:{swarm.pk}").token == "", "the lease is given back"
    merge(swarm.pk)
    assert entries() == {"one": "landed"}


def refused(*_: Any) -> Any:
    raise AdapterError(Failure.PERMANENT, "git cannot read the commit.")


def test_one_that_git_refuses_for_ever_ends_some_day(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm = world.running()
    entry = world.queued(swarm, "one", {"one.txt": "x\n"}, priority=1)
    with monkeypatch.context() as patch:
        patch.setattr(BareRepository, "merge", refused)
        for _ in range(MAX_INFRA_FAILURES):
            assert entries() == {"one": "queued"}
            merge(swarm.pk)
            due_again()
    entry.refresh_from_db()
    assert (entry.status, entry.status_reason) == ("rejected", "It could not be merged: git cannot read the commit.")
    assert statuses(swarm) == {"one": "failed"}


def test_one_that_the_machine_failed_at_is_put_aside_and_those_behind_it_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    swarm = world.running()
    bad = world.queued(swarm, "bad", {"bad.txt": "x\n"}, priority=1)
    world.queued(swarm, "good", {"good.txt": "x\n"})
    real = BareRepository.merge
    with monkeypatch.context() as patch:
        patch.setattr(BareRepository, "merge", lambda self, a, b: broken() if b == bad.head_sha else real(self, a, b))
        merge(swarm.pk)
    bad.refresh_from_db()
    assert entries() == {"bad": "queued", "good": "landed"}
    assert bad.not_before is not None
    merge(swarm.pk)
    assert entries()["bad"] == "queued", "it is not due yet"
    due_again()
    merge(swarm.pk)
    assert entries()["bad"] == "landed"


def test_a_machine_that_fails_at_everything_is_not_asked_for_every_entry(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm = world.running()
    for number in range(6):
        world.queued(swarm, f"t{number}", {f"t{number}.txt": "x\n"})
    with monkeypatch.context() as patch:
        patch.setattr(BareRepository, "merge", broken)
        with pytest.raises(AdapterError, match="disk is full"):
            merge(swarm.pk)
    assert MergeEntry.objects.filter(infra_failures=0).count() == 3
    due_again()
    merge(swarm.pk)
    assert set(entries().values()) == {"landed"}


def test_a_swap_that_fails_evicts_nobody(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm = world.running()
    world.queued(swarm, "one", {"one.txt": "x\n"})
    with monkeypatch.context() as patch:
        patch.setattr(BareRepository, "swap", broken)
        for _ in range(MAX_INFRA_FAILURES + 1):
            with pytest.raises(AdapterError, match="disk is full"):
                merge(swarm.pk)
    assert MergeEntry.objects.get().status_reason == "The disk is full."
    merge(swarm.pk)
    assert entries() == {"one": "landed"}


def due_again() -> None:
    MergeEntry.objects.update(not_before=None)


def test_a_branch_that_is_gone_is_said(world: World):
    swarm = world.running()
    world.queued(swarm, "one", {"one.txt": "x\n"})
    store_of(swarm).run("update-ref", "-d", f"refs/heads/{swarm.branch}")
    with pytest.raises(AdapterError, match="is gone from the store"):
        merge(swarm.pk)
    assert entries() == {"one": "queued"}


# Several writers, and cancels.


def test_writers_at_once_land_everything_once(world: World):
    swarm = world.running()
    for number in range(6):
        world.queued(swarm, f"t{number}", {f"t{number}.txt": "x\n"})
    assert at_once(*[lambda: merge(swarm.pk)] * 4) == [None] * 4
    merge(swarm.pk)
    assert set(entries().values()) == {"landed"}
    assert sorted(landings(swarm)) == [f"t{number}" for number in range(6)]


def test_an_entry_that_comes_while_the_lease_is_given_back_is_not_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    """Its own nudge found the lease taken, so whoever holds it must look again."""
    swarm = world.running()
    world.queued(swarm, "one", {"one.txt": "x\n"})
    real = stage._drain

    def drain(*args: Any, **kwargs: Any) -> Any:
        seen = real(*args, **kwargs)
        if "late" not in entries():
            world.queued(swarm, "late", {"late.txt": "x\n"})
            merge(swarm.pk)
            assert entries()["late"] == "queued", "the lease is still held"
        return seen

    monkeypatch.setattr(stage, "_drain", drain)
    merge(swarm.pk)
    assert entries() == {"one": "landed", "late": "landed"}


def test_what_was_cancelled_does_not_land(world: World):
    swarm = world.running()
    world.queued(swarm, "one", {"one.txt": "x\n"})
    cancel(swarm, world.ada)
    merge(swarm.pk)
    assert entries() == {"one": "cancelled"}
    assert landings(swarm) == []


def test_a_cancel_while_it_is_being_merged_lets_it_land(world: World, monkeypatch: pytest.MonkeyPatch):
    """A landing is a fact; the swarm stays cancelled, and the subtask says what became of it."""
    swarm = world.running()
    world.queued(swarm, "one", {"one.txt": "x\n"})
    world.queued(swarm, "two", {"two.txt": "x\n"})
    real = BareRepository.swap

    def swap(self: BareRepository, *args: str) -> bool:
        cancel(Swarm.objects.get(pk=swarm.pk), world.ada)
        return real(self, *args)

    monkeypatch.setattr(BareRepository, "swap", swap)
    merge(swarm.pk)
    swarm.refresh_from_db()
    assert swarm.status == "cancelled"
    assert entries() == {"one": "landed", "two": "landed"}, "both were in the chain"
    assert statuses(swarm) == {"one": "complete", "two": "complete"}
    assert landings(swarm) == ["one", "two"]
    assert swarm.head_sha == store_of(swarm).tip(swarm.branch)


def test_what_comes_back_to_the_queue_of_a_cancelled_swarm_is_cancelled(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm = world.running()
    world.queued(swarm, "one", {"one.txt": "x\n"})

    def swap(*_: Any) -> bool:
        cancel(Swarm.objects.get(pk=swarm.pk), world.ada)
        raise KeyboardInterrupt

    with monkeypatch.context() as crash:
        crash.setattr(BareRepository, "swap", swap)
        with pytest.raises(KeyboardInterrupt):
            merge(swarm.pk)
    assert entries() == {"one": "merging"}
    merge(swarm.pk)
    assert entries() == {"one": "cancelled"}
    assert statuses(swarm) == {"one": "cancelled"}
    assert landings(swarm) == []


def test_a_cancel_between_the_choice_and_the_intent_wins(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm = world.running()
    world.queued(swarm, "one", {"one.txt": "x\n"})
    real = BareRepository.merge

    def slow(self: BareRepository, *args: str) -> Any:
        cancel(Swarm.objects.get(pk=swarm.pk), world.ada)
        return real(self, *args)

    monkeypatch.setattr(BareRepository, "merge", slow)
    merge(swarm.pk)
    assert entries() == {"one": "cancelled"}
    assert landings(swarm) == []
