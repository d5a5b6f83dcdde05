"""What landed is taken back through the queue, with what rests on it, and can be brought back the same way."""

from __future__ import annotations

import pytest

from orchestration.domain.errors import InvalidInput
from orchestration.domain.rights import Role
from orchestration.models import MergeEntry, Subtask, Swarm
from orchestration.stages.merge import merge
from orchestration.stages.revert import is_reverted, rests_on, revert
from orchestration.stages.rows import store_of
from orchestration.stages.steer import cancel
from tests import factories
from tests.stages import gates
from tests.stages.world import Nudges, World

pytestmark = pytest.mark.sandbox


def landed(world: World, swarm: Swarm, name: str, files: dict[str, str | bytes | None], *needs: Subtask) -> Subtask:
    swarm.refresh_from_db()
    entry = world.queued(swarm, name, files, base=swarm.head_sha)
    entry.subtask.dependencies.set(needs)
    merge(swarm.pk)
    swarm.refresh_from_db()
    entry.subtask.refresh_from_db()
    entry.subtask.swarm = swarm
    assert entry.subtask.status == "complete"
    return entry.subtask


def files(swarm: Swarm) -> set[str]:
    swarm.refresh_from_db()
    return set(store_of(swarm).list_files(swarm.head_sha))


def taken_back(subtask: Subtask, world: World) -> Subtask:
    made = revert(subtask, world.ada)
    merge(made.swarm.pk)
    made.refresh_from_db()
    made.swarm.refresh_from_db()
    return made


def test_what_landed_is_gone_and_everything_else_stays(world: World):
    swarm = world.running()
    before = files(swarm)
    one = landed(world, swarm, "one", {"one.txt": "1\n"})
    landed(world, swarm, "two", {"two.txt": "2\n"})
    made = taken_back(one, world)
    assert (made.status, made.name) == ("complete", "revert-one")
    assert files(swarm) == before | {"two.txt"}
    assert is_reverted(one)
    history = store_of(swarm).trailers(swarm.base_sha, swarm.head_sha, "MQ-Request")
    assert len(history) == 3, "nothing was taken out of the history"


def test_what_needs_it_or_changed_the_same_files_goes_with_it(world: World):
    swarm = world.running()
    one = landed(world, swarm, "one", {"one.txt": "1\n"})
    uses = landed(world, swarm, "uses", {"uses.txt": "1\n"}, one)
    extends = landed(world, swarm, "extends", {"one.txt": "1\n2\n"})
    landed(world, swarm, "apart", {"apart.txt": "1\n"})
    assert rests_on(one) == [uses, extends]
    assert rests_on(uses) == []
    made = taken_back(one, world)
    assert made.status == "complete"
    assert {"one.txt", "uses.txt"}.isdisjoint(files(swarm))
    assert "apart.txt" in files(swarm)
    assert all(is_reverted(row) for row in (one, uses, extends))


def test_undoing_it_is_reverting_the_revert(world: World):
    swarm = world.running()
    one = landed(world, swarm, "one", {"one.txt": "1\n"})
    before = store_of(swarm).tree(swarm.head_sha)
    made = taken_back(one, world)
    again = taken_back(made, world)
    assert again.name == "revert-revert-one"
    assert store_of(swarm).tree(again.swarm.head_sha) == before
    assert not is_reverted(one)
    assert is_reverted(made)


def test_in_gated_mode_a_revert_that_breaks_the_checks_does_not_land(world: World, nudges: Nudges):
    swarm = gates.gated(world, "test ! -e needs-one.txt || test -e one.txt")
    for name, written in (("one", "one.txt"), ("hidden", "needs-one.txt")):
        swarm.refresh_from_db()
        world.queued(swarm, name, {written: "1\n"})
        gates.work(swarm, nudges)
    swarm.refresh_from_db()
    made = revert(Subtask.objects.get(name="one"), world.ada)
    gates.work(swarm, nudges)
    made.refresh_from_db()
    assert made.status == "failed"
    assert "Its gate was red" in made.status_reason
    assert "one.txt" in files(swarm)
    assert not is_reverted(Subtask.objects.get(name="one"))


def test_the_same_request_on_the_same_tip_is_the_same_commit(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm = world.running()
    one = landed(world, swarm, "one", {"one.txt": "1\n"})
    heads = []
    for _ in range(2):
        made = revert(one, world.ada)
        heads.append(MergeEntry.objects.get(subtask=made).head_sha)
        made.delete()
    assert heads[0] == heads[1]


def test_what_cannot_be_is_told(world: World):
    swarm = world.running()
    one = landed(world, swarm, "one", {"one.txt": "1\n"})
    member = factories.join(factories.make_user("mia"), world.team, Role.MEMBER)
    with pytest.raises(InvalidInput, match="Only maintainers"):
        revert(one, member)
    idle = factories.make_subtask(swarm, name="idle")
    with pytest.raises(InvalidInput, match="Nothing of idle is on the branch"):
        revert(idle, world.ada)
    revert(one, world.ada)
    with pytest.raises(InvalidInput, match="on its way already"):
        revert(one, world.ada)
    merge(swarm.pk)
    with pytest.raises(InvalidInput, match="Nothing of one is on the branch"):
        revert(Subtask.objects.get(name="one"), world.ada)
    swarm.refresh_from_db()
    cancel(swarm, world.ada)
    with pytest.raises(InvalidInput, match="The swarm is cancelled"):
        revert(Subtask.objects.get(name="one"), world.ada)
