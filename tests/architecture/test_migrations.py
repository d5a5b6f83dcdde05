"""The migrations and the models say the same."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command
from django.db import models

from orchestration.models import Team


@pytest.mark.django_db
def test_no_migration_is_missing():
    said = StringIO()
    try:
        call_command("makemigrations", "--check", "--dry-run", stdout=said)
    except SystemExit:
        pytest.fail(f"The models changed without a migration:\n{said.getvalue()}")


@pytest.mark.django_db
def test_a_field_without_a_migration_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Team._meta.get_field("name"), "max_length", 81)
    with pytest.raises(SystemExit):
        call_command("makemigrations", "--check", "--dry-run", stdout=StringIO())
    assert isinstance(Team._meta.get_field("name"), models.CharField)
