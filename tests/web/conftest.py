"""For pages: a template that names something unknown is a failure, and a real server for a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.conf import settings
from django.core.cache import cache
from django.template import engines
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright
from typing_extensions import override

from orchestration.adapters import storage
from orchestration.domain.rights import Role
from orchestration.models import Repository, Swarm, Team, User
from orchestration.web import fragments
from tests import factories

settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one is slow on purpose

from tests.web.server import LiveServer  # noqa: E402 - the application reads the settings once

ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
expect.set_options(timeout=60_000)  # bounds a broken machine; a busy one is only slow


class Unknown(str):
    """What Django writes where a template names something that is not there."""

    __slots__ = ()

    @override
    def __contains__(self, part: object) -> bool:
        return part == "%s"

    @override
    def __mod__(self, name: object) -> str:
        raise AssertionError(f"a template names {name!r}, which is not there")


@pytest.fixture(autouse=True)
def strict_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines["django"].engine, "string_if_invalid", Unknown("%s"))


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    """Failed sign-ins and renderings of an earlier test are none of this one's business."""
    cache.clear()
    fragments._kept.clear()


@dataclass
class House:
    """A team with one person in every role, a stranger in a team of her own, and an operator."""

    team: Team
    repository: Repository
    swarm: Swarm
    viewer: User
    member: User
    maintainer: User
    owner: User
    stranger: User
    operator: User

    def client(self, who: str) -> Client:
        client = Client()
        if who != "anonymous":
            client.force_login(getattr(self, who))
        return client


@pytest.fixture
def house(db: None) -> House:
    team = factories.make_team("Bakery")
    people = {role.value: factories.join(factories.make_user(role.value), team, role) for role in Role}
    stranger = factories.join(factories.make_user("stranger"), factories.make_team("Elsewhere"), Role.OWNER)
    repository = factories.make_repository(team, name="shop")
    swarm = factories.make_swarm(repository, requester=people["member"])
    operator = factories.make_user("operator", is_staff=True, is_superuser=True)
    return House(team, repository, swarm, **people, stranger=stranger, operator=operator)


@pytest.fixture(scope="session")
def server() -> LiveServer:
    return LiveServer()


@pytest.fixture
def live_house(transactional_db: None, house: House) -> House:
    return house


@pytest.fixture
def browser(live_house: House, chromium: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    """One a test, and gone before the database is: Playwright runs an event loop in this thread, which other
    tests need and which Django takes for code that must not ask the database.
    """
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture
def context(browser: Browser, server: LiveServer) -> Iterator[BrowserContext]:
    opened = browser.new_context(base_url=server.url, viewport={"width": 1440, "height": 900})
    opened.set_default_timeout(60_000)
    yield opened
    opened.close()


def sign_in(context: BrowserContext, client: Client, url: str) -> None:
    """The session of a test client, handed to the browser."""
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": url}])


@pytest.fixture
def unconfined(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A request is only taken where a sandbox works, or where "none" is asked for by name."""
    monkeypatch.setitem(settings.SWARM, "SANDBOX", "none")
    storage.sandbox.cache_clear()
    yield
    storage.sandbox.cache_clear()
