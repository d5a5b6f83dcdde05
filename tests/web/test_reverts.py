"""Taking back what landed, on the page: what goes with it is shown first, and a maintainer confirms."""

from __future__ import annotations

import pytest

from orchestration.domain.errors import InvalidInput
from orchestration.models import Subtask
from orchestration.web import reverts
from tests import factories as make
from tests.web.conftest import House


@pytest.fixture
def done(house: House) -> Subtask:
    return make.make_subtask(house.swarm, name="one", status="complete")


def test_what_goes_with_it_is_shown_before_anybody_confirms(
    house: House, done: Subtask, monkeypatch: pytest.MonkeyPatch
):
    other = make.make_subtask(house.swarm, name="rests-on-one", status="complete")
    monkeypatch.setattr(reverts, "rests_on", lambda _: [other])
    html = house.client("maintainer").get(f"/subtasks/{done.public_id}/revert/").content.decode()
    assert "rests-on-one" in html
    assert "Take it back" in html


def test_a_refusal_is_a_sentence_on_the_page(house: House, done: Subtask):
    client = house.client("maintainer")
    html = client.post(f"/subtasks/{done.public_id}/revert/", follow=True).content.decode()
    assert "Nothing of one is on the branch" in html


def test_done_leads_to_the_subtask_that_takes_it_back(house: House, done: Subtask, monkeypatch: pytest.MonkeyPatch):
    made = make.make_subtask(house.swarm, name="revert-one")
    monkeypatch.setattr(reverts, "revert", lambda *_: made)
    client = house.client("maintainer")
    response = client.post(f"/subtasks/{done.public_id}/revert/")
    assert response.headers["Location"] == f"/subtasks/{made.public_id}/"

    def refuse(*_: object) -> Subtask:
        raise InvalidInput("Not now.")

    monkeypatch.setattr(reverts, "revert", refuse)
    assert "Not now." in client.post(f"/subtasks/{done.public_id}/revert/", follow=True).content.decode()


def test_what_was_taken_back_says_so(house: House, done: Subtask):
    page = f"/subtasks/{done.public_id}/"
    client = house.client("maintainer")
    assert "Take back…" in client.get(page).content.decode()
    back = make.make_subtask(house.swarm, name="revert-one", status="complete", origin="revert")
    back.reverts.set([done])
    html = client.get(page).content.decode()
    assert '<span class="tag">reverted</span>' in html
    assert "Take back…" not in html
    assert "Take back…" not in house.client("viewer").get(page).content.decode()
