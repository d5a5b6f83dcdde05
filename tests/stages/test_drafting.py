"""What a running agent has changed is seen between its turns, as a commit only where it matters, and never ends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings
from pytest_django.fixtures import Settings

from orchestration.adapters import storage
from orchestration.adapters.git.workspaces import Workspace
from orchestration.demo.service import Answer
from orchestration.domain.clashes import Clash, Place, as_row
from orchestration.domain.events import Stage
from orchestration.models import Attempt, Delivery, Draft, Swarm
from orchestration.stages import drafting
from orchestration.stages.drafting import Drafting
from orchestration.stages.execute import execute
from orchestration.stages.forecast import forecast
from orchestration.stages.merge import merge
from orchestration.stages.rows import store_of
from tests import factories
from tests.stages.world import Model, Nudges, World, at_once, bash, claimed, hand_off, statuses, write

FIRST, SECOND = "FIRST\ntwo\nthree\n", "SECOND\ntwo\nthree\n"


@pytest.fixture(autouse=True)
def _at_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look is due."""
    settings.SWARM = settings.SWARM | {"FORECAST_SECONDS": 1e-6}
    monkeypatch.setattr(drafting, "SHARE", 0)


@pytest.fixture
def swarm(world: World) -> Swarm:
    return world.running()


@pytest.fixture
def attempt(world: World, swarm: Swarm) -> Attempt:
    made = claimed(world.assigned(swarm, "mine"))
    Attempt.objects.filter(pk=made.pk).update(base_sha=swarm.base_sha)
    made.refresh_from_db()
    return made


@pytest.fixture
def workspace(swarm: Swarm) -> Workspace:
    return storage.workspace_pool(swarm.repository.public_id).acquire(swarm.base_sha)


@pytest.fixture
def draft(swarm: Swarm, attempt: Attempt, workspace: Workspace) -> Drafting:
    return Drafting(store_of(swarm), lambda: workspace, attempt)


def land(world: World, swarm: Swarm, path: str = "a.txt", content: str = FIRST) -> None:
    world.queued(swarm, f"landed-{path.replace('/', '-').partition('.')[0]}", {path: content})
    merge(swarm.pk)


def edit(workspace: Workspace, draft: Drafting, **files: str) -> None:
    for name, content in files.items():
        (workspace.path / f"{name}.txt").write_text(content)
    draft.changed()
    draft.look()


def objects(swarm: Swarm) -> set[Path]:
    return {path for path in (store_of(swarm).path / "objects").rglob("*") if path.is_file()}


def test_names_are_written_down_and_no_object_where_nobody_else_has_them(
    swarm: Swarm, workspace: Workspace, draft: Drafting, nudges: Nudges
):
    before = objects(swarm)
    nudges.take()
    edit(workspace, draft, a=SECOND, new="new\n")
    row = Draft.objects.get()
    assert (row.paths, row.commit) == (["a.txt", "new.txt"], "")
    assert objects(swarm) == before
    assert nudges.take() == []


def test_a_later_look_takes_the_place_of_an_earlier_one_and_leaves_the_warnings(workspace: Workspace, draft: Drafting):
    edit(workspace, draft, a=SECOND)
    Draft.objects.update(warned=["a.txt"], warnings=1)
    first = Draft.objects.get()
    edit(workspace, draft, new="new\n")
    row = Draft.objects.get()
    assert (row.pk, row.paths, row.warned, row.warnings) == (first.pk, ["a.txt", "new.txt"], ["a.txt"], 1)
    assert row.taken_at > first.taken_at


def test_a_file_that_landed_makes_it_a_commit_and_asks_for_a_forecast(
    world: World, swarm: Swarm, workspace: Workspace, draft: Drafting, nudges: Nudges
):
    edit(workspace, draft, a=SECOND)
    land(world, swarm)
    nudges.take()
    draft.look()
    row = Draft.objects.get()
    assert store_of(swarm).read_file(row.commit, "a.txt") == SECOND.encode()
    assert store_of(swarm).is_ancestor(swarm.base_sha, row.commit)
    assert nudges.take() == [(Stage.FORECAST, swarm.pk)]


@pytest.mark.parametrize("elsewhere", ["queued", "running"])
def test_a_file_that_others_are_about_to_land_does_too(
    world: World, swarm: Swarm, workspace: Workspace, draft: Drafting, elsewhere: str
):
    if elsewhere == "queued":
        entry = world.queued(swarm, "other", {"a.txt": FIRST})
        entry.attempt.handoff.files_changed = ["a.txt"]
        entry.attempt.handoff.save()
    else:
        other = factories.make_attempt(factories.make_subtask(swarm, status="running"), status="running")
        Draft.objects.create(attempt=other, paths=["a.txt"])
    edit(workspace, draft, b="b\n")
    mine = Draft.objects.get(attempt__subtask__name="mine")
    assert mine.commit == ""
    edit(workspace, draft, a=SECOND)
    mine.refresh_from_db()
    assert mine.commit


