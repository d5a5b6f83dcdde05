"""Every way in which an attempt can end without a handoff: its work is kept, and what follows is right."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from orchestration.adapters import storage
from orchestration.adapters.git.workspaces import WorkspacePool
from orchestration.agents import builtin
from orchestration.agents.conversation import Clock
from orchestration.demo.service import Answer
from orchestration.domain.conversation import Usage
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.retries import MAX_LOST
from orchestration.models import Attempt, Handoff, MergeEntry, ModelEndpoint, Subtask, Swarm
from orchestration.stages import execute as stage
from orchestration.stages import leases
from orchestration.stages.dispatch import dispatch
from orchestration.stages.execute import execute
from orchestration.stages.handoff import lose, settle
from orchestration.stages.rows import config_of, store_of
from orchestration.stages.steer import cancel, cancel_subtask
from orchestration.stages.tick import tick
from tests import factories
from tests.deadlines import PLENTY_S, clock_from
from tests.stages.world import Model, World, at_once, bash, call, claimed, hand_off, says, statuses, write

pytestmark = pytest.mark.sandbox
HELD = replace(hand_off(), held="go")


def kept(attempt: Attempt, path: str = "half.txt") -> str | None:
    """The attempt's file, from the commit that its row names and a pin keeps."""
    attempt.refresh_from_db()
    store = store_of(attempt.subtask.swarm)
    assert store.pins("attempts")[attempt.public_id] == attempt.head_sha
    found = store.read_file(attempt.head_sha, path)
    return found.decode() if found is not None else None


def run(world: World, model: Model, *answers: Answer, **config: Any) -> Attempt:
    model.workers["one"] = list(answers)
    attempt = world.assigned(world.running(**config))
    execute(attempt.pk)
    attempt.refresh_from_db()
    return attempt


def meanwhile(world: World, model: Model, act: Callable[[Attempt], None]) -> Attempt:
    """`act` happens while the worker, whose work is half done, waits for its model."""
    model.workers["one"] = [write("half.txt", "half\n"), HELD]
    attempt = world.assigned(world.running())

    def then() -> None:
        world.service.wait_for(lambda: world.service.total == 2 and world.service.in_flight == 1)
        act(attempt)

    assert at_once(lambda: execute(attempt.pk), then) == [None, None]
    attempt.refresh_from_db()
    return attempt


def no_space(*_: Any) -> Any:
    raise AdapterError(Failure.TRANSIENT, "A workspace could not be prepared: No space left on device.")


def test_acceptance_checks_are_part_of_an_attempts_time(world: World, model: Model, monkeypatch: pytest.MonkeyPatch):
    """Two that would take a quarter of an hour each, in an attempt that has half a second."""
    monkeypatch.setattr(stage, "Clock", lambda *_: Clock(0.5))
    model.workers["one"] = [write("half.txt", "half\n"), hand_off()]
    attempt = world.assigned(world.running(), acceptance_checks=["sleep 900", "sleep 901"])
    execute(attempt.pk)
    assert kept(attempt) == "half\n"
    assert (attempt.status, attempt.status_reason) == ("timed_out", "The time limit of 0.5 s is used up.")


# Failures.


def test_a_model_that_fails_is_tried_again_later_up_to_the_limit(world: World, model: Model):
    down = Answer(status=500, error={"message": "the GPU melted"})
    swarm = world.running(max_retries=0)
    Swarm.objects.update(config=swarm.config | {"max_retries": 2})  # of attempts; one call is tried three times too
    model.workers["one"] = [write("half.txt", "half\n"), down]
    factories.make_subtask(swarm, name="one", acceptance_checks=[])
    for number in (1, 2, 3):
        dispatch(swarm.pk)
        attempt = Attempt.objects.get(number=number)
        execute(attempt.pk)
        assert kept(attempt) == "half\n"
        assert (attempt.status, attempt.failure) == ("failed", "transient")
        assert "the GPU melted" in attempt.status_reason
        assert Subtask.objects.get().status == ("pending" if number < 3 else "failed")
        assert Handoff.objects.count() == (number == 3), "the planner hears of the end, not of every try"
    assert Subtask.objects.get().status_reason.endswith("It was tried 3 times.")
    assert "the GPU melted" in Handoff.objects.get().summary


