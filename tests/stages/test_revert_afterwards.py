"""What landed is taken back when its swarm is over: it opens again, and what went outward is brought up to date."""

from __future__ import annotations

import pytest

from orchestration.domain.errors import InvalidInput
from orchestration.domain.states import IllegalTransition, SwarmStatus
from orchestration.models import Event, Subtask, Swarm
from orchestration.stages import revert as stage
from orchestration.stages.merge import merge
from orchestration.stages.revert import revert
from orchestration.stages.rows import store_of
from orchestration.stages.steer import cancel
from orchestration.stages.tick import tick
from orchestration.stages.transition import Superseded, advance
from tests.stages import gates
from tests.stages.github import Scripted
from tests.stages.publications import at, at_its_end, due_again, ended, row
from tests.stages.remotes import Bare
from tests.stages.test_pull_requests import github, shop
from tests.stages.world import Nudges, World

__all__ = ["github", "shop"]  # fixtures
pytestmark = pytest.mark.sandbox


def two_landed(world: World, *checks: str, **config: object) -> Swarm:
    """One and two are on the branch, and the swarm is at its end."""
    at(world, checks=list(checks))
    swarm = world.running(**{"landing": "direct"} | config)
    for name in ("one", "two"):
        swarm.refresh_from_db()
        world.queued(swarm, name, {f"{name}.txt": f"by {name}\n"}, base=swarm.head_sha)
        merge(swarm.pk)
    return at_its_end(swarm)


def taken_back(world: World, swarm: Swarm, name: str = "one") -> Subtask:
    made = revert(Subtask.objects.select_related("swarm__repository__team").get(swarm=swarm, name=name), world.ada)
    merge(swarm.pk)
    made.refresh_from_db()
    return made


def test_a_direct_landing_is_taken_back_on_the_target_too(world: World, bare: Bare):
    swarm = two_landed(world, "test -f two.txt")
    ended(swarm)
    theirs = bare.others_push({"theirs.txt": "later\n"})
    made = taken_back(world, swarm)
    swarm.refresh_from_db()
    assert (made.status, swarm.status, swarm.status_reason) == ("complete", "finalizing", "ada takes back one.")
    assert ended(swarm) == ("succeeded", "")
    assert set(bare.git("ls-tree", "--name-only", "main").split()) == {"a.txt", "src", "theirs.txt", "two.txt"}
    assert bare.git("merge-base", "--is-ancestor", theirs, "main") == ""
    assert (row(swarm).status, row(swarm).landed_sha, bare.tip()) == ("landed", swarm.head_sha, swarm.head_sha)


def test_until_the_remote_has_confirmed_it_nothing_says_that_it_landed(world: World, bare: Bare):
    swarm = two_landed(world)
    ended(swarm)
    before = row(swarm).landed_sha
    bare.hook("pre-receive", "echo 'Only Friday.'; exit 1")
    taken_back(world, swarm)
    status, reason = ended(swarm)
    assert (status, row(swarm).status, row(swarm).landed_sha) == ("finalizing", "refused", before)
    assert "Only Friday." in reason


def test_what_is_red_without_it_does_not_go_out_and_the_end_says_so(world: World, bare: Bare):
    swarm = two_landed(world, "test -f one.txt")
    ended(swarm)
    before = bare.tip()
    taken_back(world, swarm)
    status, reason = ended(swarm)
    assert status == "partly_succeeded"
    assert "main stays at what was put there before" in reason
    assert (bare.tip(), row(swarm).status, row(swarm).landed_sha) == (before, "landed", before)


def test_what_is_red_while_the_remote_is_waited_for_is_not_looked_at_again_and_again(world: World, bare: Bare):
    swarm = two_landed(world, "test -f one.txt")
    bare.hook("pre-receive", "echo 'fatal: write error: No space left on device' >&2; exit 1")
    ended(swarm)
    assert row(swarm).status == "waiting"
    taken_back(world, swarm)
    due_again(swarm)
    assert ended(swarm)[0] == "partly_succeeded"
    assert (row(swarm).status, row(swarm).landed_sha) == ("refused", "")
    assert "Take back what is red" in row(swarm).status_reason
    checked = Event.objects.filter(swarm=swarm, kind="swarm.checked").count()
    due_again(swarm)
    ended(swarm)
    assert Event.objects.filter(swarm=swarm, kind="swarm.checked").count() == checked


def test_what_a_person_was_asked_about_is_looked_at_again_without_it(world: World, bare: Bare):
    """The remote refuses what has one.txt in it."""
    bare.hook("update", 'if git cat-file -e "$3:one.txt"; then echo "Not that."; exit 1; fi')
    swarm = two_landed(world)
    assert "Not that." in ended(swarm)[1]
    assert row(swarm).status == "refused"
    taken_back(world, swarm)
    assert ended(swarm)[0] == "succeeded"
    assert (row(swarm).status, bare.tip()) == ("landed", swarm.head_sha)


def test_what_its_gate_refuses_leaves_the_end_as_it_was(world: World, bare: Bare, nudges: Nudges):
    at(world, checks=["test -f one.txt"], gates_at_once=1)
    swarm = world.running(landing="direct", gate="gated")
    world.queued(swarm, "one", {"one.txt": "1\n"})
    gates.work(swarm, nudges)
    assert ended(at_its_end(swarm)) == ("succeeded", "")
    before = bare.tip()
    made = revert(Subtask.objects.get(name="one"), world.ada)
    gates.work(swarm, nudges)
    made.refresh_from_db()
    assert (made.status, made.status_reason[:16]) == ("failed", "Its gate was red")
    assert ended(swarm) == ("succeeded", "")
    assert bare.tip() == before
    gates.audit(swarm)