def test_it_looks_again_when_somebody_else_came_to_its_file(
    swarm: Swarm, workspace: Workspace, draft: Drafting, attempt: Attempt
):
    """Its agent has changed nothing since, and the branch has not moved: the forecast asks."""
    edit(workspace, draft, a=SECOND)
    other = factories.make_attempt(factories.make_subtask(swarm, name="other", status="running"), status="running")
    Draft.objects.create(attempt=other, paths=["a.txt"])
    draft.look()
    assert Draft.objects.get(attempt=attempt).commit == ""
    mine, theirs = attempt.subtask, other.subtask
    guess = Clash(theirs.public_id, "other", mine.public_id, "mine", Place.RUNNING, ("a.txt",), sure=False)
    Swarm.objects.filter(pk=swarm.pk).update(clashes=[as_row(guess)])
    draft.look()
    assert Draft.objects.get(attempt=attempt).commit


def test_the_same_content_is_the_same_commit(world: World, swarm: Swarm, workspace: Workspace, draft: Drafting):
    land(world, swarm)
    edit(workspace, draft, a=SECOND)
    first = Draft.objects.get().commit
    edit(workspace, draft, a="THIRD\n")
    assert Draft.objects.get().commit != first
    edit(workspace, draft, a=SECOND)
    assert Draft.objects.get().commit == first


def test_it_takes_back_what_is_not_so_any_more(
    world: World, swarm: Swarm, workspace: Workspace, draft: Drafting, nudges: Nudges
):
    land(world, swarm)
    edit(workspace, draft, a=SECOND)
    forecast(swarm.pk)
    swarm.refresh_from_db()
    assert len(swarm.clashes) == 1
    nudges.take()
    edit(workspace, draft, a="one\ntwo\nthree\n")
    assert Draft.objects.get().commit == ""
    assert nudges.take() == [(Stage.FORECAST, swarm.pk)]
    forecast(swarm.pk)
    swarm.refresh_from_db()
    assert swarm.clashes == []


def test_nothing_is_looked_at_where_nothing_has_happened(
    world: World, swarm: Swarm, workspace: Workspace, draft: Drafting, monkeypatch: pytest.MonkeyPatch
):
    edit(workspace, draft, a=SECOND)
    monkeypatch.setattr(drafting, "touched", None)
    draft.look()
    with pytest.raises(TypeError):  # the control: after another change it is
        edit(workspace, draft, a=FIRST)


def test_between_two_looks_there_is_time(swarm: Swarm, workspace: Workspace, attempt: Attempt, settings: Settings):
    settings.SWARM = settings.SWARM | {"FORECAST_SECONDS": 3600}
    edit(workspace, Drafting(store_of(swarm), lambda: workspace, attempt), a=SECOND)
    assert not Draft.objects.exists()
    settings.SWARM = settings.SWARM | {"FORECAST_SECONDS": 0}
    edit(workspace, Drafting(store_of(swarm), lambda: workspace, attempt), a=SECOND)
    assert not Draft.objects.exists()


def test_what_no_commit_may_hold_is_a_name_and_no_failure(
    world: World, swarm: Swarm, workspace: Workspace, draft: Drafting
):
    land(world, swarm)
    (workspace.path / "inner/.git").mkdir(parents=True)
    edit(workspace, draft, a=SECOND)
    assert not Draft.objects.exclude(commit="").exists()


def test_a_secret_of_the_server_is_no_part_of_a_forecast(
    world: World, swarm: Swarm, workspace: Workspace, draft: Drafting
):
    land(world, swarm)
    edit(workspace, draft, a=f"{settings.SECRET_KEY}\n")
    assert (Draft.objects.get().paths, Draft.objects.get().commit) == (["a.txt"], "")
    edit(workspace, draft, a=SECOND)  # the control
    assert Draft.objects.get().commit


def test_an_agent_is_told_before_it_finishes(world: World, model: Model, swarm: Swarm, nudges: Nudges):
    """It works on a file; another one lands the same lines; its next turn but one knows, and it can still mend it."""
    model.workers["one"] = [write("a.txt", SECOND), bash("true"), bash("true"), write("a.txt", FIRST), hand_off()]
    model.workers["one"][1] = Answer(calls=bash("true").calls, held="work")
    attempt = world.assigned(swarm)

    def elsewhere() -> None:
        world.service.wait_for(lambda: world.service.total == 2)
        land(world, swarm)
        world.service.release("work")
        world.service.wait_for(lambda: world.service.total >= 3)

    forecasts: list[Callable[[], None]] = [lambda: forecast(swarm.pk)]

    class AtOnce(Nudges):
        def __call__(self, stage: Stage, row_id: int) -> None:
            super().__call__(stage, row_id)
            if stage is Stage.FORECAST and Draft.objects.exclude(commit="").exists():
                forecasts[0]()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestration.adapters.queue.nudge", AtOnce())
        assert at_once(lambda: execute(attempt.pk), elsewhere) == [None, None]
    requests = [one for one in world.service.requests if one.closing == "handoff"]
    told = ["A message from the merge queue" in str(one.messages) for one in requests]
    assert told == [False, False, False, True, True]
    assert "landed-a has landed a change of it since you began. It says: Wrote landed-a." in str(requests[3].messages)
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.attempt, delivery.turn) == ("answered", attempt, 4)
    merge(swarm.pk)
    assert statuses(swarm)["one"] == "complete"
