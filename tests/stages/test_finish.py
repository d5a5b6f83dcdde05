"""The end: the repository's own checks decide, the branch is put where it can be seen, and it happens once."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from orchestration.adapters import storage
from orchestration.adapters.git.store import BareRepository
from orchestration.domain.states import SwarmStatus
from orchestration.models import CheckRun, Event, Lease, Subtask, Swarm
from orchestration.stages import finish as stage
from orchestration.stages import leases
from orchestration.stages.finish import finish
from orchestration.stages.merge import merge
from orchestration.stages.rows import store_of
from orchestration.stages.steer import cancel
from orchestration.stages.transition import advance
from tests import factories
from tests.stages.world import World, at_once

pytestmark = pytest.mark.sandbox


def finalizing(world: World, *checks: str, landed: bool = True, **subtasks: str) -> Swarm:
    """A swarm at its end with one landing, and other subtasks in the given states."""
    world.repository.checks = list(checks)
    world.repository.save()
    swarm = world.running()
    if landed:
        world.queued(swarm, "landed", {"new.txt": "new\n"})
        merge(swarm.pk)
    for name, status in subtasks.items():
        factories.make_subtask(swarm, name=name, status=status)
    swarm.refresh_from_db()
    assert advance(swarm, swarm, SwarmStatus.FINALIZING)
    return swarm


def outcome(swarm: Swarm) -> tuple[str, bool | None, str]:
    finish(swarm.pk)
    swarm.refresh_from_db()
    return swarm.status, swarm.verified, swarm.status_reason


def test_green_checks_on_the_result_make_a_verified_success(world: World):
    swarm = finalizing(world, "grep -q new new.txt", "test -f a.txt")
    assert outcome(swarm) == ("succeeded", True, "")
    assert swarm.finished_at
    runs = CheckRun.objects.filter(swarm=swarm, attempt=None)
    assert [(r.command, r.passed, r.sha) for r in runs] == [
        ("grep -q new new.txt", True, swarm.head_sha),
        ("test -f a.txt", True, swarm.head_sha),
    ]
    facts = [event.facts for event in Event.objects.filter(kind="swarm.checked")]
    assert facts[0] == {"command": "grep -q new new.txt", "passed": True, "ending": "exit code 0"}


def test_a_repository_without_checks_succeeds_unverified_and_says_so(world: World):
    assert outcome(finalizing(world)) == (
        "succeeded",
        False,
        "Succeeded, unverified: this repository has no checks.",
    )


def test_a_red_check_is_no_success_and_the_others_run_all_the_same(world: World):
    swarm = finalizing(world, "echo broken; exit 3", "true")
    status, verified, reason = outcome(swarm)
    assert (status, verified) == ("partly_succeeded", False)
    assert reason == "The check `echo broken; exit 3` is red on the result (exit code 3)."
    assert list(CheckRun.objects.values_list("passed", "output")) == [(False, "broken\n"), (True, "")]


@pytest.mark.any_database
def test_a_check_that_never_ends_is_red(world: World):
    world.repository.check_timeout_s = 1
    swarm = finalizing(world, "sleep 1000")
    status, _, reason = outcome(swarm)
    assert status == "partly_succeeded"
    assert "killed after 1 s" in reason


def test_checks_that_cannot_be_run_are_red_and_never_left_out(world: World, monkeypatch: pytest.MonkeyPatch):
    from orchestration.adapters.sandbox import Unavailable

    swarm = finalizing(world, "true")
    monkeypatch.setattr(storage, "sandbox", lambda: Unavailable("bubblewrap is gone."))
    status, verified, reason = outcome(swarm)
    assert (status, verified) == ("partly_succeeded", False)
    assert "bubblewrap is gone." in reason


def test_checks_leave_nothing_in_the_result(world: World):
    swarm = finalizing(world, "echo junk > junk.txt", "git add . ; true")
    assert outcome(swarm)[0] == "succeeded"
    tip = store_of(swarm).tip(swarm.branch)
    assert tip == swarm.head_sha
    assert "junk.txt" not in store_of(swarm).list_files(tip)


@pytest.mark.parametrize("status", ["failed", "conflict", "timed_out", "blocked", "cancelled"])
def test_a_subtask_that_did_not_complete_is_no_success(world: World, status: str):
    swarm = finalizing(world, "true", other=status)
    assert outcome(swarm)[:2] == ("partly_succeeded", True)
    assert f"1 of 2 subtasks did not complete: other ({status.replace('_', ' ')})." in swarm.status_reason


def test_the_end_says_why_the_first_one_failed(world: World):
    swarm = finalizing(world, "true", other="failed")
    Subtask.objects.filter(name="other").update(status_reason="The service refused the key (401).")
    assert outcome(swarm)[0] == "partly_succeeded"
    assert swarm.status_reason.endswith("other (failed). other: The service refused the key (401).")


def test_where_nothing_was_done_the_swarm_failed(world: World):
    swarm = finalizing(world, "true", landed=False, one="failed", two="blocked")
    assert outcome(swarm)[0] == "failed"
    assert world.clone.git("branch", "--list", "swarm/*") == "", "there is nothing to publish"


def test_planning_that_stopped_early_is_no_success(world: World):
    swarm = finalizing(world, "true")
    Swarm.objects.update(planning_error="the key was refused")
    status, _, reason = outcome(swarm)
    assert status == "partly_succeeded"
    assert reason.startswith("Planning stopped early: the key was refused")


def test_the_figures_are_kept(world: World):
    swarm = finalizing(world)
    finish(swarm.pk)
    swarm.refresh_from_db()
    assert (swarm.stats["subagents_spawned"], swarm.stats["subagents_completed"]) == (1, 1)
    assert swarm.stats["critical_path"] == ["landed"]


# The branch in the requester's own repository.


def test_the_branch_appears_in_the_clone_and_touches_nothing_else(world: World):
    swarm = finalizing(world)
    (world.clone.path / "a.txt").write_text("half edited\n")
    before = world.clone.git("rev-parse", "HEAD"), world.clone.git("status", "--porcelain")
    finish(swarm.pk)
    swarm.refresh_from_db()
    assert world.clone.git("rev-parse", swarm.branch) == swarm.head_sha
    assert (world.clone.git("rev-parse", "HEAD"), world.clone.git("status", "--porcelain")) == before
    facts = Event.objects.get(kind="swarm.published").facts
    assert facts == {"branch": swarm.branch, "where": str(world.clone.path), "head": swarm.head_sha}


def taken(world: World, swarm: Swarm) -> None:
    world.clone.git("checkout", "-q", "-b", swarm.branch)


def gone(world: World, swarm: Swarm) -> None:
    world.clone.path.rename(world.clone.path.with_name("moved"))


def forbidden(world: World, swarm: Swarm) -> None:
    world.repository.path_allowed = False
    world.repository.save()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (taken, "is checked out there"),
        (gone, "is not a git repository"),
        (forbidden, "not one that an operator allowed"),
    ],
)
def test_a_branch_that_cannot_be_put_there_is_said_and_no_full_success(world: World, spoil: Any, says: str):
    swarm = finalizing(world, "true")
    spoil(world, swarm)
    status, verified, reason = outcome(swarm)
    assert (status, verified) == ("partly_succeeded", True)
    assert reason.startswith(f"The branch {swarm.branch} could not be put into {world.clone.path}: ")
    assert says in reason
    assert store_of(swarm).tip(swarm.branch) == swarm.head_sha, "the result itself is safe"


# Once, and whenever it is asked.


@pytest.mark.parametrize("status", ["planning", "running", "paused", "cancelled", "succeeded"])
def test_nothing_ends_that_is_not_at_its_end(world: World, status: str):
    swarm = finalizing(world, "true")
    Swarm.objects.update(status=status, finished_at=timezone.now())
    assert outcome(swarm)[0] == status
    assert not CheckRun.objects.exists()


def test_it_waits_for_what_is_about_to_land(world: World):
    swarm = finalizing(world)
    world.queued(swarm, "late", {"late.txt": "x\n"})
    assert outcome(swarm)[0] == "finalizing"
    merge(swarm.pk)
    assert outcome(swarm)[0] == "succeeded"
    assert "late.txt" in world.clone.git("ls-tree", "--name-only", swarm.branch)


def test_asked_many_times_at_once_it_happens_once(world: World):
    swarm = finalizing(world, "true")
    assert at_once(*[lambda: finish(swarm.pk)] * 4) == [None] * 4
    finish(swarm.pk)
    assert CheckRun.objects.count() == 1
    assert Event.objects.filter(kind="swarm.succeeded").count() == 1
    assert Event.objects.last().kind == "swarm.succeeded"  # type: ignore[union-attr]


def test_one_that_looked_before_and_got_the_lease_after_the_end_does_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    swarm = finalizing(world, "true")
    real = stage.hold  # type: ignore[attr-defined]

    def slow(name: str) -> Any:
        monkeypatch.setattr(stage, "hold", real)
        finish(swarm.pk)
        return real(name)

    monkeypatch.setattr(stage, "hold", slow)
    finish(swarm.pk)
    assert CheckRun.objects.count() == 1
    assert Event.objects.last().kind == "swarm.succeeded"  # type: ignore[union-attr]


@pytest.mark.parametrize("where", ["_publish", "_end"])
def test_a_crash_between_the_checks_and_the_end_is_finished_by_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch, where: str
):
    swarm = finalizing(world, "true")
    with monkeypatch.context() as crash:
        crash.setattr(stage, where, lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            finish(swarm.pk)
    assert Swarm.objects.get().status == "finalizing"
    assert outcome(swarm)[:2] == ("succeeded", True)
    assert world.clone.git("rev-parse", swarm.branch) == swarm.head_sha


def test_checks_that_outlast_the_lease_are_not_run_by_two(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    """The tick asks again and again; the heartbeat keeps the lease as long as they run."""
    settings.SWARM = settings.SWARM | {"LEASE_SECONDS": 6}
    swarm = finalizing(world, "true")
    real, begun, renewed, ran = stage.run_checks, threading.Event(), threading.Event(), []  # type: ignore[attr-defined]

    def slow(*args: Any, **kwargs: Any) -> Any:
        ran.append(1)
        begun.set()
        assert renewed.wait(60)
        return real(*args, **kwargs)

    monkeypatch.setattr(stage, "run_checks", slow)

    def ask() -> None:
        ends = set()
        assert begun.wait(60)
        while Swarm.objects.get().status == "finalizing":
            finish(swarm.pk)
            ends |= set(Lease.objects.filter(name=f"finish:{swarm.pk}").values_list("expires_at", flat=True)) - {None}
            if len(ends) > 1:
                renewed.set()
            threading.Event().wait(0.05)

    assert at_once(lambda: finish(swarm.pk), ask) == [None, None]
    assert ran == [1]
    assert CheckRun.objects.count() == 1
    assert Swarm.objects.get().status == "succeeded"


def while_it_checks(swarm: Swarm, act: Any) -> None:
    """`act` happens while the checks run, which would take a quarter of an hour."""
    running = threading.Event()

    def then() -> None:
        assert running.wait(30)
        act()

    with pytest.MonkeyPatch.context() as patch:
        real = stage.run_checks  # type: ignore[attr-defined]

        def tell(*args: Any, **kwargs: Any) -> Any:
            running.set()
            return real(*args, **kwargs)

        patch.setattr(stage, "run_checks", tell)
        assert at_once(lambda: finish(swarm.pk), then) == [None, None]


def test_a_cancel_ends_the_checks_and_nothing_is_published(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm = finalizing(world, "sleep 900")
    while_it_checks(swarm, lambda: cancel(Swarm.objects.get(), world.ada))
    swarm.refresh_from_db()
    assert (swarm.status, swarm.status_reason) == ("cancelled", "Cancelled by ada.")
    assert not CheckRun.objects.exists(), "a check that was stopped is not red"
    assert world.clone.git("branch", "--list", "swarm/*") == ""
    assert Event.objects.last().kind == "swarm.cancelled"  # type: ignore[union-attr]


def test_a_server_that_stops_leaves_the_end_to_the_next(world: World):
    swarm = finalizing(world, "sleep 900")
    while_it_checks(swarm, lambda: leases.heartbeat.cancel_all("The server was stopped."))
    swarm.refresh_from_db()
    assert swarm.status == "finalizing"
    assert not CheckRun.objects.exists()
    assert Lease.objects.get(name=f"finish:{swarm.pk}").token == ""


def test_a_cancel_between_the_checks_and_the_end_wins(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm = finalizing(world)
    real = BareRepository.publish

    def publish(self: BareRepository, *args: Any, **kwargs: Any) -> None:
        real(self, *args, **kwargs)
        cancel(Swarm.objects.get(), world.ada)

    monkeypatch.setattr(BareRepository, "publish", publish)
    assert outcome(swarm)[0] == "cancelled"
