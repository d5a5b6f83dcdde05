"""No page asks more of the database because there is more to show."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries

from orchestration.models import Subtask
from tests import factories as make
from tests.web import scenes
from tests.web.conftest import House


def grow(house: House) -> dict[str, str]:
    swarm = scenes.busy_swarm(house.repository, requester=house.member)
    subtask = Subtask.objects.get(swarm=swarm, name="docs")
    attempt = subtask.attempts.last()
    assert attempt is not None
    for _ in range(3):
        make.make_step(attempt)
        make.make_check(swarm, attempt=attempt)
        make.make_artifact(swarm, attempt=attempt)
    return {
        "/": "board",
        f"/swarms/{swarm.public_id}/": "swarm",
        f"/swarms/{swarm.public_id}/subtasks/": "subtasks",
        f"/swarms/{swarm.public_id}/cancel/": "cancel",
        f"/swarms/{swarm.public_id}/plan/": "plan",
        f"/subtasks/{subtask.public_id}/": "subtask",
        "/repositories/": "repositories",
        f"/repositories/{house.repository.public_id}/": "repository",
        "/swarms/new/": "new swarm",
        "/profile/": "profile",
    }


# The session and its person are two of them.
MOST = {
    "board": 11,
    "swarm": 19,
    "subtasks": 9,
    "cancel": 8,
    "plan": 9,
    "subtask": 20,
    "repositories": 5,
    "repository": 8,
    "new swarm": 11,
    "profile": 5,
}


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("who", ["member", "operator"])
def test_the_number_of_questions_does_not_grow(
    house: House, django_assert_max_num_queries: DjangoAssertNumQueries, times: int, who: str
):
    for _ in range(times):
        pages = grow(house)
    client = house.client(who)
    for path, name in pages.items():
        with django_assert_max_num_queries(MOST[name]):
            assert client.get(path).status_code == 200


def test_the_bounds_are_close_to_what_is_asked(house: House):
    """A bound that nothing reaches guards nothing."""
    pages = grow(house)
    client = house.client("member")
    for path, name in pages.items():
        with CaptureQueriesContext(connection) as asked:
            client.get(path)
        assert MOST[name] - 4 <= len(asked) <= MOST[name], name
