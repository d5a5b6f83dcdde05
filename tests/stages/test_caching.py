"""A result is given again only when nothing that it depended on changed; then it costs nothing and is all there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from orchestration.domain.caching import HIT, MISS, OFF
from orchestration.domain.tools import WORKER_TOOLS
from orchestration.models import (
    Agent,
    Artifact,
    Attempt,
    CacheEntry,
    Delivery,
    Handoff,
    Message,
    ModelCall,
    ModelEndpoint,
    Repository,
    SharedResult,
    Subtask,
    Swarm,
)
from orchestration.models.figures import statistics_of
from orchestration.stages import caching
from orchestration.stages.caching import recall, remember
from orchestration.stages.dispatch import dispatch
from orchestration.stages.handoff import lose
from orchestration.stages.sharing import find
from tests import factories
from tests.stages.world import Model, Nudges, World, call, hand_off, says

pytestmark = pytest.mark.sandbox
FOUND = says(
    call("share_result", key="port", value={"port": 8080}, tags=["net"]),
    call("save_artifact", type="report", name="ports.md", mime="text/markdown", content="8080"),
    call("handoff", status="complete", summary="It is 8080.", concerns=["Twice."], suggestions=["Name it."]),
)
SINCE = " that it depended on has changed since."


class Office:
    """Runs one research subtask after another, each in a swarm of its own."""

    def __init__(self, world: World, nudges: Nudges) -> None:
        self.world, self.nudges = world, nudges

    def swarm(self, **config: Any) -> Swarm:
        return self.world.running(**config)

    def subtask(self, swarm: Swarm, name: str = "survey", **fields: Any) -> Subtask:
        plain = {"kind": "research", "instruction": "Find the port.", "acceptance": "", "scope": ["src/**"]}
        return factories.make_subtask(swarm, name=name, **plain | fields)

    def work(self, subtask: Subtask) -> Subtask:
        dispatch(subtask.swarm.pk)
        self.nudges.run()
        subtask.refresh_from_db()
        assert subtask.status == "complete", subtask.status_reason
        return subtask

    def ask(self, *, request: str = "Make it better.", config: dict[str, Any] | None = None, **fields: Any) -> str:
        """Whether the cache had it."""
        return self.work(self.subtask(self.swarm(request=request, **config or {}), **fields)).cache


@pytest.fixture
def office(world: World, model: Model, nudges: Nudges) -> Office:
    model.workers["survey"] = [FOUND]
    return Office(world, nudges)


def asked(world: World) -> int:
    return len(world.service.requests)


def test_the_second_time_it_is_there_at_once_and_costs_nothing(office: Office, world: World):
    first = office.work(office.subtask(office.swarm()))
    calls = asked(world)
    swarm = office.swarm()
    second = office.work(office.subtask(swarm, name="again"))
    assert (first.cache, second.cache) == (MISS, HIT)
    assert asked(world) == calls
    source, attempt = first.attempts.get(), second.attempts.get()
    assert attempt.cached_from == source.public_id
    assert (attempt.status, attempt.tokens, attempt.steps, attempt.cost_usd) == ("complete", 0, 0, 0)
    said = f"From the cache: attempt 1 of survey in swarm {first.swarm.public_id}"
    assert attempt.status_reason == second.status_reason == f"{said}."
    assert attempt.handoff.summary == f"{said} found this, and nothing{SINCE}\n\nIt is 8080."
    assert (attempt.handoff.concerns, attempt.handoff.suggestions) == (["Twice."], ["Name it."])
    assert not ModelCall.objects.filter(swarm=swarm).exists()
    assert CacheEntry.objects.get().hits == 1


def test_its_artifacts_and_shared_results_are_there_too(office: Office):
    office.ask()
    swarm = office.swarm()
    again = office.work(office.subtask(swarm, name="again"))
    assert [(one.key, one.producer, one.value, one.tags) for one in find(swarm)] == [
        ("port", "again", {"port": 8080}, ["net"])
    ]
    mine = Artifact.objects.filter(attempt=again.attempts.get())
    theirs = Artifact.objects.exclude(swarm=swarm)
    assert {one.name for one in mine} >= {"ports.md"}
    assert {(one.name, one.sha256) for one in mine} == {(one.name, one.sha256) for one in theirs}


def test_it_holds_no_place_and_waits_for_none(office: Office, world: World, nudges: Nudges, settings: Settings):
    office.ask()
    settings.SWARM = settings.SWARM | {"MAX_AGENTS": 1}
    swarm = office.swarm()
    factories.make_attempt(factories.make_subtask(swarm, status="running"))  # has the only place
    again = office.subtask(swarm)
    dispatch(swarm.pk)
    again.refresh_from_db()
    assert (again.status, again.cache) == ("complete", HIT)


def test_hits_and_misses_are_counted_and_no_agent_is_said_to_have_run(office: Office):
    office.ask()
    swarm = office.swarm()
    again = office.subtask(swarm)
    office.subtask(swarm, name="other", instruction="Find the host.", scope=["docs/**"])
    office.work(again)
    figures = statistics_of(swarm)
    assert (figures["cache_hits"], figures["cache_misses"], figures["subagents_spawned"]) == (1, 1, 1)


ASKED_OTHERWISE: dict[str, dict[str, Any]] = {
    "instruction": {"instruction": "Find the ports."},
    "acceptance": {"acceptance": "It is known."},
    "checks": {"acceptance_checks": ["true"]},
    "kind": {"kind": "verify"},
    "request": {"request": "Make it worse."},
    "limits that it is told": {"config": {"max_steps_per_subagent": 50}},
    "scope": {"scope": ["src/*.py"]},
}
AROUND: dict[str, Callable[[World], Any]] = {
    "model": lambda world: ModelEndpoint.objects.filter(pk=world.endpoint.pk).update(model="large-2"),
    "a file": lambda world: world.clone.commit({"src/b.py": "b = 2\n"}, "more"),
    "a new file": lambda world: world.clone.commit({"src/new.py": ""}, "more"),
    "guidance": lambda world: world.clone.commit({"AGENTS.md": "Be kind."}, "more"),
    "network": lambda _: Repository.objects.update(network=True),
}


@pytest.mark.parametrize("what", ASKED_OTHERWISE)
def test_it_is_a_miss_when_something_else_is_asked(what: str, office: Office):
    assert [office.ask(), office.ask(**ASKED_OTHERWISE[what])] == [MISS, MISS]
    assert CacheEntry.objects.count() == 2


@pytest.mark.parametrize("what", AROUND)
def test_it_is_a_miss_when_something_around_it_changed(what: str, world: World, office: Office):
    assert office.ask() == MISS
    AROUND[what](world)
    assert office.ask() == MISS
    assert CacheEntry.objects.count() == 2


def test_it_is_a_miss_when_the_tools_changed(office: Office, monkeypatch: pytest.MonkeyPatch):
    office.ask()
    monkeypatch.setattr(caching, "WORKER_TOOLS", WORKER_TOOLS[:-2])
    assert office.ask() == MISS


@pytest.mark.parametrize("what", ["name", "elsewhere"])
def test_what_it_does_not_depend_on_may_change(what: str, world: World, office: Office):
    """The control: with nothing of the key changed, it is a hit."""
    office.ask()
    if what == "elsewhere":
        world.clone.commit({"docs/x.md": "x"}, "outside of the scope")
    assert office.ask(name="survey" if what == "elsewhere" else "another") == HIT


def test_without_a_scope_every_file_counts(world: World, office: Office):
    assert [office.ask(scope=[]), office.ask(scope=[])] == [MISS, HIT]
    world.clone.commit({"docs/x.md": "x"}, "anywhere")
    assert office.ask(scope=[]) == MISS


def dependent(office: Office, *, summary: str = "Use 8080.", value: Any = 1, concern: str = "") -> str:
    swarm = office.swarm()
    needed = factories.make_subtask(swarm, name="base", status="complete")
    attempt = factories.make_attempt(needed, status="complete")
    factories.make_handoff(attempt, summary=summary, concerns=[concern] if concern else [])
    factories.make_shared(attempt, key="base/api", value=value)
    return office.work(office.subtask(swarm, needs=[needed])).cache


@pytest.mark.parametrize("changed", [{"summary": "Use 9090."}, {"value": 2}, {"concern": "It is slow."}])
def test_it_is_a_miss_when_a_dependency_handed_off_or_shared_something_else(office: Office, changed: dict[str, Any]):
    assert [dependent(office), dependent(office)] == [MISS, HIT]
    assert dependent(office, **changed) == MISS


def test_what_builds_on_a_hit_is_a_hit_as_well(office: Office, model: Model):
    model.workers["next"] = [hand_off(summary="And so on.")]

    def both() -> list[str]:
        swarm = office.swarm()
        first = office.subtask(swarm)
        following = office.subtask(swarm, name="next", instruction="Go on.", needs=[first])
        return [office.work(first).cache, office.work(following).cache]

    assert [both(), both()] == [[MISS, MISS], [HIT, HIT]]


def test_a_change_is_never_kept_nor_asked_for(office: Office, world: World):
    for _ in range(2):
        swarm = office.swarm()
        work = office.subtask(swarm, name="one", kind="change")
        assert office.work(work).cache == ""
    assert not CacheEntry.objects.exists()
    assert asked(world) == 4


@pytest.mark.parametrize("status", ["partial", "blocked", "failed"])
def test_what_is_not_complete_is_not_kept(office: Office, model: Model, nudges: Nudges, status: str):
    model.workers["survey"] = [hand_off(status)]
    swarm = office.swarm()
    office.subtask(swarm)
    dispatch(swarm.pk)
    nudges.run()
    assert Handoff.objects.get().status == status
    assert not CacheEntry.objects.exists()


def test_what_failed_its_checks_or_was_lost_is_not_kept(office: Office, nudges: Nudges):
    swarm = office.swarm()
    office.subtask(swarm, acceptance_checks=["false"])
    dispatch(swarm.pk)
    nudges.run()
    failed = Attempt.objects.get()
    assert failed.handoff.suspicious
    lost = office.subtask(office.swarm(), name="lost")
    recall(lost.swarm.pk)
    attempt = factories.make_attempt(lost)
    Subtask.objects.filter(pk=lost.pk).update(status="running")
    lose(Attempt.objects.get(pk=attempt.pk), "gone")
    remember(attempt.pk)
    assert not CacheEntry.objects.exists()


def test_a_suspicious_one_is_not_kept_even_where_it_is_complete(office: Office):
    office.ask()
    CacheEntry.objects.all().delete()
    Handoff.objects.update(suspicious="It took no look.")
    remember(Attempt.objects.get().pk)
    assert not CacheEntry.objects.exists()
    Handoff.objects.update(suspicious="")
    remember(Attempt.objects.get().pk)
    assert CacheEntry.objects.exists()


@pytest.mark.parametrize(
    ("looks", "kept"),
    [({"key": "base/api"}, True), ({"prefix": "base"}, False), ({}, False), ({"key": "other"}, False)],
)
def test_who_read_what_is_not_part_of_the_key_is_not_kept(
    office: Office, model: Model, looks: dict[str, str], kept: bool
):
    model.workers["survey"] = [says(call("get_results", **looks)), hand_off()]
    dependent(office)
    assert CacheEntry.objects.exists() is kept


def test_two_models_in_one_attempt_keep_nothing(office: Office, world: World):
    office.ask()
    CacheEntry.objects.all().delete()
    attempt = Attempt.objects.get()
    other = factories.make_endpoint(world.team, model="other")
    ModelCall.objects.create(swarm=attempt.subtask.swarm, attempt=attempt, endpoint=other, purpose="worker")
    remember(attempt.pk)
    assert not CacheEntry.objects.exists()


def tell(subtask: Subtask, attempt: Attempt | None = None) -> None:
    sender = subtask.swarm.requester
    message = Message.objects.create(swarm=subtask.swarm, subtask=subtask, sender=sender, text="Look in docs.")
    Delivery.objects.create(message=message, subtask=subtask, attempt=attempt)


def test_what_a_person_had_a_say_in_is_neither_kept_nor_given(office: Office):
    told = office.subtask(office.swarm())
    office.work(told)
    CacheEntry.objects.all().delete()
    attempt = told.attempts.get()
    tell(told, attempt)
    remember(attempt.pk)
    assert not CacheEntry.objects.exists()
    Delivery.objects.all().delete()
    remember(attempt.pk)
    again = office.subtask(office.swarm())
    tell(again)
    assert office.work(again).cache == OFF


@pytest.mark.parametrize("how", ["swarm", "installation"])
def test_it_can_be_switched_off(office: Office, settings: Settings, how: str):
    office.ask()
    if how == "installation":
        settings.SWARM = settings.SWARM | {"CACHE_TTL": 0}
    again: dict[str, Any] = {"config": {"cache": False}} if how == "swarm" else {}
    assert office.ask(**again) == OFF
    assert office.ask(instruction="Find the host.", **again) == OFF
    assert CacheEntry.objects.count() == 1


def test_an_agent_that_is_not_ours_is_not_answered_for(office: Office, world: World):
    office.ask()
    Agent.objects.create(team=world.team, name="theirs", argv=["/opt/agent"])
    swarm = office.swarm(agent="theirs")
    subtask = office.subtask(swarm)
    recall(swarm.pk)
    subtask.refresh_from_db()
    assert (subtask.cache, subtask.status) == (OFF, "pending")


def test_it_is_given_for_its_time_and_no_longer(office: Office):
    office.ask()
    CacheEntry.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert office.ask() == MISS
    assert CacheEntry.objects.get().expires_at > timezone.now()


def test_it_is_bounded_and_the_oldest_goes(office: Office, settings: Settings):
    settings.SWARM = settings.SWARM | {"CACHE_ENTRIES": 2}
    for what in ("one", "two", "three"):
        office.ask(instruction=what)
    assert [office.ask(instruction="one"), office.ask(instruction="three")] == [MISS, HIT]
    assert CacheEntry.objects.count() == 2


def test_another_team_is_never_answered(office: Office, world: World):
    office.ask()
    world.repository = factories.make_repository(world.team, url=world.repository.url, path_allowed=True, checks=[])
    assert office.ask() == MISS


def test_a_key_that_is_taken_here_makes_it_a_miss(office: Office, model: Model):
    office.ask()
    swarm = office.swarm()
    other = factories.make_attempt(factories.make_subtask(swarm, name="other", status="complete"), status="complete")
    factories.make_shared(other, key="port", value=1)
    model.workers["survey"] = [hand_off()]
    again = office.work(office.subtask(swarm))
    assert again.cache == MISS
    assert again.attempts.get().cached_from == ""
    assert SharedResult.objects.get(swarm=swarm).value == 1


def test_two_alike_at_the_same_time_both_run(office: Office, world: World, nudges: Nudges):
    one, two = office.subtask(office.swarm()), office.subtask(office.swarm())
    dispatch(one.swarm.pk)
    dispatch(two.swarm.pk)
    nudges.run()
    assert set(Subtask.objects.values_list("cache", flat=True)) == {MISS}
    assert asked(world) == 2
    assert CacheEntry.objects.get().attempt.subtask == two


def test_what_is_ready_after_the_cache_was_asked_waits_for_the_next_look(office: Office):
    swarm = office.swarm()
    late = office.subtask(swarm)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestration.stages.dispatch.recall", lambda _: None)
        dispatch(swarm.pk)
    late.refresh_from_db()
    assert (late.status, late.cache) == ("pending", "")
    assert office.work(late).cache == MISS


def test_a_subtask_that_was_cancelled_meanwhile_stays_so(office: Office, monkeypatch: pytest.MonkeyPatch):
    office.ask()
    again = office.subtask(office.swarm())
    found = caching._found

    def cancelled(key: str) -> CacheEntry | None:
        Subtask.objects.filter(pk=again.pk).update(status="cancelled")
        return found(key)

    monkeypatch.setattr(caching, "_found", cancelled)
    recall(again.swarm.pk)
    again.refresh_from_db()
    assert (again.status, again.cache) == ("cancelled", "")
    assert not again.attempts.exists()
