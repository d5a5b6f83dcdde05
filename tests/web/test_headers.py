"""What every response carries, and the pages for when something is wrong."""

from __future__ import annotations

import re

import pytest
from django.conf import settings
from django.test import Client
from pytest_django.fixtures import Settings

from orchestration.web.headers import POLICY
from tests.web.conftest import House

INLINE = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", re.IGNORECASE)


def test_every_page_has_the_policy(client: Client, db: None):
    for path in ("/sign-in/", "/", "/nowhere/", "/static/css/app.css"):
        response = client.get(path)
        response.close()
        assert response.headers["Content-Security-Policy"] == POLICY


def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere():
    assert "unsafe" not in POLICY
    assert "http" not in POLICY
    assert "*" not in POLICY


def test_no_template_has_anything_inline():
    templates = list(settings.BASE_DIR.glob("templates/**/*.html"))
    assert templates
    assert not [path.name for path in templates if INLINE.search(path.read_text())]


@pytest.mark.parametrize("planted", ["<script>x</script>", '<p style="x">', '<p onclick="x">', "<style>"])
def test_the_search_for_inline_things_finds_them(planted: str):
    assert INLINE.search(planted)


def test_a_missing_page_says_so(client: Client, db: None):
    response = client.get("/nowhere/")
    assert response.status_code == 404
    assert "There is no such page" in response.content.decode()


def test_a_stale_form_says_what_to_do(house: House):
    client = Client(enforce_csrf_checks=True)
    client.force_login(house.owner)
    response = client.post("/sign-out/")
    assert response.status_code == 403
    assert "This form has grown stale" in response.content.decode()


def test_an_error_of_ours_says_so_and_shows_no_trace(house: House, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("orchestration.web.pages.filter_of", broken)
    client = house.client("owner")
    client.raise_request_exception = False
    response = client.get("/")
    assert response.status_code == 500
    page = response.content.decode()
    assert "Something broke on our side" in page
    assert "secret detail" not in page


def test_a_wrong_host_is_refused(client: Client, db: None, settings: Settings):
    settings.ALLOWED_HOSTS = ["swarm.example"]
    response = client.get("/sign-in/", headers={"host": "evil.example"})
    assert response.status_code == 400
    assert "could not be read" in response.content.decode()
