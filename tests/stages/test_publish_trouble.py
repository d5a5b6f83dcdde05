"""What keeps a result from landing directly: told apart, with what to do, and waited for where waiting helps."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from orchestration.adapters.git.pushing import Pushing
from orchestration.domain.errors import AdapterError
from orchestration.domain.publishing import Landing, RemoteError, Trouble
from orchestration.models import Event, Swarm
from orchestration.stages.finish import finish
from orchestration.stages.publish import choose, try_again
from orchestration.stages.rows import store_of
from orchestration.stages.steer import cancel
from orchestration.stages.tick import tick
from tests.stages.publications import at, due_again, ended, finalizing, row
from tests.stages.remotes import TOKEN, Bare, Hub
from tests.stages.world import Nudges, World

pytestmark = pytest.mark.sandbox


# What refuses


@pytest.mark.parametrize(
    ("hook", "said"),
    [("pre-receive", "Only Friday."), ("update", "GH006: Protected branch update failed")],
)
def test_a_protected_branch_is_told_with_its_own_words_and_what_to_do(world: World, bare: Bare, hook: str, said: str):
    bare.hook(hook, f"echo '{said}'; exit 1")
    before = bare.tip()
    swarm = finalizing(world)
    status, reason = ended(swarm)
    assert (status, row(swarm).status, row(swarm).trouble) == ("finalizing", "refused", "protected")
    assert said in reason
    assert "choose a pull request" in reason
    assert (bare.tip(), row(swarm).landed_sha) == (before, "")
    events = Event.objects.count()
    ended(swarm)
    assert Event.objects.count() == events, "nothing is tried until a person did something"
    (bare.path / "hooks" / hook).unlink()
    try_again(swarm, world.ada)
    assert ended(swarm)[0] == "succeeded"
    assert bare.tip() == swarm.head_sha


def test_a_branch_that_is_checked_out_is_not_pulled_from_under_its_user(world: World):
    before = world.clone.git("rev-parse", "main"), world.clone.git("status", "--porcelain")
    swarm = finalizing(world)
    _, reason = ended(swarm)
    assert row(swarm).trouble == "checked_out"
    assert "Switch to another branch there" in reason
    assert (world.clone.git("rev-parse", "main"), world.clone.git("status", "--porcelain")) == before
    world.clone.git("checkout", "-q", "--detach")
    try_again(swarm, world.ada)
    assert ended(swarm)[0] == "succeeded"
    assert world.clone.git("rev-parse", "main") == swarm.head_sha


def test_no_room_there_is_tried_again_by_itself(world: World, bare: Bare):
    bare.hook("pre-receive", "echo 'fatal: write error: No space left on device' >&2; exit 1")
    swarm = finalizing(world)
    _, reason = ended(swarm)
    assert (row(swarm).status, row(swarm).trouble) == ("waiting", "full")
    assert "has no room left" in reason
    (bare.path / "hooks/pre-receive").unlink()
    due_again(swarm)
    assert ended(swarm)[0] == "succeeded"


def test_a_repository_of_another_user_is_not_pushed_to(world: World, bare: Bare, monkeypatch: pytest.MonkeyPatch):
    """Its hooks would run as this server."""
    monkeypatch.setattr("orchestration.adapters.git.pushing.os.geteuid", lambda: 12345)
    swarm = finalizing(world)
    assert "belongs to another user" in ended(swarm)[1]
    assert row(swarm).status == "refused"


def test_a_target_that_somebody_deleted_is_told_with_what_is_there(world: World, bare: Bare):
    swarm, before = finalizing(world), bare.tip()
    bare.git("branch", "-m", "main", "trunk")
    _, reason = ended(swarm)
    assert (row(swarm).status, row(swarm).trouble, row(swarm).landed_sha) == ("refused", "other", "")
    assert "has no branch 'main': there are trunk." in reason
    assert "try again, or keep the branch only" in reason
    assert bare.tip("main") == "", "it is not put back"
    bare.git("branch", "main", before)
    try_again(swarm, world.ada)
    assert ended(swarm)[0] == "succeeded"
    assert bare.tip() == swarm.head_sha


# A remote that is down


def test_a_remote_that_is_down_for_a_while_is_waited_for(world: World, bare: Bare, hub: Hub, nudges: Nudges):
    swarm, before = finalizing(world, "test -f one.txt"), bare.tip()
    hub.stop()
    assert ended(swarm)[0] == "finalizing"
    first = row(swarm)
    assert (first.status, first.trouble, first.tries) == ("waiting", "down", 1)
    assert first.not_before is not None
    assert "cannot be reached" in swarm.status_reason
    ended(swarm)
    assert row(swarm).tries == 1, "not before its time"
    due_again(swarm)
    ended(swarm)
    assert (row(swarm).tries, bare.tip()) == (2, before)
    assert row(swarm).not_before - timezone.now() > timedelta(seconds=6)  # type: ignore[operator]
    hub.start()
    due_again(swarm)
    nudges.take()
    tick()
    nudges.run()
    swarm.refresh_from_db()
    assert (swarm.status, bare.tip()) == ("succeeded", swarm.head_sha)
    assert Event.objects.filter(kind="swarm.checked").count() == 1, "what passed was not run again and again"


@pytest.mark.any_database
def test_errors_of_the_server_are_waited_for_too(world: World, bare: Bare, hub: Hub):
    swarm = finalizing(world)
    for status, trouble in ((503, "down"), (429, "limited")):
        hub.trouble = status
        ended(swarm)
        assert (row(swarm).status, row(swarm).trouble) == ("waiting", trouble)
        due_again(swarm)
    hub.trouble = 0
    assert ended(swarm)[0] == "succeeded"


def test_a_push_whose_answer_was_lost_is_found_where_it_arrived(
    world: World, bare: Bare, monkeypatch: pytest.MonkeyPatch
):
    real, pushes = Pushing.push, list[str]()

    def push(self: Pushing, *args: str, **how: object) -> None:
        pushes.append(args[2])
        real(self, *args, **how)  # type: ignore[arg-type]
        raise RemoteError(Trouble.DOWN, "The line was cut.")

    monkeypatch.setattr(Pushing, "push", push)
    swarm = finalizing(world)
    assert ended(swarm) == ("finalizing", "The line was cut. It is tried again by itself.")
    due_again(swarm)
    assert ended(swarm)[0] == "succeeded"
    assert len(pushes) == 1


def test_a_push_that_says_yes_and_did_nothing_is_not_believed(
    world: World, bare: Bare, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Pushing, "push", lambda *_, **__: None)
    swarm = finalizing(world)
    assert ended(swarm)[0] == "finalizing"
    assert row(swarm).status == "waiting"
    assert not row(swarm).landed_sha


# What people do about it


def waiting(world: World, bare: Bare) -> Swarm:
    bare.hook("pre-receive", "exit 1")
    swarm = finalizing(world, "true")
    ended(swarm)
    return swarm


def test_a_person_may_keep_the_branch_and_end_it(world: World, bare: Bare):
    swarm = waiting(world, bare)
    choose(swarm, world.ada, Landing.NONE)
    assert ended(swarm) == ("succeeded", f"ada keeps the result on {swarm.branch}.")
    assert (row(swarm).status, bare.tip(swarm.branch)) == ("cancelled", swarm.head_sha)


def test_a_cancel_ends_it_and_what_had_arrived_is_a_fact(world: World, bare: Bare, monkeypatch: pytest.MonkeyPatch):
    swarm = waiting(world, bare)
    cancel(swarm, world.ada)
    finish(swarm.pk)
    assert (row(swarm).status, row(swarm).landed_sha) == ("cancelled", "")
    (bare.path / "hooks/pre-receive").unlink()
    real = Pushing.push

    def push(self: Pushing, *args: str, **how: object) -> None:
        real(self, *args, **how)  # type: ignore[arg-type]
        cancel(Swarm.objects.latest("pk"), world.ada)
        raise RemoteError(Trouble.DOWN, "The line was cut.")

    monkeypatch.setattr(Pushing, "push", push)
    other = finalizing(world, name="two")
    finish(other.pk)
    tick()
    finish(other.pk)
    other.refresh_from_db()
    assert other.status == "cancelled"
    assert (row(other).status, row(other).landed_sha) == ("landed", bare.tip())


# Private repositories


@pytest.mark.any_database
def test_a_private_repository_is_reached_with_the_named_token_and_without_it_not(
    world: World, bare: Bare, hub: Hub, monkeypatch: pytest.MonkeyPatch
):
    hub.private = True
    with pytest.raises(RemoteError, match="needs a sign-in"):
        world.running(landing="direct")
    at(world, token_env="SHOP_TOKEN")
    with pytest.raises(AdapterError, match="SHOP_TOKEN, which the repository names"):
        world.running(landing="direct")
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)
    swarm = finalizing(world)
    assert ended(swarm)[0] == "succeeded"
    assert bare.tip() == swarm.head_sha


def test_a_token_that_is_refused_asks_a_person(world: World, bare: Bare, hub: Hub, monkeypatch: pytest.MonkeyPatch):
    hub.private = True
    at(world, token_env="SHOP_TOKEN")
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)
    swarm = finalizing(world)
    monkeypatch.setenv("SHOP_TOKEN", "another-token-that-is-wrong")
    _, reason = ended(swarm)
    assert (row(swarm).status, row(swarm).trouble) == ("refused", "sign_in")
    assert "look at the token that the repository names" in reason
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)
    try_again(swarm, world.ada)
    assert ended(swarm)[0] == "succeeded"


def test_the_token_stands_in_no_argument_file_log_or_row(
    world: World, bare: Bare, hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Every git child tells its arguments, and the remote repeats what it was sent."""
    hub.private = True
    at(world, token_env="SHOP_TOKEN")
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)
    told = list[str]()
    spawn, popen = os.posix_spawnp, subprocess.Popen

    def spawned(program: str, command: list[str], *args: Any, **how: Any) -> int:
        told.extend(command)
        return spawn(program, command, *args, **how)

    def opened(command: list[str], *args: Any, **how: Any) -> Any:
        told.extend(map(str, command))
        return popen(command, *args, **how)

    monkeypatch.setattr(os, "posix_spawnp", spawned)
    monkeypatch.setattr(subprocess, "Popen", opened)
    bare.hook("pre-receive", f"echo 'you sent {TOKEN}'; exit 1")
    swarm = finalizing(world)
    _, reason = ended(swarm)
    assert any("push" in one for one in told)
    assert "you sent [secret removed]" in reason
    encoded = hub.pass_word.removeprefix("Basic ")
    store = store_of(swarm).path
    written = [path.read_bytes() for path in store.rglob("*") if path.is_file()]
    for secret in (TOKEN, encoded):
        assert not [one for one in told if secret in one]
        assert secret not in caplog.text
        assert not [one for one in written if secret.encode() in one]
        assert not Event.objects.filter(facts__icontains=secret).exists()
