"""The board: what a person should look at first, and what to do on an empty installation."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.utils import timezone

from orchestration.domain.rights import Action, roles_for
from orchestration.models import ModelEndpoint, PlanIteration, Swarm
from orchestration.web.boards import Board, Filter
from tests import factories as make
from tests.web.conftest import House


def columns(house: House, who: str = "member", **chosen: object) -> dict[str, list[str]]:
    board = Board(getattr(house, who), Filter(**chosen))  # type: ignore[arg-type]
    return {column.key: [card.swarm.title for card in column.cards] for column in board.columns}


@pytest.fixture
def empty(house: House) -> House:
    PlanIteration.objects.all().delete()
    Swarm.objects.all().delete()
    return house


@pytest.mark.parametrize(
    ("status", "column"),
    [
        ("awaiting_approval", "needs"),
        ("paused", "needs"),
        ("planning", "running"),
        ("running", "running"),
        ("finalizing", "running"),
        ("succeeded", "done"),
        ("partly_succeeded", "done"),
        ("failed", "done"),
        ("cancelled", "done"),
    ],
)
def test_every_status_has_its_column(empty: House, status: str, column: str):
    make.make_swarm(empty.repository, status=status, title=status)
    assert columns(empty)[column] == [status]


def test_every_column_is_there_even_when_it_is_empty(house: House):
    page = house.client("member").get("/").content.decode()
    for title, said in (("Needs you", "Nothing waits for you."), ("Done lately", "Nothing has finished yet.")):
        assert title in page
        assert said in page


def test_a_card_says_why_its_swarm_waits(house: House):
    make.make_swarm(house.repository, status="paused", status_reason="Paused by ada.")
    assert "Paused by ada." in house.client("viewer").get("/").content.decode()


def test_a_card_counts_what_is_done_and_who_works(house: House):
    for status in ("complete", "running", "cancelled"):
        make.make_subtask(house.swarm, status=status)
    make.make_attempt(house.swarm.subtasks.get(status="running"))
    page = house.client("viewer").get("/").content.decode()
    assert "1 of 2 done" in page
    assert "1 agent<" in page


def test_a_success_without_checks_is_called_unverified(house: House):
    make.make_swarm(house.repository, status="succeeded", verified=False)
    assert "unverified" in house.client("viewer").get("/").content.decode()


def test_a_success_with_checks_is_not(house: House):
    make.make_swarm(house.repository, status="succeeded", verified=True)
    assert "unverified" not in house.client("viewer").get("/").content.decode()


def test_the_filter_is_in_the_address(house: House):
    other = make.make_repository(house.team, name="till")
    make.make_swarm(other, title="Print receipts", requester=house.owner)
    assert columns(house, text="receipt")["running"] == ["Print receipts"]
    assert columns(house, repository=other.public_id)["running"] == ["Print receipts"]
    assert columns(house, mine=True)["running"] == ["Replace the session store with Redis"]
    page = house.client("member").get("/?q=receipt&mine=1").content.decode()
    assert 'value="receipt"' in page
    assert "Nothing here matches the filter." in page


def test_a_strange_filter_finds_nothing_and_breaks_nothing(house: House):
    client = house.client("member")
    for query in ("q=%00", "q=" + "x" * 5000, "repository='--", "mine=maybe", "q=%25_"):
        assert client.get(f"/?{query}").status_code == 200


def test_the_socket_gets_the_same_filter(house: House):
    page = house.client("member").get("/?q=a%26b").content.decode()
    assert 'hx-ws:connect="/ws/board/?after=0&amp;q=a%26b"' in page


def test_an_empty_installation_shows_the_first_steps(empty: House):
    page = empty.client("owner").get("/").content.decode()
    for said in ("First steps", "Connect a model", "/models/new/", "Connect a repository", "New swarm"):
        assert said in page
    assert "Run the demo" not in page


def test_who_may_not_connect_is_told_who_may(empty: House):
    page = empty.client("member").get("/").content.decode()
    assert "A maintainer of your team can connect one." in page
    assert "/models/new/" not in page


def test_steps_that_are_done_are_ticked(empty: House):
    ModelEndpoint.objects.all().delete()
    before = empty.client("owner").get("/").content.decode().count("Connected")
    make.make_endpoint(empty.team)
    assert empty.client("owner").get("/").content.decode().count("Connected") == before + 1


@pytest.fixture
def demo(empty: House) -> House:
    make.make_repository(empty.team, name="Larder (demo)", is_demo=True, url=str(settings.DATA_DIR / "demo"))
    make.make_endpoint(empty.team, name="Demo model", is_demo=True)
    return empty


def test_one_button_runs_the_demo(demo: House):
    page = demo.client("owner").get("/").content.decode()
    assert "Run the demo" in page
    assert "one fixed story" in page
    response = demo.client("owner").post("/demo/")
    swarm = Swarm.objects.get()
    assert response.headers["Location"] == f"/swarms/{swarm.public_id}/"
    assert swarm.endpoint.is_demo
    assert swarm.repository.is_demo
    assert swarm.requester == demo.owner


@pytest.mark.parametrize("who", ["viewer", "stranger"])
def test_only_who_may_submit_may_run_the_demo(demo: House, who: str):
    assert "Run the demo" not in demo.client(who).get("/").content.decode()
    assert demo.client(who).post("/demo/").status_code == 404
    assert not Swarm.objects.exists()


def test_without_its_model_the_demo_is_not_offered(demo: House):
    ModelEndpoint.objects.update(enabled=False)
    assert "Run the demo" not in demo.client("owner").get("/").content.decode()


def test_a_demo_swarm_is_labelled_on_its_card(demo: House):
    demo.client("owner").post("/demo/")
    assert "demo model" in demo.client("viewer").get("/").content.decode()


def test_those_who_finished_last_come_first(empty: House):
    now = timezone.now()
    make.make_swarm(empty.repository, title="early", status="failed", finished_at=now - timezone.timedelta(hours=2))
    make.make_swarm(empty.repository, title="late", status="failed", finished_at=now)
    assert columns(empty)["done"] == ["late", "early"]


def test_only_roles_that_may_submit_see_the_button(house: House):
    for who in ("viewer", "member", "maintainer", "owner"):
        offered = 'href="/swarms/new/"' in house.client(who).get("/").content.decode()
        assert offered is (who in {str(role) for role in roles_for(Action.SUBMIT)})