def test_the_next_try_waits(world: World, model: Model):
    swarm = world.running(max_retries=0)
    Swarm.objects.update(config=swarm.config | {"max_retries": 1, "base_delay_ms": 60_000, "max_delay_ms": 60_000})
    attempt = world.assigned(swarm)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkspacePool, "acquire", no_space)
        execute(attempt.pk)
    subtask = Subtask.objects.get()
    assert subtask.status == "pending"
    assert subtask.not_before
    assert timedelta(seconds=20) < subtask.not_before - timezone.now() <= timedelta(seconds=60)
    dispatch(swarm.pk)
    assert Attempt.objects.count() == 1


@pytest.mark.parametrize(("status", "failure"), [(401, "permanent"), (403, "permanent"), (404, "permanent")])
def test_a_key_that_is_refused_is_not_tried_again(world: World, model: Model, status: int, failure: str):
    attempt = run(world, model, write("half.txt", "half\n"), Answer(status=status))
    assert kept(attempt) == "half\n"
    assert (attempt.status, attempt.failure) == ("failed", failure)
    assert statuses(attempt.subtask.swarm) == {"one": "failed"}
    assert Handoff.objects.get().summary == attempt.status_reason


def test_the_swarms_limit_of_tool_calls_ends_it(world: World, model: Model):
    looks = says(call("read_file", path="a.txt"), call("read_file", path="src/b.py"))
    attempt = run(world, model, write("half.txt", "half\n"), looks, looks, max_total_steps=3)
    assert kept(attempt) == "half\n"
    assert (attempt.status, attempt.failure) == ("failed", "budget")
    assert attempt.status_reason == "The swarm's limit of 3 tool calls is used up."
    assert statuses(attempt.subtask.swarm) == {"one": "failed"}
    assert Attempt.objects.count() == 1, "a limit is not tried again"


def test_calls_that_run_at_once_meet_the_swarms_limit_exactly(world: World, model: Model):
    looks = says(*(call("read_file", path=path) for path in ("a.txt", "src/b.py", "none", "a.txt", "a.txt")))
    attempt = run(world, model, write("half.txt", "half\n"), looks, max_total_steps=4)
    assert attempt.status_reason == "The swarm's limit of 4 tool calls is used up."
    ran = attempt.transcript.exclude(tool="").values_list("tool", "arguments__path")
    assert list(ran) == [
        ("write_file", "half.txt"),
        ("read_file", "a.txt"),
        ("read_file", "src/b.py"),
        ("read_file", "none"),
    ]
    assert (attempt.tool_calls, Swarm.objects.get().tool_calls) == (4, 4)


def test_the_turns_of_an_attempt_are_limited(world: World, model: Model):
    answers = [write("half.txt", "half\n"), *(bash(f"echo {n}") for n in range(5))]
    attempt = run(world, model, *answers, max_steps_per_subagent=3)
    assert attempt.status_reason == "The agent did not hand off within 3 turns."
    assert (attempt.status, attempt.steps) == ("failed", 3)
    assert kept(attempt) == "half\n"


@pytest.mark.parametrize("slow", ["a model", "a command"])
def test_its_time_is_limited(world: World, model: Model, monkeypatch: pytest.MonkeyPatch, slow: str):
    hurried: Any = lambda swarm: config_of(swarm).model_copy(update={"subagent_timeout_secs": 0.5})  # noqa: E731
    workspaces = storage.data_directory() / "workspaces"
    monkeypatch.setattr(stage, "config_of", hurried)
    monkeypatch.setattr(builtin, "Clock", clock_from(lambda: any(workspaces.rglob("half.txt"))))
    monkeypatch.setattr(stage, "Clock", lambda *_: Clock(PLENTY_S))
    last = HELD if slow == "a model" else bash("sleep 1000")
    attempt = run(world, model, write("half.txt", "half\n"), last)
    assert (attempt.status, attempt.status_reason) == ("timed_out", "The time limit of 0.5 s is used up.")
    assert statuses(attempt.subtask.swarm) == {"one": "timed_out"}
    assert kept(attempt) == "half\n"
    assert Attempt.objects.count() == 1