def test_the_branch_in_a_local_repository_follows(world: World, bare: Bare):
    swarm = two_landed(world, landing=None)
    ended(swarm)
    taken_back(world, swarm)
    assert ended(swarm)[0] == "succeeded"
    assert bare.tip(swarm.branch) == swarm.head_sha
    assert "one.txt" not in bare.git("ls-tree", "--name-only", swarm.branch)


def test_the_figures_of_the_work_stay_what_they_were(world: World, bare: Bare):
    swarm = two_landed(world)
    ended(swarm)
    stats = swarm.stats
    taken_back(world, swarm)
    swarm.refresh_from_db()
    assert swarm.finished_at is None
    ended(swarm)
    assert swarm.stats == stats
    assert swarm.finished_at is not None
    assert swarm.wall_s(swarm.finished_at) == stats["wall_s"]


def test_a_lost_nudge_is_made_up_for_by_the_tick(world: World, bare: Bare, nudges: Nudges):
    swarm = two_landed(world)
    ended(swarm)
    revert(Subtask.objects.get(name="one"), world.ada)
    nudges.take()
    for _ in range(2):
        tick()
        nudges.run()
    swarm.refresh_from_db()
    assert (swarm.status, bare.tip()) == ("succeeded", swarm.head_sha)
    assert "one.txt" not in store_of(swarm).list_files(swarm.head_sha)


def test_bringing_it_back_is_reverting_the_revert(world: World, bare: Bare):
    swarm = two_landed(world)
    ended(swarm)
    made = taken_back(world, swarm)
    ended(swarm)
    taken_back(world, swarm, made.name)
    assert ended(swarm)[0] == "succeeded"
    assert bare.file("one.txt") == "by one"


def test_two_who_ask_at_once_are_one_revert(world: World, bare: Bare, monkeypatch: pytest.MonkeyPatch):
    swarm = two_landed(world)
    ended(swarm)

    def too_late(*_: object, **__: object) -> None:
        raise Superseded("somebody was first")

    with monkeypatch.context() as racing:
        racing.setattr(stage, "queue_commit", too_late)
        with pytest.raises(InvalidInput, match="changed in this moment"):
            revert(Subtask.objects.get(name="one"), world.ada)
    revert(Subtask.objects.get(name="one"), world.ada)
    with pytest.raises(InvalidInput, match="on its way already"):
        revert(Subtask.objects.get(name="two"), world.ada)


def test_a_cancelled_swarm_stays_as_it_was_left(world: World, bare: Bare):
    swarm = two_landed(world)
    cancel(swarm, world.ada)
    with pytest.raises(InvalidInput, match="The swarm is cancelled"):
        revert(Subtask.objects.get(name="one"), world.ada)
    swarm.refresh_from_db()
    with pytest.raises(IllegalTransition):
        advance(swarm, swarm, SwarmStatus.FINALIZING)


# Pull requests


def test_an_open_pull_request_is_brought_up_to_date(world: World, shop: Bare, github: Scripted):
    swarm = two_landed(world, "true", landing="pull_request")
    ended(swarm)
    taken_back(world, swarm)
    assert ended(swarm) == ("succeeded", "")
    (pull,) = github.pulls
    assert "| revert-one | complete |" in pull["body"]
    assert (row(swarm).status, row(swarm).landed_sha) == ("landed", swarm.head_sha)
    assert shop.tip(swarm.branch) == swarm.head_sha
    kinds = Event.objects.filter(swarm=swarm, kind__startswith="publication.").order_by("seq")
    assert list(kinds.values_list("kind", flat=True)).count("publication.landed") == 2


@pytest.mark.any_database
@pytest.mark.parametrize(("how", "delete"), [("merge", True), ("squash", False)])
def test_of_one_that_was_merged_another_takes_it_back(
    world: World, shop: Bare, github: Scripted, how: str, delete: bool
):
    swarm = two_landed(world, "test -f two.txt", landing="pull_request")
    ended(swarm)
    github.merge(how=how, delete=delete)
    shop.others_push({"theirs.txt": "later\n"})
    taken_back(world, swarm)
    assert ended(swarm) == ("succeeded", "")
    assert [one["state"] for one in github.pulls] == ["closed", "open"]
    assert (row(swarm).pull_request, row(swarm).landed_sha) == (2, swarm.head_sha)
    changed = shop.git("diff", "--name-status", f"main...{swarm.branch}").split()
    assert changed == ["D", "one.txt"], "what the new one shows is what is taken back, and nothing else"
    github.merge(2)
    assert set(shop.git("ls-tree", "--name-only", "main").split()) == {"a.txt", "src", "theirs.txt", "two.txt"}


@pytest.mark.any_database
def test_without_saying_what_was_squashed_the_new_one_would_take_nothing_back(
    world: World, shop: Bare, github: Scripted, monkeypatch: pytest.MonkeyPatch
):
    """The control."""
    monkeypatch.setattr("orchestration.stages.publish._merged_otherwise", lambda *_: "")
    swarm = two_landed(world, landing="pull_request")
    ended(swarm)
    github.merge(how="squash")
    taken_back(world, swarm)
    ended(swarm)
    github.merge(2)
    assert shop.file("one.txt") == "by one"
