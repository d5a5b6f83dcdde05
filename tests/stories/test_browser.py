"""A person in Chromium: signs in with the one-time link, hands in a request, and watches it finish without a reload."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.servers import free_port
from tests.stories.rig import Installation, handoff, make_repository, plan, task, team

pytestmark = [pytest.mark.browser, pytest.mark.sandbox]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=60_000)  # bounds a broken machine; a busy one is only slow
MINUTES_MS = 180_000


@contextmanager
def up(installation: Installation, *arguments: str) -> Iterator[str]:
    """`manage.py up`; gives the one-time link that it printed, and stops it as Ctrl+C does."""
    with installation.start("up", "--port", str(free_port()), *arguments) as process:
        heard = threading.Thread(target=process.stderr.read, daemon=True)  # a full pipe would stop the server
        heard.start()
        lines = iter(process.stdout.readline, "")
        yield next(found.group() for line in lines if (found := re.search(r"http://\S+/sign-in/\S+", line)))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        heard.join()


@pytest.fixture
def page(chromium) -> Iterator[Page]:
    """A page that fails the test on every error of a script."""
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        opened = browser.new_page()
        opened.set_default_timeout(60_000)
        opened.on("pageerror", lambda error: errors.append(str(error)))
        yield opened
        browser.close()
    assert errors == []


def sign_in(page: Page, link: str) -> str:
    """Uses the link and sets a password; gives the site's address."""
    page.goto(link)
    page.locator("main form button").first.click()
    page.get_by_label("New password", exact=True).fill("correct-horse-battery")
    page.get_by_label(re.compile("again|confirm", re.IGNORECASE)).fill("correct-horse-battery")
    page.get_by_role("button", name=re.compile("set|change|save", re.IGNORECASE)).click()
    return link.split("/sign-in/", maxsplit=1)[0]


def stays(page: Page) -> None:
    """Marks the document: a reload would lose the mark."""
    page.evaluate("window.marked = true")


def assert_never_reloaded(page: Page) -> None:
    assert page.evaluate("window.marked") is True


def test_the_demo_button_takes_a_swarm_to_succeeded_before_ones_eyes(install, page):
    installation = install(team([plan(task("one"))], lambda _: [handoff()]))
    with up(installation, "--demo") as link:
        address = sign_in(page, link)
        page.goto(address)
        page.get_by_role("button", name="Run the demo").click()
        page.wait_for_url(re.compile(r"/swarms/\w+/$"))
        stays(page)
        expect(page.get_by_text("demo model").first).to_be_visible()
        expect(page.locator("#swarm-agents")).to_contain_text(re.compile("[4-9] at work"), timeout=MINUTES_MS)
        expect(page.locator("#swarm-header")).to_contain_text("Succeeded", timeout=MINUTES_MS)
        assert_never_reloaded(page)
        shown = installation.swarm("show", page.url.rstrip("/").rsplit("/", 1)[1], "--json").last
    assert shown["status"] == "succeeded"
    assert shown["verified"] is True
    assert shown["landed"] >= 8
    attempts = [attempt for row in shown["subtasks"] for attempt in row["attempts"]]
    most = max(
        sum(other["started_at"] <= one["started_at"] < other["finished_at"] for other in attempts) for one in attempts
    )
    assert most >= 4


def test_a_request_that_is_handed_in_on_the_page_is_seen_to_land(install, page, tmp_path):
    repository = make_repository(tmp_path / "project", {"README.md": "# A project\n"})
    work = {"greet": [("write_file", {"path": "greeting.txt", "content": "hello\n"}), handoff(summary="Greeted.")]}
    installation = install(team([plan(task("greet"))], work.__getitem__, delay_s=0.3))
    installation.more = {"SWARM_LOCAL_REPOSITORIES": str(tmp_path)}
    with up(installation) as link:
        address = sign_in(page, link)
        page.goto(f"{address}/repositories/new/")
        page.get_by_label("Name").fill("project")
        page.get_by_label(re.compile("URL|address|path", re.IGNORECASE)).first.fill(str(repository))
        page.locator("main form button[type=submit]").first.click()
        page.goto(f"{address}/swarms/new/")
        page.get_by_label("Repository").select_option(label="project")
        page.get_by_label(re.compile("^Request", re.IGNORECASE)).fill("Greet the reader.")
        page.locator("main form button[type=submit]").first.click()
        page.wait_for_url(re.compile(r"/swarms/(?!new)\w+/$"))
        stays(page)
        expect(page.locator("#swarm-header")).to_contain_text("Succeeded", timeout=MINUTES_MS)
        expect(page.locator("main")).to_contain_text(re.compile("unverified", re.IGNORECASE))
        assert_never_reloaded(page)
        page.locator("#swarm-plan").get_by_role("link", name=re.compile("greet")).first.click()
        expect(page.locator("main")).to_contain_text("greeting.txt")
        expect(page.locator("main")).to_contain_text("Greeted.")
