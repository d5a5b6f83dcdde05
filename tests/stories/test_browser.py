"""A person in Chromium: signs in with the one-time link, hands in a request, and watches it finish without a reload."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from orchestration.demo.service import Answer, Request
from tests.servers import free_port
from tests.stories.rig import Installation, handoff, make_repository, plan, task, team

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.long]

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
HURRIED = ("tests/stories/hurried.py", "3")  # at its own speed the demo takes a minute


@contextmanager
def up(installation: Installation, *arguments: str, program: Sequence[str] = ("manage.py",)) -> Iterator[str]:
    """`manage.py up`; gives the one-time link that it printed, and stops it as Ctrl+C does."""
    with installation.start("up", "--port", str(free_port()), *arguments, program=program) as process:
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
    with up(installation, "--demo", program=HURRIED) as link:
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


def with_ping(script: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
    """The same model, which also answers the test of a page."""
    pong = Answer(calls=(("ping", {"word": "hello"}),))
    return lambda request: pong if "ping" in request.tools else script(request)


def connect_model(page: Page, base_url: str) -> None:
    """From the first steps on: chooses the kind of service, finds its model by a test, and saves what works."""
    page.get_by_role("link", name="Connect a model").click()
    page.get_by_role("link", name="Ollama").click()
    page.get_by_label("Address").fill(base_url)
    page.get_by_role("button", name="Test", exact=True).click()
    page.get_by_role("button", name="scripted", exact=True).click()
    expect(page.get_by_role("status").filter(has_text="ollama works")).to_be_visible(timeout=MINUTES_MS)
    page.get_by_role("button", name="Save", exact=True).click()


def connect_repository(page: Page, path: Path) -> None:
    """Its branch is wrong at first; then its check is found and ticked."""
    page.get_by_label("URL or local path").fill(str(path))
    page.get_by_label("Target branch").fill("trunk")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.get_by_text("There is no branch 'trunk': there are main.")).to_be_visible(timeout=MINUTES_MS)
    page.get_by_label("Target branch").fill("")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.get_by_label("make test")).to_be_checked(timeout=MINUTES_MS)
    page.get_by_role("button", name="Save", exact=True).click()


def test_from_the_first_steps_to_a_result_that_landed_in_the_browser_alone(install, page, tmp_path):
    path = make_repository(tmp_path / "project", {"README.md": "# A project\n", "Makefile": "test:\n\tcat README.md\n"})
    work = {"greet": [("write_file", {"path": "greeting.txt", "content": "hello\n"}), handoff(summary="Greeted.")]}
    installation = install(with_ping(team([plan(task("greet"))], work.__getitem__, delay_s=0.3)))
    installation.more = {"OPENAI_BASE_URL": "", "OPENAI_MODEL": ""}  # nothing is told by the environment
    with up(installation) as link:
        address = sign_in(page, link)
        page.goto(address)
        connect_model(page, installation.service.base_url)
        page.wait_for_url(f"{address}/repositories/new/")
        connect_repository(page, path)
        page.wait_for_url(re.compile(r"/swarms/new/\?repository="))
        page.get_by_label(re.compile("^Request", re.IGNORECASE)).fill("Greet the reader.")
        page.locator("main form button[type=submit]").first.click()
        page.wait_for_url(re.compile(r"/swarms/(?!new)\w+/$"))
        stays(page)
        expect(page.locator("#swarm-header")).to_contain_text("Succeeded", timeout=MINUTES_MS)
        assert_never_reloaded(page)
        page.locator("#swarm-plan").get_by_role("link", name=re.compile("greet")).first.click()
        expect(page.locator("main")).to_contain_text("greeting.txt")
        expect(page.locator("main")).to_contain_text("Greeted.")