def test_what_cannot_be_taken_into_a_commit_says_why_and_the_last_commit_stands(world: World, model: Model):
    model.workers["one"] = [
        write("half.txt", "half\n"),
        hand_off(),  # committed, and not believed: its check is red
        bash("mkdir sub && mkdir sub/.git && echo x > sub/.git/HEAD"),
        hand_off(),
    ]
    attempt = world.assigned(world.running(), acceptance_checks=["false"])
    execute(attempt.pk)
    attempt.refresh_from_db()
    assert attempt.status == "failed"
    assert attempt.status_reason == "sub/.git is a repository of its own: remove its .git."
    assert kept(attempt) == "half\n"


def test_a_workspace_that_cannot_be_had_is_a_failure_like_another(world: World, monkeypatch: pytest.MonkeyPatch):
    attempt = world.assigned(world.running())
    monkeypatch.setattr(WorkspacePool, "acquire", no_space)
    execute(attempt.pk)
    attempt.refresh_from_db()
    assert (attempt.status, attempt.failure) == ("failed", "transient")
    assert Subtask.objects.get().status == "pending"


def test_a_reason_of_a_megabyte_is_stored_and_handed_on_cut(world: World, monkeypatch: pytest.MonkeyPatch):
    def long(*_: Any) -> Any:
        raise AdapterError(Failure.PERMANENT, "x" * 1_000_000)

    attempt = world.assigned(world.running())
    monkeypatch.setattr(WorkspacePool, "acquire", long)
    execute(attempt.pk)
    assert Handoff.objects.get().summary == "x" * 2000


def test_the_workspace_goes_back_to_the_pool_whatever_happened(world: World, model: Model):
    swarm = world.running()
    for name, answer in (("a", hand_off()), ("b", Answer(status=401)), ("c", hand_off("blocked"))):
        model.workers[name] = [write("x.txt", name), answer]
        execute(world.assigned(swarm, name).pk)
    assert statuses(swarm) == {"a": "handed_off", "b": "failed", "c": "blocked"}
    slots = list((storage.data_directory() / "workspaces" / world.repository.public_id).glob("slot-*"))
    assert len(slots) == 1


# Cancelled, taken over, stopped.


def test_a_cancel_of_the_swarm_ends_it_at_once_and_its_work_is_kept(world: World, model: Model):
    attempt = meanwhile(world, model, lambda row: cancel(Swarm.objects.get(), world.ada))
    assert (attempt.status, attempt.status_reason) == ("cancelled", "Cancelled by ada.")
    assert kept(attempt) == "half\n"
    assert statuses(attempt.subtask.swarm) == {"one": "cancelled"}
    assert not Handoff.objects.exists()
    assert world.service.hung_up == 1


def test_a_cancel_of_the_subtask_ends_it_at_once_and_its_work_is_kept(world: World, model: Model):
    attempt = meanwhile(world, model, lambda row: cancel_subtask(Subtask.objects.get(), world.ada))
    assert attempt.status == "cancelled"
    assert kept(attempt) == "half\n"
    assert Swarm.objects.get().status == "running"


def test_a_command_that_runs_is_killed_by_a_cancel(world: World, model: Model):
    model.workers["one"] = [write("half.txt", "half\n"), bash("sleep 1000")]
    attempt = world.assigned(world.running())

    def then() -> None:
        world.service.wait_for(lambda: world.service.total == 2)
        while "sleep" not in Attempt.objects.get().doing:
            threading.Event().wait(0.01)
        cancel(Swarm.objects.get(), world.ada)

    assert at_once(lambda: execute(attempt.pk), then) == [None, None]
    assert kept(attempt) == "half\n"
    assert attempt.status == "cancelled"


