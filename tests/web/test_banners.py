"""What is unsafe or missing in this installation stands above every page, for those who are signed in."""

from __future__ import annotations

import pytest
from django.test import Client

from orchestration.adapters import storage
from orchestration.adapters.sandbox import Unavailable
from orchestration.domain.errors import AdapterError, Failure
from orchestration.reads.artifacts import content_of
from orchestration.reads.safety import sandbox_warning
from tests import factories as make
from tests.web.conftest import House

WITHOUT = "Agents&#x27; commands run without a sandbox on this server"


class Working:
    name = "bubblewrap"
    isolated = True


def chosen(monkeypatch: pytest.MonkeyPatch, sandbox: object) -> None:
    monkeypatch.setattr(storage, "sandbox", lambda: sandbox)


@pytest.mark.usefixtures("unconfined")
def test_no_sandbox_is_told_on_every_page(house: House):
    client = house.client("viewer")
    for path in ("/", f"/swarms/{house.swarm.public_id}/", "/repositories/", "/nowhere/"):
        assert WITHOUT in client.get(path).content.decode()


@pytest.mark.usefixtures("unconfined")
def test_strangers_are_not_told_how_the_site_is_set_up(db: None):
    assert WITHOUT not in Client().get("/sign-in/").content.decode()


def test_a_missing_sandbox_says_how_to_install_one(house: House, monkeypatch: pytest.MonkeyPatch):
    chosen(monkeypatch, Unavailable("bwrap was not found. Install bubblewrap 0.8 or newer."))
    page = house.client("viewer").get("/").content.decode()
    assert "Only the built-in demo can run here." in page
    assert "Install bubblewrap 0.8 or newer." in page


def test_a_working_sandbox_needs_no_words(house: House, monkeypatch: pytest.MonkeyPatch):
    chosen(monkeypatch, Working())
    assert sandbox_warning() == ""
    assert "banner state-" not in house.client("viewer").get("/").content.decode()


def test_a_sandbox_that_cannot_be_chosen_is_told_too(monkeypatch: pytest.MonkeyPatch):
    def broken() -> None:
        raise AdapterError(Failure.PERMANENT, "The container sandbox is not there yet.")

    monkeypatch.setattr(storage, "sandbox", broken)
    assert sandbox_warning() == "The container sandbox is not there yet."


def test_an_artifact_comes_from_the_blob_store(house: House):
    sha256 = storage.blobs().put(b"what was found")
    artifact = make.make_artifact(house.swarm, sha256=sha256, size=14)
    assert content_of(artifact) == b"what was found"
    response = house.client("viewer").get(f"/artifacts/{artifact.public_id}/")
    assert response.content == b"what was found"
