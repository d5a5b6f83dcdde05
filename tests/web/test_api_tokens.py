"""Tokens on the profile page: made, shown once, used, revoked, and nobody else's business."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from orchestration.domain.errors import InvalidInput
from orchestration.domain.tokens import MAX_TOKENS, check_name, looks_like_token
from orchestration.models import ApiToken
from orchestration.stages import tokens
from tests import factories as make
from tests.stages.world import at_once
from tests.web.conftest import House


def made(house: House, name: str = "deploy") -> tuple[Client, str, str]:
    """The client, the token, and the page that showed it."""
    client = house.client("member")
    page = client.post("/profile/tokens/", {"name": name}).content.decode()
    found = re.search(r"swarmsite_[\w-]+", page)
    assert found, page
    return client, found[0], page


def works(token: str) -> bool:
    response = Client().get("/api/v1/openapi.json", headers={"Authorization": f"Bearer {token}"})
    return response.status_code == 200


def test_there_is_none_at_first(house: House):
    page = house.client("member").get("/profile/").content.decode()
    assert "You have none. With a token, a program of yours may do what you may" in page


def test_a_token_is_shown_once_and_works(house: House):
    client, token, page = made(house)
    assert "it is not stored, and is not shown again" in page
    assert looks_like_token(token)
    assert works(token)
    later = client.get("/profile/").content.decode()
    assert token not in later
    assert "deploy" in later
    assert "last used" in later


def test_the_page_that_shows_it_is_kept_nowhere(house: House):
    response = house.client("member").post("/profile/tokens/", {"name": "deploy"})
    assert "no-store" in response.headers["Cache-Control"]


def test_a_revoked_token_opens_nothing(house: House):
    client, token, _ = made(house)
    row = ApiToken.objects.get()
    page = client.post(f"/profile/tokens/{row.public_id}/revoke/", follow=True).content.decode()
    assert "The token deploy is revoked" in page
    assert not works(token)
    assert not ApiToken.objects.exists()


def test_nobody_revokes_anothers(house: House):
    _, token, _ = made(house)
    row = ApiToken.objects.get()
    for who in ("owner", "operator", "stranger"):
        assert house.client(who).post(f"/profile/tokens/{row.public_id}/revoke/").status_code == 404
    assert works(token)


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\nb"])
def test_a_token_has_a_name(house: House, name: str):
    response = house.client("member").post("/profile/tokens/", {"name": name})
    assert response.status_code == 400
    assert "Give the token a name of 1 to 80 characters" in response.content.decode()
    assert not ApiToken.objects.exists()


def test_a_name_is_used_once_by_each_person(house: House):
    client, _, _ = made(house)
    again = client.post("/profile/tokens/", {"name": "deploy"})
    assert again.status_code == 400
    assert "You have a token of this name already" in again.content.decode()
    assert 'value="deploy"' in again.content.decode()
    assert tokens.issue(house.owner, "deploy")


def test_there_is_an_end_to_tokens():
    with pytest.raises(InvalidInput, match=f"You have {MAX_TOKENS} tokens"):
        check_name("one more", [str(number) for number in range(MAX_TOKENS)])


@pytest.mark.django_db(transaction=True)
def test_two_of_one_name_at_the_same_moment_are_one():
    person = make.make_user()
    results = at_once(*[lambda: tokens.issue(person, "deploy")] * 4)
    assert sum(isinstance(one, str) for one in results) == 1
    assert all("of this name already" in str(one) for one in results if not isinstance(one, str))


@pytest.mark.parametrize(
    "text", ["", "swarmsite_", "swarmsite_" + "a" * 39, "other_" + "a" * 43, "swarmsite_" + "ä" * 43]
)
def test_what_is_no_token_is_not_looked_for(text: str):
    assert not looks_like_token(text)
