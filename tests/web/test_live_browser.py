"""Live in Chromium: the page changes by itself, and nothing that a person is doing is lost by it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Page, WebSocketRoute, expect

from orchestration.domain.states import AttemptStatus, SubtaskStatus, SwarmStatus
from orchestration.models import Attempt, Subtask, Swarm
from orchestration.stages import steer
from orchestration.stages.transition import advance, note
from tests import factories as make
from tests.web import scenes
from tests.web.conftest import House, sign_in
from tests.web.server import LiveServer

pytestmark = pytest.mark.browser
LIVE = "#live[data-live=live]"


@pytest.fixture
def busy(live_house: House) -> Swarm:
    return scenes.busy_swarm(live_house.repository, requester=live_house.member)


@pytest.fixture
def page(context: BrowserContext, live_house: House, server: LiveServer, busy: Swarm) -> Page:
    sign_in(context, live_house.client("member"), server.url)
    opened = context.new_page()
    opened.goto(f"/swarms/{busy.public_id}/")
    expect(opened.locator(LIVE)).to_have_text("live")
    opened.evaluate("window.marked = true")
    return opened


def never_reloaded(page: Page) -> None:
    assert page.evaluate("window.marked") is True


def finish_docs(swarm: Swarm) -> Subtask:
    """What the engine would do: the agent hands off, and the work lands."""
    subtask = Subtask.objects.get(swarm=swarm, name="docs")
    attempt = Attempt.objects.get(subtask=subtask, status="running")
    assert advance(swarm, attempt, AttemptStatus.COMPLETE)
    assert advance(swarm, subtask, SubtaskStatus.COMPLETE, reason="Nothing was to land.")
    return subtask


def test_it_shows_what_happens_without_a_reload(page: Page, busy: Swarm):
    finish_docs(busy)
    expect(page.locator("#node-docs")).to_have_class(re.compile("state-done"))
    expect(page.locator("#swarm-header")).to_contain_text("5 of 14")
    expect(page.locator("#swarm-activity")).to_contain_text("docs is complete: Nothing was to land.")
    expect(page.locator("#swarm-agents")).to_contain_text("1 at work")
    never_reloaded(page)


def test_focus_on_a_node_open_folds_and_the_scroll_stay(page: Page, busy: Swarm):
    page.locator("#plan-list > summary").click()
    page.set_viewport_size({"width": 390, "height": 900})
    page.locator(".graph-scroll").evaluate("element => { element.scrollLeft = 120 }")
    page.locator("#node-docs").evaluate("element => { element.focus({ preventScroll: true }) }")
    finish_docs(busy)
    expect(page.locator("#node-docs")).to_have_class(re.compile("state-done"))
    assert page.evaluate("document.activeElement.id") == "node-docs"
    assert page.locator("#plan-list").evaluate("element => element.open")
    assert page.locator(".graph-scroll").evaluate("element => element.scrollLeft") == 120
    never_reloaded(page)


def test_half_typed_text_stays(page: Page, live_house: House, busy: Swarm):
    page.goto("/")
    expect(page.locator(LIVE)).to_be_visible()
    page.get_by_label("Title").fill("half a wo")
    steer.pause(busy, live_house.member)
    expect(page.locator("#column-needs")).to_contain_text("Paused by member.")
    assert page.get_by_label("Title").input_value() == "half a wo"
    assert page.evaluate("document.activeElement.name") == "q"


def test_a_fold_that_was_closed_stays_closed(page: Page, busy: Swarm):
    page.locator("#request-fold > summary").click()
    finish_docs(busy)
    expect(page.locator("#node-docs")).to_have_class(re.compile("state-done"))
    assert not page.locator("#request-fold").evaluate("element => element.open")


def test_buttons_appear_live_and_work(page: Page, live_house: House, busy: Swarm):
    steer.pause(busy, live_house.member)
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    busy.refresh_from_db()
    assert busy.status == SwarmStatus.RUNNING


def test_the_end_is_said_once_for_those_who_listen(page: Page, live_house: House, busy: Swarm):
    steer.cancel(busy, live_house.member)
    expect(page.locator("#status")).to_contain_text("Cancelled.")
    expect(page.locator("#swarm-header")).to_contain_text("Cancelled by member.")
    assert page.locator("[aria-live=polite], [aria-live=assertive]").count() == 0


def test_what_a_model_wrote_arrives_as_text(page: Page, busy: Swarm):
    attempt = Attempt.objects.filter(subtask__swarm=busy, status="running").first()
    assert attempt is not None
    evil = '<img src=x onerror="document.title=\'broken\'"><hx-partial hx-target="#main">gone</hx-partial>'
    Attempt.objects.filter(pk=attempt.pk).update(doing=evil)
    note(busy, "swarm.noted", reason=evil)
    expect(page.locator("#swarm-agents")).to_contain_text("<img src=x")
    expect(page.locator("#swarm-activity")).to_contain_text("<hx-partial")
    assert page.title() != "broken"
    expect(page.locator("#swarm-plan")).to_be_visible()


def test_a_lost_connection_is_a_word_and_heals_with_what_was_missed(
    context: BrowserContext, live_house: House, server: LiveServer, busy: Swarm
):
    sign_in(context, live_house.client("member"), server.url)
    page = context.new_page()
    routes: list[WebSocketRoute] = []
    refused = [False]

    def carry(route: WebSocketRoute) -> None:
        if refused[0]:
            route.close(code=4000)
        else:
            routes.append(route)
            route.connect_to_server()

    page.route_web_socket(re.compile("/ws/"), carry)
    page.goto(f"/swarms/{busy.public_id}/")
    expect(page.locator(LIVE)).to_be_visible()
    refused[0] = True
    routes[0].close(code=4000)
    expect(page.locator("#live")).to_have_text("reconnecting…")
    finish_docs(busy)
    refused[0] = False
    expect(page.locator(LIVE)).to_have_text("live")
    expect(page.locator("#node-docs")).to_have_class(re.compile("state-done"))


def test_times_count_on_their_own(page: Page, busy: Swarm):
    """Between messages too: an elapsed time that stands still looks like a page that is dead."""
    time = page.locator("#swarm-agents time[data-since]").first
    before = time.inner_text()
    expect(time).not_to_have_text(before)


def test_the_subtask_page_is_live_too(page: Page, busy: Swarm):
    subtask = Subtask.objects.get(swarm=busy, name="docs")
    page.goto(f"/subtasks/{subtask.public_id}/")
    expect(page.locator(LIVE)).to_be_visible()
    attempt = Attempt.objects.get(subtask=subtask, status="running")
    make.make_step(attempt, text="Now I will write the page.")
    note(busy, "attempt.progressed", name="docs", number=attempt.number)
    expect(page.locator("#subtask-attempt")).to_contain_text("Now I will write the page.")


def test_keys_lead_everywhere_and_can_be_turned_off(page: Page, busy: Swarm):
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.matches('a[data-item]')")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.get_by_label("Single keys act as shortcuts").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_hidden()
    page.evaluate("localStorage.clear()")
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url(re.compile(r":\d+/$"))
    page.keyboard.press("c")
    page.wait_for_url(re.compile("/swarms/new/$"))
    page.get_by_label("Request", exact=True).fill("")
    page.keyboard.type("gs?c")
    assert page.get_by_label("Request", exact=True).input_value() == "gs?c"


def test_the_theme_changes_without_a_reload_and_stays(page: Page, busy: Swarm):
    page.get_by_role("button", name="Dark theme").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    never_reloaded(page)
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.get_by_role("button", name="Dark theme").get_attribute("aria-pressed") == "true"
