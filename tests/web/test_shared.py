"""The panels of what agents shared and made: who, what kind, the value, and nothing that was not asked for."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from orchestration.models import SharedResult
from orchestration.stages.sharing import share
from orchestration.web import fragments
from orchestration.web.panels import SwarmPanels
from orchestration.web.shared import MOST, Line
from tests import factories as make
from tests.web.conftest import House

EVIL = "<script>alert(1)</script>"


def swarm_page(house: House) -> str:
    return house.client("viewer").get(f"/swarms/{house.swarm.public_id}/").content.decode()


def panel(page: str, name: str) -> str:
    found = re.search(rf'<section [^>]*id="{name}".*?</section>', page, re.DOTALL)
    assert found, name
    return found[0]


def test_where_nothing_was_shared_the_panels_say_what_would_stand_there(house: House):
    page = swarm_page(house)
    assert "What agents publish for each other" in panel(page, "swarm-shared")
    assert "Reports, transcripts and long outputs" in panel(page, "swarm-artifacts")
    subtask = make.make_subtask(house.swarm)
    page = house.client("viewer").get(f"/subtasks/{subtask.public_id}/").content.decode()
    assert "It has shared nothing" in panel(page, "subtask-shared")


def test_a_result_stands_there_with_producer_tags_schema_and_value(house: House):
    attempt = make.make_attempt(make.make_subtask(house.swarm, name="survey"))
    make.make_shared(attempt, key="api/port", value={"port": 8080}, tags=["net"], version=3)
    shown = panel(swarm_page(house), "swarm-shared")
    for part in ("api/port", ">survey<", ">net<", "object {port: integer}", "version 3", "&quot;port&quot;: 8080"):
        assert part in shown
    assert f'href="/subtasks/{attempt.subtask.public_id}/?attempt=1"' in shown


def test_a_subtask_shows_its_own_only(house: House):
    survey = make.make_attempt(make.make_subtask(house.swarm, name="survey"))
    other = make.make_attempt(make.make_subtask(house.swarm, name="other"))
    make.make_shared(survey, key="mine")
    make.make_shared(other, key="theirs")
    page = house.client("viewer").get(f"/subtasks/{survey.subtask.public_id}/").content.decode()
    shown = panel(page, "subtask-shared")
    assert "mine" in shown
    assert "theirs" not in shown


def test_what_is_expired_is_shown_to_nobody(house: House):
    attempt = make.make_attempt(make.make_subtask(house.swarm))
    make.make_shared(attempt, key="old", expires_at=timezone.now() - timedelta(seconds=1))
    assert "old" not in panel(swarm_page(house), "swarm-shared")


def test_nothing_that_an_agent_wrote_is_markup(house: House):
    attempt = make.make_attempt(make.make_subtask(house.swarm))
    make.make_shared(attempt, key="k", value={EVIL: EVIL}, tags=[EVIL])
    make.make_artifact(house.swarm, attempt=attempt, name=EVIL, type=EVIL)
    assert EVIL not in swarm_page(house)
    assert EVIL not in house.client("viewer").get(f"/subtasks/{attempt.subtask.public_id}/").content.decode()


def test_long_lists_and_long_values_are_bounded(house: House):
    attempt = make.make_attempt(make.make_subtask(house.swarm))
    for number in range(MOST + 2):
        make.make_shared(attempt, key=f"key-no-{number:02}", value="x" * 20_000)
        make.make_artifact(house.swarm, name=f"artifact-no-{number:02}")
    page = swarm_page(house)
    shown = panel(page, "swarm-shared")
    assert f"{MOST} newest" in shown
    assert "key-no-00" not in shown
    assert f"key-no-{MOST + 1}" in shown
    assert "more characters" in shown
    assert len(shown) < 160_000
    shown = panel(page, "swarm-artifacts")
    assert f"/api/v1/swarms/{house.swarm.public_id}/artifacts" in shown
    assert "artifact-no-00" not in shown


def test_an_artifact_leads_to_its_content_and_its_maker(house: House):
    attempt = make.make_attempt(make.make_subtask(house.swarm, name="survey"))
    artifact = make.make_artifact(house.swarm, attempt=attempt, size=2048)
    shown = panel(swarm_page(house), "swarm-artifacts")
    for part in (f'href="/artifacts/{artifact.public_id}/"', "findings.md", "report, 2 kB", "survey"):
        assert part in shown


@pytest.mark.django_db(transaction=True)
def test_what_is_shared_while_one_looks_is_in_the_next_frame(house: House):
    before = fragments.render(fragments.SWARM, {"panels": SwarmPanels(house.swarm, may_steer=False)})
    share(make.make_attempt(make.make_subtask(house.swarm)), "api", 1, [])
    after = fragments.render(fragments.SWARM, {"panels": SwarmPanels(house.swarm, may_steer=False)})
    assert "api" not in before["swarm-shared"]
    assert "api" in after["swarm-shared"]
    assert "shared the result api" in after["swarm-activity"]


def test_the_cache_is_in_the_statistics_once_it_was_asked(house: House):
    assert "Cache" not in panel(swarm_page(house), "swarm-statistics")
    make.make_subtask(house.swarm, kind="research", cache="hit")
    make.make_subtask(house.swarm, kind="research", cache="miss")
    make.make_subtask(house.swarm, kind="research", cache="off")
    assert "hits 1, misses 1" in panel(swarm_page(house), "swarm-statistics")


def test_a_short_value_is_shown_whole():
    assert Line(SharedResult(value=["ä", 1])).value == '[\n  "ä",\n  1\n]'
