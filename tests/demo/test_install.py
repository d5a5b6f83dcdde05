"""The demo is put in its place once, however often it is installed, and its service is found by its row."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from orchestration.demo.install import NOT_STARTED, install, start_service
from orchestration.demo.repository import CHECKS
from orchestration.domain.demonstration import ENDPOINT_NAME, LABEL, MODEL, REPOSITORY_NAME, REQUEST, REQUEST_TITLE
from orchestration.domain.requests import check_request, title_of
from orchestration.models import ModelEndpoint, Repository, Team
from tests.demo.playing import PLANNER_TOOLS, body, git, opening

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Team:
    return Team.objects.create(name="Demo testers")


def test_it_makes_the_repository_and_both_rows(team: Team, tmp_path: Path):
    repository, endpoint = install(team, tmp_path)
    assert (repository.name, repository.team, repository.is_demo) == (REPOSITORY_NAME, team, True)
    assert repository.checks == list(CHECKS)
    assert not repository.network
    assert git(Path(repository.url), "rev-parse", "--abbrev-ref", "HEAD") == repository.branch
    assert (endpoint.name, endpoint.model, endpoint.is_demo) == (ENDPOINT_NAME, MODEL, True)
    assert endpoint.input_price < endpoint.output_price
    assert endpoint.input_price > 0
    repository.full_clean()
    endpoint.full_clean()


def test_any_other_endpoint_comes_before_it(team: Team, tmp_path: Path):
    _, demo = install(team, tmp_path)
    real = ModelEndpoint.objects.create(team=team, name="real", base_url="http://127.0.0.1:9/v1", model="m", weight=1)
    assert list(ModelEndpoint.objects.filter(team=team)) == [real, demo]


def test_installing_again_changes_nothing(team: Team, tmp_path: Path):
    before = install(team, tmp_path)
    head = git(Path(before[0].url), "rev-parse", "HEAD")
    assert install(team, tmp_path) == before
    assert Repository.objects.filter(team=team).count() == 1
    assert ModelEndpoint.objects.filter(team=team).count() == 1
    assert git(Path(before[0].url), "rev-parse", "HEAD") == head


def test_a_data_directory_that_moved_is_followed(team: Team, tmp_path: Path):
    before, _ = install(team, tmp_path / "old")
    after, _ = install(team, tmp_path / "new")
    assert before.pk == after.pk
    assert Path(after.url).is_relative_to(tmp_path / "new")


def test_each_team_has_its_own_rows(team: Team, tmp_path: Path):
    other = Team.objects.create(name="Others")
    assert install(team, tmp_path)[0].pk != install(other, tmp_path)[0].pk


def test_a_repository_of_the_team_is_not_taken_over(team: Team, tmp_path: Path):
    theirs = Repository.objects.create(team=team, name="larder", url="https://example.org/larder.git")
    install(team, tmp_path)
    theirs.refresh_from_db()
    assert (theirs.url, theirs.is_demo) == ("https://example.org/larder.git", False)


def test_the_service_answers_at_the_rows_address(team: Team, tmp_path: Path):
    _, endpoint = install(team, tmp_path)
    assert endpoint.base_url == NOT_STARTED
    with start_service(endpoint, speed=100) as service:
        endpoint.refresh_from_db()
        assert endpoint.base_url == service.base_url
        answer = httpx.post(
            f"{endpoint.base_url}/chat/completions",
            json={**body(opening(f"swarm: s1\n\n{REQUEST}"), PLANNER_TOOLS), "stream": False},
            trust_env=False,
            timeout=60,
        )
    assert answer.json()["choices"][0]["message"]["tool_calls"]


def test_installing_beside_a_running_service_keeps_its_address(team: Team, tmp_path: Path):
    _, endpoint = install(team, tmp_path)
    with start_service(endpoint) as service:
        assert install(team, tmp_path)[1].base_url == service.base_url


def test_a_service_that_starts_again_is_found_at_its_new_address(team: Team, tmp_path: Path):
    _, endpoint = install(team, tmp_path)
    with start_service(endpoint) as first, start_service(endpoint) as second:
        assert first.base_url != second.base_url
        endpoint.refresh_from_db()
        assert endpoint.base_url == second.base_url


def test_the_texts_say_that_it_is_a_demo():
    assert "demo" in LABEL
    assert "one fixed story" in LABEL
    assert title_of(check_request(REQUEST)) == REQUEST_TITLE
