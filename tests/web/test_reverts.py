"""Taking back what landed, on the page: what goes with it is shown first, and a maintainer confirms."""

from __future__ import annotations

import pytest
from django.utils import timezone

from orchestration.domain.errors import InvalidInput
from orchestration.models import Publication, Subtask, Swarm
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


def over(swarm: Swarm, status: str = "succeeded") -> None:
    Swarm.objects.filter(pk=swarm.pk).update(status=status, finished_at=timezone.now())


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("pull_request", "Then pull request 7 is brought up to date, or another follows if it was merged."),
        ("direct", "Then it is pushed onto main if every check is green."),
        ("", "its checks run on what is left."),
    ],
)
def test_of_a_swarm_that_is_over_the_page_says_what_follows(house: House, done: Subtask, mode: str, said: str):
    page = f"/subtasks/{done.public_id}/revert/"
    client = house.client("maintainer")
    assert "The swarm is over" not in client.get(page).content.decode()
    over(house.swarm)
    if mode:
        landed = {"status": "landed", "landed_sha": "a" * 40, "pull_request": 7}
        Publication.objects.create(swarm=house.swarm, mode=mode, target="main", **landed)
    html = client.get(page).content.decode()
    assert "The swarm is over: it opens again for this" in html
    assert said in html


def test_it_is_offered_after_the_end_and_not_after_a_cancel(house: House, done: Subtask):
    client = house.client("maintainer")
    page = f"/subtasks/{done.public_id}/"
    for status, offered in (("succeeded", True), ("partly_succeeded", True), ("failed", True), ("cancelled", False)):
        over(house.swarm, status)
        assert ("Take back…" in client.get(page).content.decode()) is offered, status
