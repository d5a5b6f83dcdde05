"""Who will conflict with whom, told before they finish: on real git, real rows, and to an agent that runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from orchestration.adapters.git.store import BareRepository
from orchestration.domain.clashes import MOST_WARNINGS, from_rows
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.events import Stage
from orchestration.models import (
    Attempt,
    Delivery,
    Draft,
    Event,
    Handoff,
    MergeEntry,
    Message,
    Resolution,
    Subtask,
    Swarm,
)
from orchestration.stages import forecast as forecasting
from orchestration.stages.forecast import forecast
from orchestration.stages.merge import merge
from orchestration.stages.rows import store_of
from orchestration.stages.tell import Ear, expire_unheard, tell_subtask
from orchestration.stages.tick import tick
from orchestration.stages.warn import Warnings
from tests import factories
from tests.stages.world import Nudges, World, at_once

FIRST, SECOND = "FIRST\ntwo\nthree\n", "SECOND\ntwo\nthree\n"


@pytest.fixture(autouse=True)
def _at_once(settings: Settings) -> None:
    """Two forecasts may follow each other."""
    settings.SWARM = settings.SWARM | {"FORECAST_SECONDS": 1e-6}


def landed(world: World, swarm: Swarm, name: str = "first", **files: str | bytes | None) -> None:
    world.queued(swarm, name, files or {"a.txt": FIRST})
    merge(swarm.pk)
    swarm.refresh_from_db()


def running(world: World, swarm: Swarm, name: str, files: Mapping[str, str | bytes | None], **fields: Any) -> Attempt:
    """An attempt at work from the swarm's base, with what it has done so far as its draft."""
    scope = fields.pop("scope", [])
    subtask = factories.make_subtask(swarm, name=name, status="running", scope=scope)
    attempt = factories.make_attempt(subtask, status="running", base_sha=swarm.base_sha)
    commit = world.commit(swarm, dict(files)) if files else ""
    Draft.objects.create(attempt=attempt, **{"paths": sorted(files), "commit": commit} | fields)
    return attempt


def seen(swarm: Swarm) -> list[tuple[str, str, str, tuple[str, ...], bool]]:
    """Who, with whom, where the other is, in which files, and whether it is sure."""
    swarm.refresh_from_db()
    clashes = from_rows(swarm.clashes)
    return [(one.name, one.other_name, one.place.value, one.paths, one.sure) for one in clashes]


def warnings() -> list[str]:
    return list(Message.objects.filter(sender=None).order_by("pk").values_list("text", flat=True))


def test_a_running_attempt_is_told_of_what_landed_in_its_way(world: World, nudges: Nudges):
    swarm = world.running()
    attempt = running(world, swarm, "mine", {"a.txt": SECOND})
    landed(world, swarm)
    nudges.run()
    assert seen(swarm) == [("mine", "first", "landed", ("a.txt",), True)]
    (text,) = warnings()
    assert text.startswith("Your work will conflict with first in a.txt.")
    assert "It says: Wrote first." in text
    assert "| -one" in text
    assert "| +FIRST" in text
    delivery = Delivery.objects.get()
    assert (delivery.subtask, delivery.only, delivery.status) == (attempt.subtask, attempt, "waiting")
    sent = Event.objects.get(kind="message.sent")
    assert (sent.facts["by"], sent.facts["name"]) == ("the merge queue", "mine")


def test_what_git_can_merge_is_no_clash_though_both_have_the_file(world: World, nudges: Nudges):
    """The control: names alone would say otherwise."""
    swarm = world.running()
    mine = {"a.txt": "one\ntwo\nTHREE\n"}
    attempt = running(world, swarm, "mine", mine)
    landed(world, swarm)
    nudges.run()
    assert (seen(swarm), warnings()) == ([], [])
    Draft.objects.filter(attempt=attempt).update(commit="")
    forecast(swarm.pk)
    assert seen(swarm) == [("mine", "first", "landed", ("a.txt",), False)]


