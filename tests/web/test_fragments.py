"""The panels that the sockets push are those of the pages."""

from __future__ import annotations

import pytest

from orchestration.web import fragments
from tests import factories as make
from tests.web.conftest import House

pytestmark = pytest.mark.django_db(transaction=True)


def test_every_panel_of_the_map_is_on_its_page(live_house: House):
    subtask = make.make_subtask(live_house.swarm)
    client = live_house.client("viewer")
    pages = {
        f"/swarms/{live_house.swarm.public_id}/": fragments.SWARM,
        f"/subtasks/{subtask.public_id}/": fragments.SUBTASK,
        "/": fragments.BOARD,
    }
    for path, panels in pages.items():
        page = client.get(path).content.decode()
        for name in panels:
            assert page.count(f'id="{name}"') == 1
