"""The API: a token opens what its person may see and nothing else, and every refusal is a sentence in JSON."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from orchestration.adapters import storage
from orchestration.models import ApiToken, Artifact, User
from orchestration.stages import tokens
from orchestration.web.api.site import MISSING, UNKNOWN
from tests import factories as make
from tests.web.conftest import House

ROLES = ("viewer", "member", "maintainer", "owner", "operator")


class Program:
    """A client without a session."""

    def __init__(self, person: User | None = None) -> None:
        self.client = Client(enforce_csrf_checks=True)
        self.headers = {"Authorization": f"Bearer {tokens.issue(person, 'program')}"} if person else {}

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(f"/api/v1/{path}", headers=self.headers | headers)


@pytest.fixture
def artifact(house: House) -> Artifact:
    attempt = make.make_attempt(make.make_subtask(house.swarm, name="survey"), status="complete")
    sha256 = storage.blobs().put(b"what was found")
    return make.make_artifact(house.swarm, attempt=attempt, sha256=sha256, size=14)


@pytest.fixture
def program(house: House) -> Program:
    return Program(house.viewer)


def addresses(house: House, artifact: Artifact) -> list[str]:
    return [f"swarms/{house.swarm.public_id}/artifacts", f"artifacts/{artifact.public_id}/content"]


@pytest.mark.parametrize("who", ROLES)
@pytest.mark.parametrize("which", [0, 1])
def test_whoever_may_see_the_swarm_may_read_what_it_made(house: House, artifact: Artifact, who: str, which: int):
    assert Program(getattr(house, who)).get(addresses(house, artifact)[which]).status_code == 200


@pytest.mark.parametrize("which", [0, 1])
def test_a_stranger_learns_as_little_as_of_what_never_was(house: House, artifact: Artifact, which: int):
    stranger, path = Program(house.stranger), addresses(house, artifact)[which]
    noun, _, rest = path.split("/")
    hidden, absent = stranger.get(path), stranger.get(f"{noun}/zzzzzzzzzzzz/{rest}")
    assert hidden.status_code == absent.status_code == 404
    assert hidden.json() == absent.json() == {"code": "not_found", "message": MISSING}
    assert dict(hidden.headers) == dict(absent.headers)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", "Basic eDp5", "Bearer swarmsite_" + "a" * 43, "Bearer swarmsite_\u00e4", "x"]
)
@pytest.mark.parametrize("path", ["swarms/zzzzzzzzzzzz/artifacts", "artifacts/zzzzzzzzzzzz/content", "openapi.json"])
def test_without_a_token_nothing_is_told(house: House, header: str, path: str):
    response = Client().get(f"/api/v1/{path}", headers={"Authorization": header} if header else None)
    assert response.status_code == 401
    assert response.json() == {"code": "unauthorised", "message": UNKNOWN}
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_session_is_no_token(house: House, artifact: Artifact):
    """So that no page elsewhere can use a browser's cookie here."""
    response = house.client("owner").get(f"/api/v1/swarms/{house.swarm.public_id}/artifacts")
    assert response.status_code == 401


def test_the_list_says_what_there_is_and_where(house: House, artifact: Artifact, program: Program):
    whole = make.make_artifact(house.swarm, name="end.log", type="log")
    listed = program.get(f"swarms/{house.swarm.public_id}/artifacts").json()
    first, second = listed["items"]
    assert listed["next"] is None
    created = first.pop("created_at")
    assert created == artifact.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert first == {
        "id": artifact.public_id,
        "type": "report",
        "name": "findings.md",
        "mime": "text/markdown",
        "size": 14,
        "sha256": artifact.sha256,
        "subtask": "survey",
        "attempt": 1,
        "url": f"/api/v1/artifacts/{artifact.public_id}/content",
    }
    assert (second["id"], second["subtask"], second["attempt"]) == (whole.public_id, None, None)
    content = program.client.get(first["url"], headers=program.headers)
    assert content.content == b"what was found"
    assert content.headers["Content-Security-Policy"].startswith("sandbox")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("subtask=survey", ["findings.md"]),
        ("type=log", ["end.log"]),
        ("subtask=none", []),
        ("", ["findings.md", "end.log"]),
    ],
)
def test_the_list_can_be_narrowed(house: House, artifact: Artifact, program: Program, query: str, names: list[str]):
    make.make_artifact(house.swarm, name="end.log", type="log")
    listed = program.get(f"swarms/{house.swarm.public_id}/artifacts?{query}").json()
    assert [one["name"] for one in listed["items"]] == names


