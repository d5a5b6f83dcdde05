"""What a load balancer asks, without signing in."""

from __future__ import annotations

import pytest
from django.db import OperationalError

from orchestration.reads import health


def test_alive_needs_nobody_and_no_database(client):
    answer = client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"alive\n")


@pytest.mark.django_db
def test_ready_where_everything_answers(client):
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "troubles": {}}


@pytest.mark.django_db
def test_a_database_that_is_away_is_named(client, monkeypatch):
    class Away:
        def cursor(self):
            raise OperationalError("no such host")

    monkeypatch.setattr(health, "connection", Away())
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["troubles"] == {"database": "The database does not answer: no such host"}


@pytest.mark.django_db
def test_a_broker_that_is_away_is_named(client, monkeypatch):
    monkeypatch.setattr(health.current_app.conf, "broker_url", "redis://127.0.0.1:1/0")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "broker" in answer.json()["troubles"]


@pytest.mark.django_db
def test_a_data_directory_that_cannot_be_written_is_named(client, settings, tmp_path):
    settings.DATA_DIR = tmp_path / "gone"
    assert "data directory" in client.get("/readyz").json()["troubles"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_only_looking_is_allowed(client, path):
    assert client.post(path).status_code == 405