def test_what_was_taken_over_changes_nothing_any_more(world: World, model: Model):
    """Its lease ran out, the tick gave it up, and the worker still lives."""

    def lost(attempt: Attempt) -> None:
        Attempt.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        tick()
        dispatch(attempt.subtask.swarm.pk)
        world.service.release("go")

    attempt = meanwhile(world, model, lost)
    assert (attempt.status, attempt.number) == ("lost", 1)
    assert statuses(attempt.subtask.swarm) == {"one": "assigned"}
    assert not MergeEntry.objects.exists()
    assert kept(attempt) == "half\n"
    fresh = Attempt.objects.get(number=2)
    execute(fresh.pk)
    assert statuses(attempt.subtask.swarm) == {"one": "handed_off"}
    assert MergeEntry.objects.get().attempt == fresh


def test_a_result_that_comes_with_an_old_lease_is_not_taken(world: World, model: Model):
    """As when the heartbeat could not tell it in time."""
    model.workers["one"] = [write("half.txt", "half\n"), hand_off()]
    attempt = world.assigned(world.running())
    real = settle
    with pytest.MonkeyPatch.context() as patch:

        def late(row: Attempt, ending: Any) -> None:
            Attempt.objects.filter(pk=row.pk).update(lease_token="another's")
            real(row, ending)

        patch.setattr(stage, "settle", late)
        execute(attempt.pk)
    assert Attempt.objects.get().status == "running"
    assert not MergeEntry.objects.exists()
    assert not Handoff.objects.exists()


def test_a_server_that_stops_gives_its_attempts_back_unharmed(world: World, model: Model):
    attempt = meanwhile(world, model, lambda _: leases.heartbeat.cancel_all("The server was stopped."))
    assert (attempt.status, attempt.status_reason, attempt.failure) == ("lost", "The server was stopped.", "")
    assert kept(attempt) == "half\n"
    subtask = Subtask.objects.get()
    assert subtask.status == "pending"
    dispatch(subtask.swarm.pk)
    assert Attempt.objects.filter(number=2, status="assigned").exists(), "and at once"


def test_losses_do_not_count_as_failures_but_end_some_day(world: World):
    swarm = world.running(max_retries=0)
    subtask = factories.make_subtask(swarm, name="one", status="assigned")
    for number in range(1, MAX_LOST):
        factories.make_attempt(subtask, status="lost", number=number)
    attempt = claimed(Attempt.objects.create(subtask=subtask, number=MAX_LOST))
    lose(attempt, "Its process is gone.")
    assert statuses(swarm) == {"one": "pending"}
    dispatch(swarm.pk)
    lose(claimed(Attempt.objects.get(status="assigned")), "Its process is gone.")
    assert statuses(swarm) == {"one": "failed"}
    assert Subtask.objects.get().status_reason.endswith(
        f"It was lost {MAX_LOST + 1} times with the process that ran it."
    )


# What a service says about itself reaches rows too.


@pytest.mark.parametrize("status", [500, 401])
def test_an_error_whose_text_no_database_stores_is_mended(world: World, model: Model, status: int):
    attempt = run(world, model, Answer(status=status, error={"message": "GPU \x00 melted"}), max_retries=0)
    assert attempt.status == "failed"
    assert "\x00" not in attempt.status_reason + Subtask.objects.get().wait_reason


def test_an_error_of_ours_whose_text_no_database_stores_is_mended(world: World, monkeypatch: pytest.MonkeyPatch):
    def odd(*_: Any) -> Any:
        raise AdapterError(Failure.TRANSIENT, "The path \x00\ud83d is full.")

    attempt = world.assigned(world.running())
    monkeypatch.setattr(WorkspacePool, "acquire", odd)
    execute(attempt.pk)
    attempt.refresh_from_db()
    assert attempt.status_reason == "The path \ufffd\ufffd is full."
    assert Subtask.objects.get().wait_reason == attempt.status_reason


@pytest.mark.parametrize("usage", [Usage(10**12, 5), Usage(-5, 2**62), Usage(0, 0)], ids=["huge", "absurd", "none"])
def test_absurd_figures_of_a_service_end_no_attempt(world: World, model: Model, usage: Usage):
    ModelEndpoint.objects.update(input_price=3, output_price=15)
    attempt = run(world, model, replace(write("half.txt", "half\n"), usage=usage), hand_off())
    assert attempt.status == "complete"