def test_each_clash_is_told_once_and_a_new_file_again(world: World):
    swarm = world.running()
    running(world, swarm, "mine", {"a.txt": SECOND, "src/b.py": "b = 3\n"})
    landed(world, swarm)
    forecast(swarm.pk)
    landed(world, swarm, "else", **{"c.txt": "c\n"})
    forecast(swarm.pk)
    assert len(warnings()) == 1
    landed(world, swarm, "third", **{"src/b.py": "b = 2\n"})
    forecast(swarm.pk)
    assert seen(swarm) == [
        ("mine", "first", "landed", ("a.txt",), True),
        ("mine", "third", "landed", ("src/b.py",), True),
    ]
    assert "conflict with third in src/b.py." in warnings()[1]
    assert "a.txt" not in warnings()[1]


def test_it_goes_away_when_it_is_not_true_any_more(world: World):
    swarm = world.running()
    attempt = running(world, swarm, "mine", {"a.txt": SECOND})
    landed(world, swarm)
    forecast(swarm.pk)
    assert len(seen(swarm)) == 1
    better = world.commit(swarm, {"a.txt": FIRST})
    Draft.objects.filter(attempt=attempt).update(commit=better)
    forecast(swarm.pk)
    assert seen(swarm) == []
    assert len(warnings()) == 1


def test_two_that_run_are_both_told_and_one_that_waits_to_land_tells_the_other(world: World):
    swarm = world.running()
    running(world, swarm, "left", {"a.txt": FIRST})
    running(world, swarm, "right", {"a.txt": SECOND, "only.txt": "r\n"})
    running(world, swarm, "beside", {"src/b.py": "b = 2\n"})
    waiting = world.queued(swarm, "done", {"src/b.py": "b = 3\n"})
    Handoff.objects.update(files_changed=["src/b.py"])
    forecast(swarm.pk)
    assert seen(swarm) == [
        ("beside", "done", "queued", ("src/b.py",), True),
        ("left", "right", "running", ("a.txt",), True),
        ("right", "left", "running", ("a.txt",), True),
    ]
    heard = dict(Delivery.objects.values_list("subtask__name", "message__text"))
    assert set(heard) == {"left", "right", "beside"}
    assert "done has handed off a change of it" in heard["beside"]
    assert "It says: Wrote done." in heard["beside"]
    assert "| +b = 3" in heard["beside"]
    assert waiting.status == "queued"


def test_of_two_that_wait_to_land_the_later_will_conflict_and_nobody_is_told(world: World):
    swarm = world.running()
    world.queued(swarm, "first", {"a.txt": FIRST}, priority=1)
    world.queued(swarm, "second", {"a.txt": SECOND}, priority=2)
    forecast(swarm.pk)
    assert seen(swarm) == [("second", "first", "queued", ("a.txt",), True)]
    assert warnings() == []


def test_the_file_of_a_scope_that_landed_is_told_before_it_is_touched(world: World):
    swarm = world.running()
    running(world, swarm, "mine", {}, scope=["a.txt", "src/**"])
    landed(world, swarm, "first", **{"a.txt": FIRST, "src/b.py": "b = 2\n"})
    forecast(swarm.pk)
    assert seen(swarm) == [("mine", "first", "landed", ("a.txt",), False)]
    assert "Read what changed below before you edit it" in warnings()[0]


@pytest.mark.parametrize("settles", ["policy", "memory"])
def test_what_a_rule_or_an_earlier_resolution_settles_is_no_clash(world: World, settles: str):
    swarm = world.running()
    running(world, swarm, "mine", {"a.txt": SECOND})
    landed(world, swarm)
    if settles == "policy":
        world.repository.merge_policies = [["a.txt", "union"]]
        world.repository.save()
    else:
        remember(swarm)
    forecast(swarm.pk)
    assert (seen(swarm), warnings()) == ([], [])


def remember(swarm: Swarm) -> None:
    store, draft = store_of(swarm), Draft.objects.get()
    blobs = [store.ids_at(commit, ["a.txt"])["a.txt"] for commit in (swarm.base_sha, swarm.head_sha, draft.commit)]
    base, ours, theirs = blobs
    Resolution.objects.create(
        repository=swarm.repository, base=base, ours=ours, theirs=theirs, mode="100644", blob=ours, path="a.txt"
    )


