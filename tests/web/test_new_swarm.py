"""Handing in a request: what is refused is told beside its field, and nothing typed is lost."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from orchestration.domain.config import SwarmConfig
from orchestration.models import ModelEndpoint, PlanIteration, Repository, Swarm
from orchestration.stages.submit import submit
from tests import factories as make
from tests.web.conftest import House

pytestmark = pytest.mark.usefixtures("unconfined")


@pytest.fixture
def typed(house: House) -> dict[str, Any]:
    """What a browser would send: the form's own values, with a request written."""
    page = house.client("member").get("/swarms/new/").content.decode()
    given = dict(re.findall(r'<input type="number" name="([a-z_]+)" value="(\d+)"', page))
    return given | {
        "repository": house.repository.public_id,
        "request": "# Add a search field\r\n\r\nOn *every* page.",
        "strategy": "automatic",
        "parallel_enabled": "on",
        "cache": "on",
        "branch": "",
        "model": "",
    }


def send(house: House, typed: dict[str, Any], **changes: Any) -> tuple[int, str]:
    response = house.client("member").post("/swarms/new/", typed | changes)
    return response.status_code, response.content.decode()


def newest() -> Swarm | None:
    return Swarm.objects.filter(title__startswith="Add a search").first()


def submitted_without_config(house: House) -> SwarmConfig:
    """As a request is stored that names no limits; the repository has its say in it."""
    return SwarmConfig.model_validate(submit(house.member, house.repository, "Do it.").config)


def test_it_starts_a_swarm_and_goes_there(house: House, typed: dict[str, Any]):
    response = house.client("member").post("/swarms/new/", typed)
    swarm = newest()
    assert swarm is not None
    assert response.headers["Location"] == f"/swarms/{swarm.public_id}/"
    assert swarm.title == "Add a search field"
    assert swarm.request == "# Add a search field\n\nOn *every* page."
    assert swarm.requester == house.member


def test_untouched_it_sends_the_defaults(house: House, typed: dict[str, Any]):
    send(house, typed)
    swarm = newest()
    assert swarm is not None
    assert SwarmConfig.model_validate(swarm.config) == submitted_without_config(house)


def test_budgets_and_the_rare_settings_arrive_too(house: House, typed: dict[str, Any]):
    later = timezone.now() + timedelta(days=1)
    changes = {
        "budget_usd": "2.5",
        "budget_tokens": "90000",
        "deadline": f"{later:%Y-%m-%dT%H:%M}",
        "working_dir": " services/api/ ",
        "critical_path_threshold": "4",
        "max_concurrent_requests": "6",
        "request_delay_ms": "0",
        "base_delay_ms": "100",
        "max_delay_ms": "200",
    }
    assert send(house, typed, **changes)[0] == 302
    swarm = newest()
    assert swarm is not None
    config = SwarmConfig.model_validate(swarm.config)
    assert (config.budget_usd, config.budget_tokens) == (Decimal("2.5"), 90_000)
    assert config.deadline == later.replace(second=0, microsecond=0)
    assert (config.working_dir, config.critical_path_threshold) == ("services/api", 4)
    assert (config.max_concurrent_requests, config.request_delay_ms) == (6, 0)
    assert (config.base_delay_ms, config.max_delay_ms) == (100, 200)


def test_what_is_rare_is_folded_away_until_something_in_it_is_wrong(house: House, typed: dict[str, Any]):
    page = house.client("member").get("/swarms/new/").content.decode()
    assert "<details><summary>More</summary>" in page
    page = send(house, typed, working_dir="../x")[1]
    assert "<details open><summary>More</summary>" in page
    assert page.count("<details open>") == 2, "and what it lies in"


def test_every_setting_arrives(house: House, typed: dict[str, Any]):
    endpoint = house.swarm.endpoint
    changes = {
        "max_subagents": "7",
        "max_retries": "0",
        "strategy": "by_stage",
        "plan_approval": "on",
        "model": f"{endpoint.name}/{endpoint.model}",
        "branch": "release/2",
    }
    typed.pop("parallel_enabled")
    assert send(house, typed, **changes)[0] == 302
    swarm = newest()
    assert swarm is not None
    config = SwarmConfig.model_validate(swarm.config)
    assert (config.max_subagents, config.max_retries, config.strategy) == (7, 0, "by_stage")
    assert config.plan_approval
    assert not config.parallel_enabled
    assert swarm.endpoint == endpoint
    assert swarm.base_branch == "release/2"


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("request", "", "The request is empty."),
        ("request", "   \n\t", "The request is empty."),
        ("request", "x" * 200_000, "at most 100,000 are taken"),
        ("repository", "", "Choose the repository"),
        ("repository", "zzzzzzzzzzzz", "not one of yours"),
        ("max_subagents", "0", "Write a whole number from 1 to 1000."),
        ("max_subagents", "", "Write a whole number from 1 to 1000."),
        ("max_subagents", "many", "Write a whole number from 1 to 1000."),
        ("max_retries", "21", "Write a whole number from 0 to 20."),
        ("subagent_timeout_secs", "4", "Write a whole number from 5 to 86400."),
        ("strategy", "by_magic", "Select a valid choice"),
        ("model", "ghost/large", "Select a valid choice"),
        ("budget_usd", "0", "Write an amount in US dollars above 0"),
        ("budget_tokens", "x", "Write a whole number from 1"),
        ("deadline", "2020-01-01T00:00", "has passed. Give a later one."),
        ("deadline", "tomorrow", "Write a day and a time, in UTC."),
        ("working_dir", "../x", "write a sub-directory of the repository"),
        ("critical_path_threshold", "0", "Write a whole number from 1 to 100."),
        ("max_concurrent_requests", "0", "Write a whole number from 1 to 1000."),
        ("max_delay_ms", "1", "must not be less than the first"),
        ("branch", "-x", "branch"),
        ("branch", "a..b", "branch"),
    ],
)
def test_what_is_wrong_is_told_beside_its_field(
    house: House, typed: dict[str, Any], field: str, value: str, sentence: str
):
    status, page = send(house, typed, **{field: value})
    assert status == 400
    beside = page.partition(f'id="id_{field}_error"')[2].partition("</div>")[0]
    assert sentence in beside
    assert newest() is None


