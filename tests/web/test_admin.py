"""The operators' side: in our colours and both themes, without groups, and with a way back to the pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from playwright.sync_api import BrowserContext, Page

from tests import factories as make
from tests.web.conftest import House, sign_in
from tests.web.server import LiveServer
from tests.web.test_looks import TEXT, THEMES, TOKENS, colours, contrast

ADMIN = (Path(settings.BASE_DIR) / "static/css/admin.css").read_text()
RULES = {
    "preload": False,
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
}
AXED = [  # one of each shape: a start, a list with filters, forms with help and with dates
    "",
    "orchestration/gaterun/",
    "orchestration/agent/add/",
    "orchestration/user/{user}/change/",
]
OURS = dict(re.findall(r"--([a-z-]+): var\(--([a-z-]+)\);", ADMIN))


def get(house: House, path: str, who: str = "operator") -> str:
    return house.client(who).get(path).content.decode()


@pytest.mark.parametrize("who", ["anonymous", "viewer", "owner"])
def test_only_operators_come_in(house: House, who: str):
    assert house.client(who).get("/admin/").status_code == 302


def test_it_wears_our_colours_and_loads_no_script_of_its_own_for_them(house: House):
    page = get(house, "/admin/")
    assert "css/admin.css" in page
    assert "dark_mode.css" not in page
    assert "theme.js" not in page
    assert "Swarmsite operations" in page


@pytest.mark.parametrize("theme", THEMES)
def test_the_chosen_theme_holds_here_too(house: House, theme: str):
    client = house.client("operator")
    client.cookies["theme"] = theme
    assert f"theme-{theme}" in client.get("/admin/").content.decode()
    client.cookies["theme"] = '"><script>'
    assert "<script>" not in client.get("/admin/").content.decode()


def test_groups_are_gone(house: House):
    assert "/admin/auth/group/" not in get(house, "/admin/")
    assert house.client("operator").get("/admin/auth/group/").status_code == 404
    assert 'name="groups"' not in get(house, f"/admin/orchestration/user/{house.member.pk}/change/")


def test_a_swarm_leads_to_its_page(house: House):
    link = f'href="/swarms/{house.swarm.public_id}/"'
    assert link in get(house, "/admin/orchestration/swarm/")
    assert link in get(house, f"/admin/orchestration/swarm/{house.swarm.pk}/change/")


@pytest.mark.parametrize("theme", range(2), ids=THEMES)
@pytest.mark.parametrize(
    ("ink", "surface"),
    [
        ("body-fg", "body-bg"),
        ("body-quiet-color", "body-bg"),
        ("body-fg", "darkened-bg"),
        ("link-fg", "body-bg"),
        ("link-fg", "darkened-bg"),
        ("breadcrumbs-fg", "breadcrumbs-bg"),
        ("header-link-color", "header-bg"),
        ("button-fg", "button-bg"),
    ],
)
def test_it_can_be_read(ink: str, surface: str, theme: int):
    assert contrast(TOKENS[OURS[ink]][theme], TOKENS[OURS[surface]][theme]) >= TEXT


@pytest.mark.parametrize("theme", range(2), ids=THEMES)
@pytest.mark.parametrize(
    "pair",
    [
        ("text", "message-success-bg"),
        ("text", "message-warning-bg"),
        ("text", "message-error-bg"),
        ("text", "selected-row"),
        ("error-fg", "page"),
        ("on-accent", "close-button-bg"),
        ("on-accent", "delete-button-bg"),
    ],
)
def test_its_own_pairs_can_be_read(pair: tuple[str, str], theme: int):
    known = TOKENS | colours(ADMIN)
    assert contrast(known[pair[0]][theme], known[pair[1]][theme]) >= TEXT


@pytest.fixture
def page(context: BrowserContext, live_house: House, server: LiveServer) -> Page:
    sign_in(context, live_house.client("operator"), server.url)
    return context.new_page()


@pytest.mark.browser
def test_the_browser_shows_it_in_the_chosen_theme_and_refuses_nothing(page: Page, live_house: House):
    make.make_attempt(make.make_subtask(live_house.swarm))
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.goto("/admin/")
    for theme, background in (("Dark", "rgb(13, 16, 20)"), ("Light", "rgb(249, 250, 252)")):
        page.get_by_role("button", name=f"{theme} theme").click()
        page.wait_for_url("**/admin/")
        header = page.locator("#header").bounding_box()
        assert header is not None
        assert header["height"] < 100, "what is hidden takes no room"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == background
    for path in ("swarm/", "attempt/", "user/", f"swarm/{live_house.swarm.pk}/change/"):
        page.goto(f"/admin/orchestration/{path}")
    assert not said


@pytest.mark.browser
@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing(page: Page, live_house: House, theme: str, server: LiveServer):
    page.context.add_cookies([{"name": "theme", "value": theme, "url": server.url}])
    row = make.make_entry(make.make_attempt(make.make_subtask(live_house.swarm), status="complete"), status="landed")
    make.make_gate(live_house.swarm, row)
    make.make_event(live_house.swarm, "subtask.complete", name="x")
    found = []
    for path in AXED:
        page.goto(f"/admin/{path.format(user=live_house.member.pk)}")
        result = Axe().run(page, options=RULES)
        found += [f"{path}: {one['id']}: {one['nodes'][0]['html'][:200]}" for one in result.response["violations"]]
    assert not found, "\n".join(found)


def test_gate_runs_can_be_looked_at_and_not_changed(house: House):
    run = make.make_gate(house.swarm, status="red", flake=True)
    assert run.public_id in get(house, "/admin/orchestration/gaterun/?flake__exact=1")
    assert 'name="_save"' not in get(house, f"/admin/orchestration/gaterun/{run.pk}/change/")