def test_one_that_has_no_draft_is_shown_and_not_told(world: World):
    """Nobody looks into its workspace while it works: all that is known is its scope."""
    swarm = world.running()
    running(world, swarm, "mine", {}, scope=["a.txt"])
    Draft.objects.all().delete()
    landed(world, swarm)
    forecast(swarm.pk)
    assert seen(swarm) == [("mine", "first", "landed", ("a.txt",), False)]
    assert warnings() == []


def test_one_attempt_is_not_told_for_ever(world: World):
    swarm = world.running()
    attempt = running(world, swarm, "mine", {"a.txt": SECOND})
    Draft.objects.filter(attempt=attempt).update(warnings=MOST_WARNINGS)
    landed(world, swarm)
    forecast(swarm.pk)
    assert len(seen(swarm)) == 1
    assert warnings() == []


def test_what_ended_meanwhile_is_not_told(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm = world.running()
    attempt = running(world, swarm, "mine", {"a.txt": SECOND})
    landed(world, swarm)
    look = forecasting._Outlook.look

    def late(self: forecasting._Outlook) -> Any:
        found = look(self)
        Attempt.objects.filter(pk=attempt.pk).update(status="complete", finished_at=timezone.now())
        return found

    monkeypatch.setattr(forecasting._Outlook, "look", late)
    forecast(swarm.pk)
    assert warnings() == []
    swarm.refresh_from_db()
    assert swarm.forecasts["warnings"] == 0


def test_a_warning_dies_with_the_attempt_that_it_was_for(world: World):
    swarm = world.running()
    attempt = running(world, swarm, "mine", {"a.txt": SECOND})
    landed(world, swarm)
    forecast(swarm.pk)
    Attempt.objects.filter(pk=attempt.pk).update(status="failed", finished_at=timezone.now())
    Subtask.objects.filter(pk=attempt.subtask_id).update(status="pending")
    expire_unheard()
    assert Delivery.objects.get().status == "expired"


def test_the_next_attempt_does_not_hear_what_one_was_told(world: World):
    """It begins on the commit that was in the way. What a person said it hears."""
    swarm = world.running()
    attempt = running(world, swarm, "mine", {"a.txt": SECOND})
    landed(world, swarm)
    forecast(swarm.pk)
    tell_subtask(attempt.subtask, world.ada, "Use tabs.")
    ear = Ear(swarm, attempt.subtask, attempt)
    assert ["merge queue" in text for text in ear.news()] == [True, False]
    ear.sent()
    Attempt.objects.filter(pk=attempt.pk).update(status="failed", finished_at=timezone.now())
    again = factories.make_attempt(attempt.subtask, number=2, status="running")
    (text,) = Ear(swarm, attempt.subtask, again).news()
    assert "Use tabs." in text


def test_the_same_branches_are_not_merged_twice(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm = world.running()
    running(world, swarm, "mine", {"a.txt": SECOND})
    landed(world, swarm)
    forecast(swarm.pk)
    forecast(swarm.pk)
    swarm.refresh_from_db()
    assert swarm.forecasts["made"] == 1
    assert swarm.forecasts["merges"] == 1
    Draft.objects.update(commit=world.commit(swarm, {"a.txt": "THIRD\ntwo\nthree\n"}))
    forecast(swarm.pk)
    swarm.refresh_from_db()
    assert swarm.forecasts["made"] == 2


def test_it_is_made_once_in_a_while_however_often_it_is_asked_for(world: World, settings: Settings):
    settings.SWARM = settings.SWARM | {"FORECAST_SECONDS": 3600}
    swarm = world.running()
    running(world, swarm, "mine", {"a.txt": SECOND})
    landed(world, swarm)
    assert at_once(*[lambda: forecast(swarm.pk)] * 4) == [None] * 4
    swarm.refresh_from_db()
    assert swarm.forecasts["made"] == 1
    landed(world, swarm, "else", **{"c.txt": "c\n"})
    forecast(swarm.pk)
    swarm.refresh_from_db()
    assert swarm.forecasts["made"] == 1
    Swarm.objects.update(forecast_at=timezone.now() - timedelta(hours=2))
    tick_forecast(swarm)
    swarm.refresh_from_db()
    assert swarm.forecasts["made"] == 2


def tick_forecast(swarm: Swarm) -> None:
    """What came too soon is made up for by the tick."""
    recorded: list[tuple[Stage, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestration.adapters.queue.nudge", lambda *nudge: recorded.append(nudge))
        tick()
    assert (Stage.FORECAST, swarm.pk) in recorded
    forecast(swarm.pk)


def test_one_that_was_overtaken_counts_for_nothing(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm = world.running()
    running(world, swarm, "mine", {"a.txt": SECOND})
    landed(world, swarm)
    look = forecasting._Outlook.look

    def slow(self: forecasting._Outlook) -> Any:
        found = look(self)
        Swarm.objects.filter(pk=swarm.pk).update(forecast_at=timezone.now() + timedelta(seconds=1))
        return found

    monkeypatch.setattr(forecasting._Outlook, "look", slow)
    forecast(swarm.pk)
    assert (seen(swarm), warnings()) == ([], [])


def test_switched_off_it_does_nothing(world: World, settings: Settings):
    settings.SWARM = settings.SWARM | {"FORECAST_SECONDS": 0}
    swarm = world.running()
    running(world, swarm, "mine", {"a.txt": SECOND})
    landed(world, swarm)
    forecast(swarm.pk)
    assert (seen(swarm), swarm.forecasts) == ([], {})


def test_git_that_fails_changes_nothing_but_a_figure(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm = world.running()
    running(world, swarm, "mine", {"a.txt": SECOND})
    landed(world, swarm)

    def fails(*_: Any, **__: Any) -> None:
        raise AdapterError(Failure.TRANSIENT, "git merge-tree did not end within 10 seconds and was stopped.")

    with monkeypatch.context() as broken:
        broken.setattr(forecasting, "merge_all", fails)
        forecast(swarm.pk)
    assert seen(swarm) == []
    assert swarm.forecasts["given_up"] == 1
    forecast(swarm.pk)
    assert len(seen(swarm)) == 1


def test_a_swarm_that_is_over_has_none_left(world: World):
    swarm = world.running()
    running(world, swarm, "mine", {"a.txt": SECOND})
    landed(world, swarm)
    forecast(swarm.pk)
    Swarm.objects.filter(pk=swarm.pk).update(status="failed", finished_at=timezone.now())
    forecast(swarm.pk)
    assert seen(swarm) == []
    assert swarm.clashes_at == ""


def test_the_tick_asks_where_something_has_not_landed_and_for_what_is_left_over(world: World, nudges: Nudges):
    quiet, busy, over, waiting = (world.running() for _ in range(4))
    running(world, busy, "mine", {})
    world.queued(waiting, "one", {"c.txt": "c\n"})
    Swarm.objects.filter(pk=over.pk).update(status="failed", finished_at=timezone.now(), clashes_at="old")
    nudges.take()
    tick()
    asked = {row for stage, row in nudges.take() if stage is Stage.FORECAST}
    assert asked == {busy.pk, waiting.pk, over.pk}
    assert quiet.pk not in asked


def test_no_git_runs_in_its_transaction_nor_in_a_landings(world: World, monkeypatch: pytest.MonkeyPatch):
    """A landing only nudges, after its commit; a forecast has all texts ready before it writes."""
    swarm = world.running()
    running(world, swarm, "mine", {"a.txt": SECOND})
    landed(world, swarm)
    swarm.refresh_from_db()
    assert (swarm.forecasts, swarm.forecast_at) == ({}, None)
    send = Warnings.send

    def without_git(self: Warnings, together: Any) -> int:
        with monkeypatch.context() as broken:
            broken.setattr(BareRepository, "run", None)
            return send(self, together)

    monkeypatch.setattr(Warnings, "send", without_git)
    forecast(swarm.pk)
    assert len(warnings()) == 1


def test_what_settles_a_conflict_is_left_alone(world: World):
    """It is merged with the branch already, and its files are nobody else's meanwhile."""
    swarm = world.running()
    attempt = running(world, swarm, "mine", {"a.txt": SECOND})
    entry = world.queued(swarm, "other", {"c.txt": "c\n"})
    MergeEntry.objects.filter(pk=entry.pk).update(status="conflict")
    Attempt.objects.filter(pk=attempt.pk).update(resolves=entry, rung="continued")
    landed(world, swarm)
    forecast(swarm.pk)
    assert seen(swarm) == []
