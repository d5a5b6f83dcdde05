"""Landing directly on the branch that a result is meant for: never a false "landed", and it lands when it can."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from orchestration.adapters.git.fetching import RemoteError
from orchestration.adapters.git.pushing import Pushing
from orchestration.domain import publishing
from orchestration.domain.errors import AdapterError
from orchestration.domain.publishing import Landing, Trouble
from orchestration.domain.states import SubtaskStatus, SwarmStatus
from orchestration.models import Event, GateRun, MergeEntry, Publication, Repository, Subtask, Swarm
from orchestration.stages import publish
from orchestration.stages.finish import finish
from orchestration.stages.merge import merge
from orchestration.stages.publish import choose, try_again
from orchestration.stages.rows import store_of
from orchestration.stages.steer import cancel
from orchestration.stages.tick import tick
from orchestration.stages.transition import advance
from tests.stages import gates
from tests.stages.remotes import TOKEN, Bare, Hub, hub_at
from tests.stages.world import Nudges, World

pytestmark = pytest.mark.sandbox


@pytest.fixture
def bare(world: World, tmp_path: Path) -> Bare:
    made = Bare(world.clone, tmp_path / "hub/shop.git")
    at(world, url=str(made.path))
    return made


@pytest.fixture
def hub(world: World, bare: Bare, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Hub]:
    """The same repository, by https."""
    settings.SWARM = settings.SWARM | {"ALLOWED_HOSTS_OUT": ("127.0.0.1",)}
    with hub_at(bare.path.parent) as (hub, certificate):
        monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))
        bare.git("config", "http.receivepack", "true")
        at(world, url=hub.url("shop.git"))
        yield hub


def at(world: World, **terms: object) -> None:
    Repository.objects.filter(pk=world.repository.pk).update(**terms)
    world.repository.refresh_from_db()


def finalizing(world: World, *checks: str, name: str = "one", **config: Any) -> Swarm:
    """One change has landed on the swarm's branch, and nothing is left to do."""
    at(world, checks=list(checks))
    swarm = world.running(**{"landing": "direct"} | config)
    world.queued(swarm, name, {f"{name}.txt": f"by {name}\n"})
    merge(swarm.pk)
    return at_its_end(swarm)


def at_its_end(swarm: Swarm) -> Swarm:
    swarm.refresh_from_db()
    assert advance(swarm, swarm, SwarmStatus.FINALIZING)
    return swarm


def ended(swarm: Swarm) -> tuple[str, str]:
    finish(swarm.pk)
    swarm.refresh_from_db()
    return swarm.status, swarm.status_reason


def row(swarm: Swarm) -> Publication:
    return Publication.objects.get(swarm=swarm)


def due_again(swarm: Swarm) -> None:
    Publication.objects.filter(swarm=swarm).update(not_before=timezone.now() - timedelta(seconds=1))


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
    popen = subprocess.Popen

    def start(command: list[str], *args: object, **how: object) -> object:
        told.extend(map(str, command))
        return popen(command, *args, **how)  # type: ignore[call-overload]

    monkeypatch.setattr("orchestration.adapters.git.runner.subprocess.Popen", start)
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
