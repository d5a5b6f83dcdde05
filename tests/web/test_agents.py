"""Where people meet agents that are not ours: the form, an attempt's page, and the operators' side."""

from __future__ import annotations

import json

import pytest
from django.core.exceptions import ValidationError

from orchestration.models import Agent, Swarm, Team
from tests import factories as make
from tests.agents.outside import PYTHON, SCRIPT
from tests.web.conftest import House

FIELDS = {
    "name": "coder",
    "kind": "acp",
    "argv": json.dumps([PYTHON, SCRIPT, "write"]),
    "environment": "{}",
    "files": "{}",
    "mounts": "[]",
    "permissions": "workspace",
    "start_timeout_s": "20",
    "silence_timeout_s": "300",
    "memory_mb": "2048",
    "is_active": "on",
}
ADD = "/admin/orchestration/agent/add/"


def get(house: House, path: str, who: str) -> str:
    return house.client(who).get(path).content.decode()


def agent(house: House, **fields: object) -> Agent:
    plain = {"name": "coder", "team": house.team, "argv": [PYTHON, SCRIPT, "write"]}
    return Agent.objects.create(**plain | fields)


def test_a_form_asks_for_an_agent_only_where_there_is_one(house: House):
    assert 'name="agent"' not in get(house, "/swarms/new/", "member")
    agent(house)
    agent(house, name="retired", is_active=False)
    agent(house, name="theirs", team=Team.objects.create(name="Others"))
    page = get(house, "/swarms/new/", "member")
    assert 'name="agent"' in page
    assert '<option value="builtin">Built-in</option>' in page
    assert '<option value="coder">coder</option>' in page
    assert "retired" not in page
    assert "theirs" not in page


def test_an_attempt_says_who_worked(house: House):
    subtask = make.make_subtask(house.swarm)
    path = f"/subtasks/{subtask.public_id}/"
    attempt = make.make_attempt(subtask)
    assert "<dt>Agent</dt><dd>built-in</dd>" in get(house, path, "viewer")
    type(attempt).objects.filter(pk=attempt.pk).update(agent="coder <1>")
    assert "<dt>Agent</dt><dd>coder &lt;1&gt;</dd>" in get(house, path, "viewer")


def test_a_repository_takes_only_its_own_teams_agents(house: House):
    house.repository.agent = agent(house)
    house.repository.clean()
    house.repository.agent = agent(house, name="theirs", team=Team.objects.create(name="Others"))
    with pytest.raises(ValidationError, match="theirs belongs to another team"):
        house.repository.clean()


def test_an_operator_is_offered_presets_that_fill_the_form(house: House):
    page = get(house, ADD, "operator")
    assert '<a href="?preset=opencode">OpenCode</a>: opencode-ai (npm)' in page
    filled = get(house, f"{ADD}?preset=opencode", "operator")
    assert 'value="opencode"' in filled
    assert "@ai-sdk/openai-compatible" in filled
    assert get(house, f"{ADD}?preset=nothing", "operator")


def test_an_operator_is_told_at_once_whether_it_works(house: House):
    client = house.client("operator")
    page = client.post(ADD, FIELDS | {"team": house.team.pk, "_test": "1"}, follow=True).content.decode()
    assert ": Scripted 1.2 opened a session." in page
    row = Agent.objects.get(name="coder")
    broken = FIELDS | {"team": house.team.pk, "argv": '["/nowhere/coder"]', "_test": "1"}
    path = f"/admin/orchestration/agent/{row.pk}/change/"
    assert "is not at that path" in client.post(path, broken, follow=True).content.decode()


def test_what_cannot_be_used_is_refused_beside_what_was_typed(house: House):
    client = house.client("operator")
    wrong = FIELDS | {"team": house.team.pk, "environment": '{"A": "{tokn}"}'}
    page = client.post(ADD, wrong).content.decode()
    assert "{tokn} is no placeholder" in page
    assert "{&quot;A&quot;: &quot;{tokn}&quot;}" in page
    assert not Agent.objects.exists()
    client.post(ADD, FIELDS | {"team": house.team.pk})
    assert Agent.objects.count() == 1, "the control: the same without the slip is saved"
    assert Swarm.objects.exists()