def test_a_long_list_comes_in_parts(house: House, program: Program):
    for number in range(5):
        make.make_artifact(house.swarm, name=f"{number}")
    path, parts = f"swarms/{house.swarm.public_id}/artifacts?limit=2&type=report", []
    while path:
        answer = program.get(path).json()
        parts.append([one["name"] for one in answer["items"]])
        path = (answer["next"] or "").removeprefix("/api/v1/")
    assert parts == [["0", "1"], ["2", "3"], ["4"]]


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("limit=0", 422, "limit: Input should be greater than or equal to 1."),
        ("limit=x", 422, "limit: Input should be a valid integer"),
        ("limit=201", 422, "limit: Input should be less than or equal to 200."),
        ("after=zzzzzzzzzzzz", 400, "after: there is no such item in this list"),
    ],
)
def test_a_wrong_question_is_answered_in_a_sentence(house: House, program: Program, query: str, status: int, said: str):
    response = program.get(f"swarms/{house.swarm.public_id}/artifacts?{query}")
    assert response.status_code == status
    assert response.json()["code"] == "invalid"
    assert response.json()["message"].startswith(said)


def test_who_has_the_list_is_not_sent_it_again(house: House, artifact: Artifact, program: Program):
    path = f"swarms/{house.swarm.public_id}/artifacts"
    first = program.get(path)
    again = program.get(path, **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["Cache-Control"] == "private, no-cache"
    make.make_artifact(house.swarm)
    assert program.get(path, **{"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_the_list_asks_no_more_for_more(house: House, program: Program, django_assert_max_num_queries: Any):
    for _ in range(20):
        attempt = make.make_attempt(make.make_subtask(house.swarm), status="complete")
        make.make_artifact(house.swarm, attempt=attempt)
    with django_assert_max_num_queries(5):
        program.get(f"swarms/{house.swarm.public_id}/artifacts")


@pytest.mark.parametrize("path", ["", "nowhere", "swarms/zzz/nothing", "artifacts//content"])
def test_an_address_that_is_none_is_told_so_in_json(program: Program, path: str):
    response = program.get(path)
    assert response.status_code == 404
    assert "openapi.json" in response.json()["message"]
    assert program.client.post(f"/api/v1/{path}", headers=program.headers).status_code in {404, 405}


def test_a_wrong_method_is_told_so_in_json(house: House, artifact: Artifact, program: Program):
    response = program.client.post(f"/api/v1/artifacts/{artifact.public_id}/content", headers=program.headers)
    assert (response.status_code, response.headers["Allow"]) == (405, "GET")
    assert response.json() == {"code": "method_not_allowed", "message": "This address takes GET only."}


def test_the_description_is_complete_for_people_and_programs(house: House, program: Program):
    for client in (program, None):
        response = client.get("openapi.json") if client else house.client("viewer").get("/api/v1/openapi.json")
        described = json.loads(response.content)
        assert described["info"]["title"] == "Swarmsite"
        assert set(described["paths"]) == {
            "/api/v1/swarms/{public_id}/artifacts",
            "/api/v1/artifacts/{public_id}/content",
        }
        listed = described["paths"]["/api/v1/swarms/{public_id}/artifacts"]["get"]
        assert set(listed["responses"]) == {"200", "400", "401", "404", "422"}
        assert {one["name"] for one in listed["parameters"]} == {"public_id", "limit", "after", "subtask", "type"}
        assert listed["security"] == [{"Bearer": []}]


def test_of_a_token_only_its_hash_is_stored(house: House):
    token = tokens.issue(house.member, "deploy")
    row = ApiToken.objects.get()
    assert token.startswith("swarmsite_")
    assert token not in str(ApiToken.objects.values())
    assert len(row.digest) == 64
    assert tokens.person_of(token) == house.member


def test_its_last_use_is_noted_once_a_minute(house: House):
    token = tokens.issue(house.member, "deploy")
    tokens.person_of(token)
    first = ApiToken.objects.get().last_used_at
    assert first is not None
    tokens.person_of(token)
    assert ApiToken.objects.get().last_used_at == first
    ApiToken.objects.update(last_used_at=timezone.now() - timedelta(minutes=2))
    tokens.person_of(token)
    again = ApiToken.objects.get().last_used_at
    assert again is not None
    assert again > first


def test_a_person_who_may_not_sign_in_has_no_api(house: House, artifact: Artifact, program: Program):
    User.objects.filter(pk=house.viewer.pk).update(is_active=False)
    assert program.get(f"swarms/{house.swarm.public_id}/artifacts").status_code == 401


def test_who_leaves_the_team_takes_no_right_along(house: House, artifact: Artifact, program: Program):
    house.viewer.memberships.all().delete()
    assert program.get(f"swarms/{house.swarm.public_id}/artifacts").status_code == 404
