"""What the buttons do: one call of a stage, and its refusal as a sentence."""

from __future__ import annotations

import pytest

from orchestration.models import Event, Subtask, Swarm
from tests import factories as make
from tests.web.conftest import House


def press(house: House, path: str, who: str = "member") -> str:
    return house.client(who).post(path, follow=True).content.decode()


@pytest.mark.parametrize(
    ("before", "action", "after"),
    [
        ("running", "pause", "paused"),
        ("paused", "resume", "running"),
        ("awaiting_approval", "approve", "running"),
        ("running", "cancel", "cancelled"),
    ],
)
def test_a_button_moves_the_swarm_and_leaves_an_event(house: House, before: str, action: str, after: str):
    swarm = make.make_swarm(house.repository, status=before)
    press(house, f"/swarms/{swarm.public_id}/{action}/")
    swarm.refresh_from_db()
    assert swarm.status == after
    assert Event.objects.filter(swarm=swarm, kind=f"swarm.{after}").exists()


@pytest.mark.parametrize("action", ["pause", "resume", "approve", "cancel"])
def test_what_cannot_be_done_any_more_is_said(house: House, action: str):
    swarm = make.make_swarm(house.repository, status="failed")
    page = press(house, f"/swarms/{swarm.public_id}/{action}/")
    assert "notice state-failed" in page
    swarm.refresh_from_db()
    assert swarm.status == "failed"


def test_cancel_names_who_did_it(house: House):
    page = press(house, f"/swarms/{house.swarm.public_id}/cancel/", "maintainer")
    assert "Cancelled by maintainer." in page


@pytest.mark.parametrize("status", ["failed", "timed_out", "conflict", "blocked"])
def test_a_broken_subtask_can_be_tried_again(house: House, status: str):
    subtask = make.make_subtask(house.swarm, status=status)
    assert "Try again" in house.client("member").get(f"/subtasks/{subtask.public_id}/").content.decode()
    press(house, f"/subtasks/{subtask.public_id}/retry/")
    subtask.refresh_from_db()
    assert subtask.status == "pending"


def test_a_running_subtask_can_be_cancelled(house: House):
    attempt = make.make_attempt(make.make_subtask(house.swarm, status="running"))
    press(house, f"/subtasks/{attempt.subtask.public_id}/cancel/")
    attempt.refresh_from_db()
    assert attempt.status == "cancelled"
    assert Subtask.objects.get().status == "cancelled"


def test_a_complete_subtask_offers_neither_and_refuses_both(house: House):
    subtask = make.make_subtask(house.swarm, status="complete")
    page = house.client("member").get(f"/subtasks/{subtask.public_id}/").content.decode()
    for action in ("retry", "cancel"):
        assert f"/subtasks/{subtask.public_id}/{action}/" not in page
        assert "notice state-failed" in press(house, f"/subtasks/{subtask.public_id}/{action}/")
    assert Subtask.objects.get().status == "complete"


def test_pressing_twice_is_told_and_harms_nothing(house: House):
    press(house, f"/swarms/{house.swarm.public_id}/pause/")
    page = press(house, f"/swarms/{house.swarm.public_id}/pause/")
    assert "cannot be paused" in page
    assert Swarm.objects.get(pk=house.swarm.pk).status == "paused"
