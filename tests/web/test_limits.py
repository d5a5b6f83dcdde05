"""Limits of a swarm that runs: on their page, right where a budget stopped it, and from the command line."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from orchestration.domain.config import SwarmConfig
from orchestration.models import Event, Repository, Swarm
from orchestration.web import fragments
from orchestration.web.limits import LimitsForm
from orchestration.web.panels import SwarmPanels
from tests.web.conftest import House

pytestmark = pytest.mark.usefixtures("unconfined")


def address(swarm: Swarm) -> str:
    return f"/swarms/{swarm.public_id}/limits/"


def configured(swarm: Swarm, **config: Any) -> Swarm:
    swarm.config = SwarmConfig(**config).model_dump(mode="json")
    swarm.save()
    return swarm


def stopped(swarm: Swarm, *, by: str = "swarm", **config: Any) -> Swarm:
    """Paused at its budget's end, as the stages leave it."""
    row = configured(swarm, **config)
    row.status, row.resume_to, row.stopped_by = "paused", "running", by
    row.status_reason = "The swarm's budget of $5.00 is used up: $5.00 spent. Raise it, then resume."
    row.cost_usd, row.planning_done = 5, False
    row.save()
    return row


def shown(swarm: Swarm, *, may_steer: bool = True) -> str:
    """The header as the socket sends it."""
    panels = {"panels": SwarmPanels(swarm, may_steer=may_steer)}
    return fragments.render({"swarm-header": fragments.SWARM["swarm-header"]}, panels)["swarm-header"]


def sent_by(page: str, form: str = "steer") -> dict[str, str]:
    """What the fields of that form hold."""
    fields = re.findall(rf'<input[^>]*form="{form}"[^>]*>', page)
    return {re.search(r'name="(\w+)"', one)[1]: re.search(r'value="([^"]*)"', one)[1] for one in fields}  # type: ignore[index]


def config_of(swarm: Swarm) -> SwarmConfig:
    swarm.refresh_from_db()
    return SwarmConfig.model_validate(swarm.config)


# Its page.


def test_the_page_has_what_binds_it_now_and_what_is_used(house: House):
    later = timezone.now() + timedelta(days=1)
    configured(house.swarm, budget_usd="2.5", max_subagents=7, deadline=later)
    page = house.client("member").get(address(house.swarm)).content.decode()
    for told in ('value="2.5"', 'value="7"', f'value="{later:%Y-%m-%dT%H:%M}"', "Cost so far", "Deadline, UTC"):
        assert told in page
    assert (
        f'href="{address(house.swarm)}"'
        in house.client("member").get(f"/swarms/{house.swarm.public_id}/").content.decode()
    )


def test_what_was_changed_counts_at_once_and_is_in_the_log(house: House):
    later = timezone.now() + timedelta(days=2)
    given = {"max_subagents": "3", "budget_usd": "", "budget_tokens": "90000", "deadline": f"{later:%Y-%m-%dT%H:%M}"}
    client = house.client("member")
    response = client.post(address(house.swarm), given, follow=True)
    assert "The limits are changed." in response.content.decode()
    config = config_of(house.swarm)
    assert (config.max_subagents, config.budget_usd, config.budget_tokens) == (3, None, 90_000)
    assert config.deadline == later.replace(second=0, microsecond=0)
    assert config.max_total_steps == SwarmConfig().max_total_steps, "what was not sent stays"
    facts = Event.objects.get(kind="swarm.steered").facts
    assert facts["by"] == "member"
    assert "Agents at once: 100 became 3." in facts["text"]


def test_untouched_it_changes_nothing_however_exact_the_moment_was(house: House):
    configured(house.swarm, deadline=timezone.now() + timedelta(days=1), budget_usd="0.5")
    form = LimitsForm(swarm=house.swarm)
    given = {bound.name: str(bound.value() or "") for bound in form}
    given["deadline"] = f"{config_of(house.swarm).deadline:%Y-%m-%dT%H:%M}"
    response = house.client("member").post(address(house.swarm), given)
    assert response.status_code == 400
    assert "Nothing was changed" in response.content.decode()
    assert not Event.objects.filter(kind="swarm.steered").exists()


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("max_subagents", "0", "Write a whole number from 1 to 1000."),
        ("max_total_steps", "", "Write a whole number from 1 to 1000000."),
        ("budget_usd", "-1", "Write an amount in US dollars above 0"),
        ("budget_usd", "0", "Write an amount in US dollars above 0"),
        ("budget_tokens", "many", "Write a whole number from 1"),
        ("deadline", "soon", "Write a day and a time, in UTC."),
    ],
)
def test_what_is_wrong_is_told_beside_its_field(house: House, field: str, value: str, sentence: str):
    response = house.client("member").post(address(house.swarm), {field: value})
    assert response.status_code == 400
    assert sentence in response.content.decode().partition(f'id="id_{field}_error"')[2].partition("</div>")[0]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"budget_usd": "4"}, "Budget in US dollars: $5.00 are used already"),
        ({"deadline": "2020-01-01T00:00"}, "has passed. Give a later one."),
    ],
)
def test_the_refusal_of_the_stage_is_told_too(house: House, given: dict[str, str], sentence: str):
    Swarm.objects.update(cost_usd=5)
    response = house.client("member").post(address(house.swarm), given)
    assert response.status_code == 400
    assert sentence in response.content.decode().replace("&#x27;", "'")


