"""The plan before it is carried out: what it may cost and take, where it may conflict, and what can be done to it."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from django.utils import timezone

from orchestration.models import Repository, Swarm
from orchestration.models.figures import experience_of
from tests import factories as make
from tests.web.conftest import House


def text_of(html: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html)))


def page_of(house: House, swarm: Swarm, who: str = "member") -> str:
    return house.client(who).get(f"/swarms/{swarm.public_id}/plan/").content.decode()


@pytest.fixture
def awaiting(house: House) -> Swarm:
    endpoint = make.make_endpoint(house.team, input_price="2", output_price="10")
    swarm = make.make_swarm(
        house.repository, requester=house.member, endpoint=endpoint, status="awaiting_approval", cost_usd="0.02"
    )
    survey = make.make_subtask(swarm, name="survey", kind="research", scope=[])
    make.make_subtask(swarm, name="store", needs=[survey], scope=["shop/sessions/**"])
    make.make_subtask(swarm, name="expiry", needs=[survey], scope=["shop/sessions/expiry.py"])
    make.make_subtask(swarm, name="docs", scope=[])
    return swarm


def finished(repository: Repository, count: int, *, seconds: int, status: str = "complete") -> None:
    swarm = make.make_swarm(repository, status="succeeded")
    end = timezone.now()
    for _ in range(count):
        make.make_attempt(
            make.make_subtask(swarm, status="complete"),
            status=status,
            started_at=end - timedelta(seconds=seconds),
            finished_at=end,
            tokens=50_000,
            cost_usd="0.50",
        )


def test_without_history_the_defaults_are_shown_and_said_to_be_that(house: House, awaiting: Swarm):
    page = text_of(page_of(house, awaiting))
    assert "Fewer than 5 change and research attempts have finished in this repository" in page
    assert "so those figures are defaults and not experience" in page
    # The longest chain: research (30 s to 5 m), then change (1 m to 10 m).
    assert "Estimated time 1 m 30 s to 15 m" in page
    # 3 changes of 30 k to 400 k tokens and one research of 15 k to 200 k, at $2.40 a million.
    assert "Estimated cost $0.25 to $3.36" in page
    assert "Estimated tokens 105 k to 1.4 M" in page


def test_with_history_the_repository_itself_speaks(house: House, awaiting: Swarm):
    finished(house.repository, 6, seconds=120)
    page = text_of(page_of(house, awaiting))
    assert "From this repository's own history: 6 finished change attempts." in page
    assert "Fewer than 5 research attempts" in page
    assert "2 m $0.50" in page


def test_the_history_of_another_repository_is_none_of_this_one(house: House, awaiting: Swarm):
    finished(make.make_repository(house.team), 6, seconds=120)
    assert experience_of(house.repository) == []
    assert "own history" not in page_of(house, awaiting)


@pytest.mark.parametrize(("status", "counts"), [("timed_out", 1), ("partial", 1), ("failed", 0), ("cancelled", 0)])
def test_only_what_ran_to_an_end_is_experience(house: House, status: str, counts: int):
    finished(house.repository, 1, seconds=60, status=status)
    assert len(experience_of(house.repository)) == counts


def test_a_model_without_prices_has_no_invented_cost(house: House, awaiting: Swarm):
    type(awaiting.endpoint).objects.filter(pk=awaiting.endpoint.pk).update(input_price=0, output_price=0)
    page = text_of(page_of(house, awaiting))
    assert "Estimated cost unknown" in page
    assert "has no prices, so no cost can be told" in page


def test_what_decides_the_time_is_said(house: House, awaiting: Swarm):
    assert "The longest chain decides the time: survey, then store." in text_of(page_of(house, awaiting))
    Swarm.objects.filter(pk=awaiting.pk).update(config=awaiting.config | {"parallel_enabled": False})
    page = text_of(page_of(house, awaiting))
    assert "The 1 agent allowed at once decides the time" in page
    assert "Agents at once 1" in page


def test_likely_conflicts_are_named_with_their_scopes(house: House, awaiting: Swarm):
    page = text_of(page_of(house, awaiting))
    assert "store and expiry may change the same files" in page
    assert "shop/sessions/** and shop/sessions/expiry.py" in page
    assert "Scope unknown, so a conflict can be neither expected nor ruled out: docs." in page


def test_an_order_between_two_ends_their_conflict(house: House, awaiting: Swarm):
    expiry = awaiting.subtasks.get(name="expiry")
    expiry.dependencies.add(awaiting.subtasks.get(name="store"))
    page = text_of(page_of(house, awaiting))
    assert "No two subtasks without an order between them name the same files." in page


def test_a_member_approves_the_plan_here(house: House, awaiting: Swarm):
    assert f'action="/swarms/{awaiting.public_id}/approve/"' in page_of(house, awaiting)
    house.client("member").post(f"/swarms/{awaiting.public_id}/approve/")
    awaiting.refresh_from_db()
    assert awaiting.status == "running"
    assert "Approve the plan" not in page_of(house, awaiting)


def test_a_viewer_sees_the_figures_and_no_buttons(house: House, awaiting: Swarm):
    page = page_of(house, awaiting, "viewer")
    assert "Estimated cost" in page
    for word in ("Approve the plan", "Remove", "Cancel…"):
        assert word not in page
    assert "before a member of the team approves this plan" in text_of(page)


def test_a_removed_subtask_is_gone_from_the_price_and_its_dependents_are_warned(house: House, awaiting: Swarm):
    survey = awaiting.subtasks.get(name="survey")
    answer = house.client("member").post(f"/subtasks/{survey.public_id}/cancel/", {"back": "plan"})
    assert answer.headers["Location"] == f"/swarms/{awaiting.public_id}/plan/"
    page = text_of(page_of(house, awaiting))
    assert "Left to do 3 of 4" in page
    assert "survey will not come, so this cannot start." in page


def test_of_a_split_subtask_its_parts_are_counted(house: House, awaiting: Swarm):
    store = awaiting.subtasks.get(name="store")
    make.make_subtask(awaiting, name="store-read", parent=store, depth=1)
    make.make_subtask(awaiting, name="store-write", parent=store, depth=1)
    assert "Left to do 5 of 6" in text_of(page_of(house, awaiting))


def test_the_swarm_page_leads_here(house: House, awaiting: Swarm):
    page = house.client("viewer").get(f"/swarms/{awaiting.public_id}/").content.decode()
    assert f'href="/swarms/{awaiting.public_id}/plan/"' in page


def test_a_plan_that_is_not_there_yet_says_so(house: House):
    assert "Nothing is planned yet." in page_of(house, house.swarm)
    make.make_subtask(house.swarm, status="complete")
    assert "Nothing of this plan is left to do." in page_of(house, house.swarm)