def test_nothing_typed_is_lost(house: House, typed: dict[str, Any]):
    _, page = send(house, typed, max_subagents="0", max_retries="9", plan_approval="on", branch="wip")
    assert "Add a search field" in page
    assert 'value="9"' in page
    assert 'value="wip"' in page
    assert f'value="{house.repository.public_id}" selected' in page
    assert re.search(r'name="plan_approval"[^>]*checked', page)
    assert "Nothing you wrote is lost." in page


def test_wrong_limits_are_not_hidden_in_a_fold(house: House, typed: dict[str, Any]):
    assert "<details open>" in send(house, typed, max_subagents="0")[1]
    assert "<details open>" not in send(house, typed, request="")[1]


def test_the_refusal_of_a_stage_is_told_too(house: House, typed: dict[str, Any]):
    ModelEndpoint.objects.update(enabled=False)
    status, page = send(house, typed)
    assert status == 400
    assert "No model is connected." in page
    assert "Add a search field" in page


def test_a_request_of_a_megabyte_is_refused_with_a_sentence(house: House, typed: dict[str, Any]):
    status, page = send(house, typed, request="word " * 220_000)
    assert status == 400
    assert "at most 100,000 are taken" in page


def test_only_ones_own_repositories_are_offered(house: House):
    elsewhere = make.make_repository(name="secret-repository")
    page = house.client("member").get("/swarms/new/").content.decode()
    assert "secret-repository" not in page
    response = house.client("member").post("/swarms/new/", {"repository": elsewhere.public_id, "request": "x"})
    assert response.status_code == 400
    assert not Swarm.objects.filter(repository=elsewhere).exists()


def test_anothers_models_are_not_offered(house: House):
    make.make_endpoint(name="their-endpoint")
    assert "their-endpoint" not in house.client("member").get("/swarms/new/").content.decode()


def test_it_comes_with_the_repository_one_came_from(house: House):
    page = house.client("member").get(f"/swarms/new/?repository={house.repository.public_id}").content.decode()
    assert f'value="{house.repository.public_id}" selected' in page


def test_the_only_real_repository_is_chosen_already(house: House):
    chosen = f'value="{house.repository.public_id}" selected'
    assert chosen in house.client("member").get("/swarms/new/").content.decode()
    make.make_repository(house.team, name="second")
    assert chosen not in house.client("member").get("/swarms/new/").content.decode()


def test_a_demo_is_labelled_before_it_is_chosen(house: House):
    assert "one fixed story" not in house.client("member").get("/swarms/new/").content.decode()
    make.make_repository(house.team, is_demo=True)
    assert "one fixed story" in house.client("member").get("/swarms/new/").content.decode()


def test_without_a_model_it_says_how_to_connect_one(house: House):
    ModelEndpoint.objects.update(enabled=False)
    page = house.client("member").get("/swarms/new/").content.decode()
    assert "No model is connected" in page
    assert "A maintainer of your team can connect one." in page
    assert 'href="/models/new/"' in house.client("maintainer").get("/swarms/new/").content.decode()


def test_without_a_repository_it_says_what_to_do(house: House):
    PlanIteration.objects.all().delete()
    Swarm.objects.all().delete()
    Repository.objects.all().delete()
    assert "A maintainer of your team can connect one." in house.client("member").get("/swarms/new/").content.decode()
    assert "/repositories/new/" in house.client("maintainer").get("/swarms/new/").content.decode()


def test_gate_landing_and_earlier_findings_are_the_repositorys_unless_chosen(house: House, typed: dict[str, Any]):
    send(house, typed)
    usual = newest()
    assert usual is not None
    repository = house.repository
    assert (usual.config["gate"], usual.config["landing"], usual.config["cache"]) == (
        repository.gate,
        repository.landing,
        True,
    )
    usual.delete()
    typed.pop("cache")
    status, page = send(house, typed, gate="gated", landing="none")
    assert status == 302, page
    chosen = newest()
    assert chosen is not None
    assert (chosen.config["gate"], chosen.config["landing"], chosen.config["cache"]) == ("gated", "none", False)


def test_a_gate_that_does_not_exist_is_told_beside_its_field(house: House, typed: dict[str, Any]):
    status, page = send(house, typed, gate="sometimes")
    assert status == 400
    assert "sometimes is not one of the available choices" in page