def test_one_that_is_over_has_nothing_to_change(house: House):
    Swarm.objects.update(status="cancelled", finished_at=timezone.now())
    assert "bind nothing any more" in house.client("member").get(address(house.swarm)).content.decode()
    assert house.client("member").post(address(house.swarm), {"max_subagents": "3"}).status_code == 400


# Right where it stopped.


def test_a_budget_that_stopped_it_is_asked_for_on_the_live_page(house: House):
    """With the form there: one press raises it and goes on."""
    swarm = stopped(house.swarm, budget_usd=5)
    page = shown(swarm)
    assert "is used up" in page
    assert "Raise and resume" in page
    assert "Cancel instead" in page
    fields = sent_by(page)
    assert fields == {"budget_usd": "10"}
    assert 'id="steer"' in house.client("member").get(f"/swarms/{swarm.public_id}/").content.decode()
    response = house.client("member").post(address(swarm), fields | {"then": "resume"})
    assert response.headers["Location"] == f"/swarms/{swarm.public_id}/"
    assert config_of(swarm).budget_usd == 10
    assert (swarm.status, swarm.stopped_by) == ("running", "")
    assert "Raise and resume" not in shown(swarm)


def test_of_two_budgets_both_can_be_raised(house: House):
    page = shown(stopped(house.swarm, budget_usd="2.5", budget_tokens=4000))
    assert sent_by(page) == {"budget_usd": "5", "budget_tokens": "8000"}


def test_too_little_is_refused_with_the_figures_and_the_swarm_stays_paused(house: House):
    swarm = stopped(house.swarm, budget_usd=5)
    response = house.client("member").post(address(swarm), {"budget_usd": "5", "then": "resume"})
    assert response.status_code == 400
    swarm.refresh_from_db()
    assert swarm.status == "paused"


def test_of_the_repositorys_month_the_page_says_where_it_is_raised(house: House):
    swarm = stopped(house.swarm, by="month")
    page = shown(swarm)
    assert f"/repositories/{house.repository.public_id}/" in page.partition("raise its budget for the month")[0]
    assert "Raise and resume" not in page
    edit = f"/repositories/{house.repository.public_id}/edit/"
    given = {"name": "shop", "url": house.repository.url, "check_timeout_s": "600", "monthly_budget_usd": "40"}
    page = house.client("maintainer").get(edit).content.decode()
    assert "Budget of a month for all its swarms" in page
    hidden = dict(re.findall(r'<input type="number" name="([a-z_]+)" value="(\d+)"', page))
    assert house.client("maintainer").post(edit, hidden | given).status_code == 302
    assert Repository.objects.get(pk=house.repository.pk).monthly_budget_usd == 40


def test_where_the_model_service_wants_money_no_budget_of_ours_is_asked_for(house: House):
    page = shown(stopped(house.swarm, by="service", budget_usd=5))
    assert "Raise and resume" not in page
    assert "budget for the month" not in page


def test_who_may_not_steer_is_shown_the_reason_and_no_form(house: House):
    page = shown(stopped(house.swarm, budget_usd=5), may_steer=False)
    assert "is used up" in page
    assert "Raise and resume" not in page
    assert "<input" not in page


def test_one_that_a_person_paused_asks_for_nothing(house: House):
    swarm = stopped(house.swarm, by="", budget_usd=5)
    assert "Raise and resume" not in shown(swarm)


# From the command line.


def test_the_command_changes_limits_and_lets_it_go_on(house: House, capsys: pytest.CaptureFixture[str]):
    swarm = stopped(house.swarm, budget_usd=5)
    call_command("swarm", "change", swarm.public_id, "--config", '{"budget_usd": 7.5, "max_subagents": 4}', "--json")
    assert json.loads(capsys.readouterr().out)["status"] == "paused"
    config = config_of(swarm)
    assert (float(config.budget_usd or 0), config.max_subagents) == (7.5, 4)
    call_command("swarm", "resume", swarm.public_id)
    swarm.refresh_from_db()
    assert swarm.status == "running"


@pytest.mark.parametrize(
    ("config", "sentence"),
    [('{"strategy": "none"}', "strategy cannot be changed"), ("{}", "Nothing was changed"), ("[]", "a JSON object")],
)
def test_the_command_refuses_with_a_sentence(house: House, config: str, sentence: str):
    with pytest.raises(CommandError, match=sentence) as caught:
        call_command("swarm", "change", house.swarm.public_id, "--config", config)
    assert caught.value.returncode == 2
