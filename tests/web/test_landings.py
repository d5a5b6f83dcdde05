"""A result's way out of here on the swarm's page: told, tried again, chosen anew, by whoever may."""

from __future__ import annotations

import re

import pytest

from orchestration.models import Publication, Repository, Swarm
from orchestration.reads.reports import whole
from tests import factories as make
from tests.web.conftest import House

REASON = "The repository https://hub.example/shop refuses the push to main: it is protected. It said: <b>Friday</b>"


def page_of(house: House, who: str = "member") -> str:
    return house.client(who).get(f"/swarms/{house.swarm.public_id}/").content.decode()


@pytest.fixture
def refused(house: House) -> Publication:
    Swarm.objects.filter(pk=house.swarm.pk).update(
        status="finalizing", config=house.swarm.config | {"landing": "direct"}, status_reason=REASON
    )
    given = {"mode": "direct", "target": "main", "status": "refused", "status_reason": REASON, "tries": 1}
    return Publication.objects.create(swarm=house.swarm, **given)


def act(house: House, to: str, who: str = "member") -> str:
    response = house.client(who).post(f"/swarms/{house.swarm.public_id}/landing/", {"to": to}, follow=True)
    return response.content.decode()


def test_nothing_is_said_where_the_result_stays(house: House):
    assert "Landing outward" not in page_of(house)


def test_before_its_end_the_page_says_where_the_result_will_go(house: House):
    Swarm.objects.update(config=house.swarm.config | {"landing": "direct"})
    assert "The result is pushed onto the branch itself when every check has passed on it." in re.sub(
        r"\s+", " ", page_of(house)
    )


def test_a_refusal_is_told_and_its_words_are_text(house: House, refused: Publication):
    html = page_of(house)
    assert "Needs you" in html
    assert "&lt;b&gt;Friday&lt;/b&gt;" in html
    assert "<b>Friday</b>" not in html


def test_viewers_are_offered_nothing(house: House, refused: Publication):
    assert "Try again now" in page_of(house)
    assert "Try again now" not in page_of(house, "viewer")


def test_a_member_tries_again_or_keeps_the_branch(house: House, refused: Publication):
    act(house, "again")
    refused.refresh_from_db()
    assert (refused.status, refused.status_reason) == ("pending", "member asked for it.")
    act(house, "none")
    refused.refresh_from_db()
    assert refused.status == "cancelled"


def test_only_a_maintainer_chooses_another_way_out(house: House, refused: Publication):
    assert "Ask a maintainer." in act(house, "direct")
    refused.refresh_from_db()
    assert refused.status == "refused"
    act(house, "direct", "maintainer")
    refused.refresh_from_db()
    assert refused.status == "pending"


def test_nonsense_is_answered_with_what_there_is(house: House, refused: Publication):
    assert "again, direct, pull_request or none" in act(house, "moon")


def test_what_has_arrived_is_told_with_its_commit(house: House, refused: Publication):
    Publication.objects.update(status="landed", landed_sha=make.SHA, status_reason="", tries=0)
    html = page_of(house)
    assert "Confirmed there" in html
    assert make.SHA[:7] in html
    assert "Keep the branch only" not in html


def test_scripts_are_told_the_same(house: House, refused: Publication):
    told = whole(house.swarm)["landing"]
    assert (told["mode"], told["status"], told["status_reason"]) == ("direct", "refused", REASON)


def test_a_token_and_a_vouch_are_for_the_address_that_an_operator_saw(house: House):
    """Else whoever may edit the repository could have the token sent to a server of his own."""
    row = house.repository
    Repository.objects.filter(pk=row.pk).update(url="https://hub.example/shop", token_env="SHOP_TOKEN")
    client, path = house.client("maintainer"), f"/repositories/{row.public_id}/edit/"
    given = {"name": row.name, "url": "https://hub.example/shop", "check_timeout_s": 60, "landing": "direct"}
    client.post(path, given)
    row.refresh_from_db()
    assert (row.landing, row.token_env) == ("direct", "SHOP_TOKEN")
    client.post(path, given | {"url": "https://evil.example/shop"})
    row.refresh_from_db()
    assert (row.url, row.token_env, row.path_allowed) == ("https://evil.example/shop", "", False)
