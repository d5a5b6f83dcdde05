"""After a test with real commits the database is as it was after the migrations."""

from __future__ import annotations

from typing import cast

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.test import TransactionTestCase

from orchestration.models import Swarm
from tests import emptying, factories


@pytest.fixture
def emptied(transactional_db: None) -> None:
    subtask = factories.make_subtask(factories.make_swarm(factories.make_repository()))
    factories.make_handoff(factories.make_attempt(subtask))
    emptying.empty(cast("TransactionTestCase", None))


def test_no_row_is_left(emptied: None):
    kept = {ContentType, Permission}
    assert [model for model in apps.get_models() if model not in kept and model._base_manager.exists()] == []


def test_what_the_migrations_made_is_left(emptied: None):
    assert ContentType.objects.get_for_model(Swarm) in ContentType.objects.all()
    assert Permission.objects.filter(content_type__model="swarm").exists()


def test_it_takes_the_place_of_djangos_own():
    assert vars(TransactionTestCase)["_fixture_teardown"] is emptying.empty


@pytest.mark.parametrize("time", ["first", "second"])
def test_a_test_finds_nothing_of_the_one_before(transactional_db: None, time: str):
    assert not Swarm.objects.exists()
    factories.make_swarm(factories.make_repository())
