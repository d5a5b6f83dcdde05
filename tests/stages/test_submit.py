"""What is refused at once with a sentence and leaves no row, and what only the first look at the repository tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from orchestration.adapters import storage
from orchestration.adapters.sandbox import Unavailable
from orchestration.adapters.sandbox.unconfined import Unconfined
from orchestration.domain.config import NOT_YET, SwarmConfig
from orchestration.domain.errors import AdapterError, InvalidInput
from orchestration.domain.events import Stage
from orchestration.domain.gating import GateMode
from orchestration.domain.publishing import Landing
from orchestration.domain.rights import Role
from orchestration.models import Event, ModelEndpoint, PlanIteration, Swarm
from orchestration.stages.plan import plan
from orchestration.stages.prepare import prepare
from orchestration.stages.rows import store_of
from orchestration.stages.submit import submit
from tests import factories
from tests.adapters.git.conftest import Clone
from tests.stages.world import Nudges, World


def refusal(world: World, request: str = "Do it.", **how: Any) -> str:
    """The sentence; nothing half-written is left beside it."""
    before = Swarm.objects.count(), Event.objects.count()
    with pytest.raises(InvalidInput) as caught:
        submit(how.pop("by", world.ada), world.repository, request, how.pop("config", None), **how)
    assert (Swarm.objects.count(), Event.objects.count()) == before
    return str(caught.value)


def test_a_request_is_on_its_way_with_everything_frozen(world: World, nudges: Nudges):
    request = "# Sort the shelves\r\n\r\nAll of them.\n"
    swarm = submit(world.ada, world.repository, request, {"max_subagents": 7}, branch="main")
    swarm.refresh_from_db()
    assert (swarm.status, swarm.title) == ("planning", "Sort the shelves")
    assert swarm.request == "# Sort the shelves\n\nAll of them."
    frozen = SwarmConfig(max_subagents=7, agent="builtin", gate=GateMode.OPTIMISTIC, landing=Landing.NONE)
    assert swarm.config == frozen.model_dump(mode="json")
    assert (swarm.endpoint, swarm.base_branch, swarm.base_sha) == (world.endpoint, "main", "")
    assert [event.kind for event in Event.objects.all()] == ["swarm.submitted"]
    assert nudges.all == [(Stage.PLAN, swarm.pk)]


def test_the_row_and_its_event_come_together_or_not_at_all(
    world: World, nudges: Nudges, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("orchestration.stages.transition.Moves.record", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        world.submit()
    assert not Swarm.objects.exists()
    assert nudges.all == []


@pytest.mark.parametrize("text", ["", " \n\t ", "\r\n"])
def test_an_empty_request(world: World, text: str):
    assert refusal(world, text) == "The request is empty. Write what should be done, in your own words."


@pytest.mark.parametrize("size", [1_000_000, 100_001])
def test_a_request_of_a_megabyte(world: World, size: int):
    said = refusal(world, "x" * size)
    assert said.startswith(f"The request has {size:,} characters; at most 100,000 are taken.")


@pytest.mark.parametrize("text", ["Do\x00 it", "Caf\udce9 please"], ids=["NUL", "what a shell makes of no UTF-8"])
def test_a_request_that_no_database_stores(world: World, text: str):
    assert "paste it as plain" in refusal(world, text)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"max_agents": 3}, "max_agents is not known; the fields are agent, base_delay_ms,"),
    ({"max_subagents": 0}, "max_subagents: input should be greater than or equal to 1."),
    ({"max_subagents": 1001}, "max_subagents: input should be less than or equal to 1000."),
    ({"max_subagents": "many"}, "max_subagents: input should be a valid integer"),
    ({"subagent_timeout_secs": 4}, "subagent_timeout_secs: input should be greater than or equal to 5."),
    ({"max_retries": -1}, "max_retries: input should be greater than or equal to 0."),
    ({"strategy": "by_luck"}, "strategy: input should be 'automatic'"),
    ({"base_delay_ms": 500, "max_delay_ms": 100}, "base_delay_ms, must not exceed max_delay_ms."),
    ({"working_dir": "../elsewhere"}, "working_dir: write a sub-directory of the repository"),
    ({"working_dir": "/etc"}, "working_dir: write a sub-directory of the repository"),
    ({"model": "nowhere/none"}, "the model 'nowhere/none' is not connected; there is: endpoint-"),
]


@pytest.mark.parametrize(("config", "says"), BAD, ids=[str(config) for config, _ in BAD])
def test_configuration_that_is_unknown_or_out_of_range(world: World, config: dict[str, Any], says: str):
    said = refusal(world, config=config)
    assert said.startswith("Configuration: ")
    assert says.lower() in said.lower()


@pytest.mark.parametrize("field", sorted(NOT_YET))
def test_configuration_that_is_not_there_yet(world: World, field: str):
    assert refusal(world, config={field: 1}) == (f"Configuration: {field} cannot be set in this version; leave it out.")


@pytest.mark.parametrize("role", [None, Role.VIEWER], ids=["stranger", "viewer"])
def test_somebody_who_may_not(world: World, role: Role | None):
    person = factories.make_user("eve")
    if role:
        factories.join(person, world.team, role)
    assert "members" in refusal(world, by=person)


def test_an_operator_may_without_being_a_member(world: World):
    operator = factories.make_user("operator", is_staff=True)
    assert submit(operator, world.repository, "Do it.").requester == operator


@pytest.mark.parametrize("how", ["none", "disabled", "the demo's", "another team's"])
def test_no_model_is_connected(world: World, how: str):
    ModelEndpoint.objects.all().delete()
    if how != "none":
        team = factories.make_team() if how == "another team's" else world.team
        factories.make_endpoint(team, enabled=how != "disabled", is_demo=how == "the demo's")
    said = refusal(world)
    assert said.startswith("No model is connected. Connect one on the page Models, or set OPENAI_API_KEY")
    assert "ANTHROPIC_API_KEY" in said


def test_the_demo_never_asks_a_real_model(world: World):
    world.repository.is_demo = True
    demo = factories.make_endpoint(world.team, is_demo=True, name="Demo", weight=1)
    world.repository.url = str(storage.data_directory() / "demo")
    assert submit(world.ada, world.repository, "Do it.", {"model": f"{world.endpoint.name}/x"}).endpoint == demo


def test_a_model_can_be_named(world: World):
    other = factories.make_endpoint(world.team, name="second", model="small", weight=1)
    assert world.submit().endpoint == world.endpoint
    assert world.submit(model="second").endpoint == other
    assert world.submit(model="second/small").endpoint == other


@pytest.mark.parametrize("name", ["-x", "a..b", "a b", "@{-1}", "a\x00b", "../main"])
def test_a_branch_with_a_name_that_is_none(world: World, name: str):
    assert "is not a branch" in refusal(world, branch=name)


ADDRESSES = [
    ("/etc", "The path /etc is not one that an operator allowed for repositories."),
    ("http://example.org/x.git", "http:// is not encrypted"),
    ("ext::sh -c id", "name a program to run"),
    ("https://me:secret@example.org/x.git", "must not hold a name, password or token"),
    ("--upload-pack=id", "begins with a dash"),
    ("", "A repository is needed"),
]


@pytest.mark.parametrize(("url", "says"), ADDRESSES)
def test_an_address_that_is_not_allowed(world: World, url: str, says: str):
    world.repository.url, world.repository.path_allowed = url, False
    assert says in refusal(world)


def test_a_path_that_an_operator_listed_is_allowed_and_its_neighbour_is_not(
    world: World, settings: Settings, tmp_path: Path
):
    world.repository.path_allowed = False
    settings.SWARM = settings.SWARM | {"LOCAL_REPOSITORIES": (str(tmp_path),)}
    assert world.submit().pk
    settings.SWARM = settings.SWARM | {"LOCAL_REPOSITORIES": (str(tmp_path / "clo"),)}
    assert "not one that an operator allowed" in refusal(world)


@pytest.mark.parametrize("demo", [False, True])
def test_no_sandbox(world: World, monkeypatch: pytest.MonkeyPatch, demo: bool):
    """Where no sandbox works, only the demo may run: its commands are our own."""
    monkeypatch.setattr(storage, "sandbox", lambda: Unavailable("bubblewrap is not installed."))
    if demo:
        assert isinstance(storage.sandbox_for(demo=True), Unconfined)
        return
    said = refusal(world)
    assert said == "Agents cannot run commands safely here. No sandbox: bubblewrap is not installed."


# What only a look at the repository tells: the swarm is there, and ends as failed with the sentence.


LOST: list[tuple[str, str, str]] = [
    ("missing", "", "There is no directory {path}."),
    ("empty", "", "{path} has no commits yet: make a first one."),
    ("empty", "main", "{path} has no commits yet: make a first one."),
    ("plain", "", "The repository {path} is not a git repository."),
    ("clone", "nowhere", "{path} has no branch 'nowhere': there are main."),
]


@pytest.mark.parametrize(("directory", "branch", "says"), LOST)
def test_a_repository_that_cannot_be_fetched_ends_the_swarm(
    world: World, nudges: Nudges, directory: str, branch: str, says: str
):
    Clone(world.clone.path.with_name("empty"))
    (world.clone.path.with_name("plain")).mkdir()
    path = world.clone.path.with_name(directory)
    world.repository.url = str(path)
    world.repository.save()
    swarm = submit(world.ada, world.repository, "Do it.", branch=branch)
    nudges.run()
    swarm.refresh_from_db()
    assert (swarm.status, swarm.status_reason) == ("failed", says.format(path=path))
    assert swarm.finished_at
    assert PlanIteration.objects.get().status == "failed"
    assert world.service.total == 0


def test_an_address_that_was_allowed_once_ends_the_swarm(world: World):
    swarm = world.submit()
    world.repository.path_allowed = False
    world.repository.save()
    plan(swarm.pk)
    swarm.refresh_from_db()
    assert swarm.status == "failed"
    assert "not one that an operator allowed" in swarm.status_reason


def test_a_host_that_cannot_be_found_is_tried_again(world: World):
    world.repository.url = "https://no-such-host.invalid/x.git"
    world.repository.save()
    swarm = world.submit()
    plan(swarm.pk)
    swarm.refresh_from_db()
    assert (swarm.status, swarm.plan_failures) == ("planning", 1)
    assert "could not be found" in swarm.status_reason


# Preparing.


def test_the_base_is_pinned_and_the_branch_made(world: World):
    head = world.clone.git("rev-parse", "main")
    swarm = world.submit()
    prepare(swarm)
    assert (swarm.base_sha, swarm.head_sha, swarm.base_branch) == (head, head, "main")
    assert store_of(swarm).tip(swarm.branch) == head
    assert Event.objects.get(kind="swarm.started").facts == {"base": head, "branch": "main"}


def test_preparing_again_changes_nothing_however_far_the_repository_went(world: World):
    swarm = world.submit()
    prepare(swarm)
    base = swarm.base_sha
    world.clone.commit({"new.txt": "new\n"})
    prepare(swarm)
    prepare(Swarm.objects.get(pk=swarm.pk))
    swarm.refresh_from_db()
    assert swarm.base_sha == base == store_of(swarm).tip(swarm.branch)
    assert Event.objects.filter(kind="swarm.started").count() == 1


def test_a_crash_after_the_branch_was_made_is_finished_with_that_base(world: World, monkeypatch: pytest.MonkeyPatch):
    """Also when the repository has moved on meanwhile: the branch that is there says what the base is."""
    swarm = world.submit()
    with monkeypatch.context() as crash:
        crash.setattr("orchestration.stages.prepare.moves", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare(swarm)
    base = store_of(swarm).tip(swarm.branch)
    world.clone.commit({"new.txt": "new\n"})
    prepare(Swarm.objects.get(pk=swarm.pk))
    swarm.refresh_from_db()
    assert swarm.base_sha == base == store_of(swarm).tip(swarm.branch)


def test_two_swarms_of_a_repository_have_branches_of_their_own(world: World):
    one, other = world.submit(), world.submit()
    prepare(one)
    world.clone.commit({"new.txt": "new\n"})
    prepare(other)
    assert one.branch != other.branch
    assert one.base_sha != other.base_sha
    assert store_of(one).tip(one.branch) == one.base_sha


def test_a_fetch_that_fails_leaves_the_swarm_as_it_was(world: World):
    swarm = world.submit()
    world.repository.url = str(world.clone.path.with_name("missing"))
    world.repository.save()
    with pytest.raises(AdapterError):
        prepare(Swarm.objects.get(pk=swarm.pk))
    swarm.refresh_from_db()
    assert (swarm.base_sha, swarm.status) == ("", "planning")
