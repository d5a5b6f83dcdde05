"""Every page in a real browser, in both themes and on a phone: axe finds nothing, nothing is cut off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page

from orchestration.models import PlanIteration, Subtask, Swarm
from tests import factories as make
from tests.web import scenes
from tests.web.conftest import House, sign_in
from tests.web.server import LiveServer

pytestmark = pytest.mark.browser
# What is not here is not asked for: axe would look for the imported style sheets in the wrong place.
ASKED: dict[str, Any] = {"preload": False, "resultTypes": ["violations"]}
RULES = ASKED | {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
COLOURS = ASKED | {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
STATUS = {"/nowhere/": 404, "/sign-in/MQ/over/": 410}
PHONE, DESK = 390, 1440


@pytest.fixture
def paths(live_house: House) -> list[str]:
    """Every page, with something to show."""
    swarm = scenes.busy_swarm(live_house.repository, requester=live_house.member)
    docs = Subtask.objects.get(swarm=swarm, name="docs")
    survey = Subtask.objects.get(swarm=swarm, name="survey")
    for attempt in (docs.attempts.last(), survey.attempts.last()):
        assert attempt is not None
        make.make_step(attempt, text="I will read the settings first.")
        make.make_step(attempt, tool="bash", arguments={"command": "make docs"}, text="no target", ok=False)
        make.make_handoff(attempt)
        make.make_check(swarm, attempt=attempt)
        make.make_artifact(swarm, attempt=attempt)
        make.make_shared(attempt, key=f"interface/of-the-session-store/{attempt.pk}", tags=["interface"])
    asking = docs.attempts.last()
    assert asking is not None
    make.make_question(
        swarm, asking, text="A word-without-any-break-" + "x" * 90, options=["Yes, as it is", "No " * 20]
    )
    make.make_question(swarm, status="answered", answer="Tabs.", answered_by=live_house.member)
    make.make_message(swarm, "Use tabs, and https://example.org/" + "y" * 90, docs, None)
    over = make.make_swarm(live_house.repository, status="succeeded", verified=False, status_reason="No checks.")
    done = make.make_attempt(make.make_subtask(over, status="complete"), status="complete")
    make.make_entry(done, status="landed")
    make.make_check(over, passed=False, exit_code=1)
    make.make_token(live_house.owner)
    gates_of(swarm)
    make.make_agent(live_house.team)
    awaiting = scenes.awaiting_swarm(live_house.repository)
    budget = {"config": swarm.config | {"budget_usd": "5"}, "stopped_by": "swarm", "status_reason": "It is used up."}
    stopped = make.make_swarm(live_house.repository, status="paused", **budget)
    return [
        "/",
        "/?q=nothing-at-all",
        "/swarms/new/",
        f"/swarms/{swarm.public_id}/",
        f"/swarms/{over.public_id}/",
        f"/swarms/{swarm.public_id}/cancel/",
        f"/swarms/{swarm.public_id}/limits/",
        f"/swarms/{swarm.public_id}/queue/",
        f"/repositories/{live_house.repository.public_id}/queue/",
        f"/swarms/{stopped.public_id}/",
        f"/swarms/{awaiting.public_id}/",
        f"/swarms/{awaiting.public_id}/plan/",
        f"/swarms/{awaiting.public_id}/subtasks/new/",
        f"/subtasks/{awaiting.subtasks.get(name='metrics').public_id}/edit/",
        f"/swarms/{swarm.public_id}/subtasks/",
        f"/subtasks/{docs.public_id}/",
        f"/subtasks/{survey.public_id}/",
        "/repositories/",
        "/repositories/new/",
        f"/repositories/{live_house.repository.public_id}/",
        *models_of(live_house),
        "/profile/",
        "/nowhere/",
    ]


def models_of(house: House) -> list[str]:
    """The pages of models of every look, and a repository with rules."""
    model = make.make_endpoint(house.team, name="local", key_kept=True, roles="worker, planner")
    make.make_endpoint(house.team, name="off", enabled=False, test_works=False, test_said="No. " * 40)
    house.repository.merge_policies = [["docs/**", "union"], ["a.lock", "regenerate", "make " + "x" * 90]]
    house.repository.save()
    edit = f"/repositories/{house.repository.public_id}/edit/"
    return ["/models/", f"/models/{model.public_id}/", edit]


def gates_of(swarm: Swarm) -> None:
    """A red gate, the search below it, one by chance and one that runs."""
    swarm.config |= {"gate": "gated"}
    swarm.queue_reason = "The branch itself is red."
    swarm.save()
    rows = list(swarm.merge_entries.all())
    whole, half = rows[:4], rows[:2]
    result = {"command": "make test", "passed": False, "ending": "exit code 1", "duration_ms": 800}
    make.make_gate(swarm, *whole, status="red", results=[result], log_tail="E   " + "x" * 200, status_reason="No.")
    make.make_gate(swarm, *half, status="red", why="to find who is red", flake=True)
    make.make_gate(swarm, rows[0], why="to find who is red")
    make.make_gate(swarm, *rows, status="running", lease_token="t")
    conflict = swarm.merge_entries.get(status="conflict")
    for rung, status in (("continued", "failed"), ("fresh", "lost")):
        make.make_attempt(conflict.subtask, status=status, rung=rung, resolves=conflict, status_reason="It gave up.")


@pytest.fixture
def page(context: BrowserContext, live_house: House, server: LiveServer) -> Page:
    sign_in(context, live_house.client("owner"), server.url)
    return context.new_page()


def go(page: Page, path: str) -> None:
    response = page.goto(path)
    assert response is not None
    assert response.status == STATUS.get(path, 200), path


def findings(page: Page, path: str) -> list[str]:
    go(page, path)
    return here(page, path)


def here(page: Page, path: str, options: dict[str, Any] = RULES) -> list[str]:
    page.locator("details:not(.menu)").evaluate_all("folds => folds.forEach(fold => { fold.open = true })")
    result = Axe().run(page, options=options)
    return [
        f"{path}: {found['id']}: {node['html'][:200]}"
        for found in result.response["violations"]
        for node in found["nodes"]
    ]


def too_wide(page: Page, path: str) -> list[str]:
    found = []
    for width in (PHONE, DESK):
        page.set_viewport_size({"width": width, "height": 900})
        needed = page.evaluate("document.documentElement.scrollWidth")
        found += [f"{path}: {needed} wide at {width}"] if needed > width else []
    return found


def test_nothing_is_wrong_with_any_page(page: Page, paths: list[str]):
    """To go there is what takes the time: once for the widths, axe, the colours of the dark theme, and the scripts."""
    said: list[str] = []
    found: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    for path in paths:
        go(page, path)
        page.keyboard.press("?")
        page.keyboard.press("Escape")
        found += too_wide(page, path) + [f"{path}: {one}" for one in said if path not in STATUS]
        found += here(page, path)
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
        found += here(page, f"{path} in the dark", COLOURS)
        said.clear()  # axe's styles are refused
    assert not found, "\n".join(found)


def test_what_the_dark_theme_hides_is_found(page: Page):
    """The control."""
    go(page, "/repositories/")
    page.evaluate("document.querySelector('main h1').style.color = '#222'")
    assert here(page, "light", COLOURS) == []
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert here(page, "dark", COLOURS) != []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_before_one_is_signed_in(context: BrowserContext, server: LiveServer, theme: str):
    context.add_cookies([{"name": "theme", "value": theme, "url": server.url}])
    page = context.new_page()
    assert not [one for path in ("/sign-in/", "/sign-in/MQ/over/") for one in findings(page, path)]


def test_axe_finds_what_is_planted(page: Page):
    page.goto("/repositories/")
    page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=\"/static/favicon.svg\">')")
    assert "image-alt" in str(Axe().run(page, options=RULES).response["violations"])


def test_the_graph_scrolls_and_is_not_cut(page: Page, paths: list[str]):
    page.set_viewport_size({"width": PHONE, "height": 900})
    page.goto(paths[3])
    scroll = page.locator(".graph-scroll")
    assert scroll.evaluate("element => element.scrollWidth > element.clientWidth")
    last = page.locator("a.node").last
    last.scroll_into_view_if_needed()
    inner, outer = last.bounding_box(), scroll.bounding_box()
    assert inner is not None
    assert outer is not None
    assert inner["x"] + inner["width"] <= outer["x"] + outer["width"] + 1


def test_labels_fit_their_boxes(page: Page, paths: list[str]):
    page.goto(paths[3])
    spill = page.evaluate("""() => [...document.querySelectorAll('a.node')].filter(node => {
        const box = node.querySelector('rect').getBoundingClientRect();
        return [...node.querySelectorAll('text')].some(text => text.getBoundingClientRect().right > box.right);
    }).map(node => node.textContent)""")
    assert not spill


def test_a_page_without_script_still_works(browser_without_script: Page, live_house: House):
    page = browser_without_script
    page.goto(f"/swarms/{live_house.swarm.public_id}/")
    page.get_by_role("button", name="Pause").click()
    assert page.get_by_role("button", name="Resume").is_visible()
    page.get_by_role("link", name="Cancel…").click()
    page.get_by_role("button", name="Cancel the swarm").click()
    assert "Cancelled by owner." in page.content()
    page.get_by_role("button", name="Dark theme").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert not page.get_by_role("button", name="Keyboard shortcuts").is_visible()


@pytest.fixture
def browser_without_script(context: BrowserContext, live_house: House, server: LiveServer) -> Iterator[Page]:
    assert context.browser is not None
    plain = context.browser.new_context(base_url=server.url, java_script_enabled=False)
    sign_in(plain, live_house.client("owner"), server.url)
    yield plain.new_page()
    plain.close()


def test_a_plan_is_changed_and_approved_without_script(browser_without_script: Page, live_house: House):
    awaiting = scenes.awaiting_swarm(live_house.repository)
    page = browser_without_script
    page.goto(f"/swarms/{awaiting.public_id}/plan/")
    page.get_by_role("button", name="Remove metrics").click()
    assert page.get_by_text("4 of 6").is_visible()
    page.get_by_role("button", name="Approve the plan").click()
    assert page.get_by_role("button", name="Pause").is_visible()
    awaiting.refresh_from_db()
    assert awaiting.status == "running"


def test_an_empty_installation_has_no_findings(page: Page, live_house: House):
    PlanIteration.objects.all().delete()
    Swarm.objects.all().delete()
    make.make_repository(live_house.team, is_demo=True)
    make.make_endpoint(live_house.team, is_demo=True)
    assert not findings(page, "/")
    assert page.get_by_role("button", name="Run the demo").is_visible()
