"""The endpoints of the environment are registered at the start, and what people set on them stays."""

from __future__ import annotations

import pytest
from pytest_django.fixtures import Settings

from orchestration.management.bootstrap import bootstrap
from orchestration.models import ModelEndpoint

OPENAI = {"base_url": "http://127.0.0.1:1/v1", "model": "m-1", "key_env": ""}
ANTHROPIC = {"base_url": "https://api.anthropic.com", "model": "m-2", "key_env": "ANTHROPIC_API_KEY"}

pytestmark = pytest.mark.django_db


def start(settings: Settings, openai: dict[str, str] | None, anthropic: dict[str, str] | None) -> list[tuple[str, ...]]:
    settings.SWARM = settings.SWARM | {"OPENAI_ENDPOINT": openai, "ANTHROPIC_ENDPOINT": anthropic}
    bootstrap()
    rows = ModelEndpoint.objects.order_by("name")
    return [(row.name, row.kind, row.base_url, row.model, row.key_env) for row in rows]


def test_each_kind_that_the_environment_describes_is_registered(settings: Settings):
    assert start(settings, None, None) == []
    assert start(settings, OPENAI, ANTHROPIC) == [
        ("anthropic", "anthropic", "https://api.anthropic.com", "m-2", "ANTHROPIC_API_KEY"),
        ("openai", "openai", "http://127.0.0.1:1/v1", "m-1", ""),
    ]


def test_prices_and_roles_stay_and_the_model_follows(settings: Settings):
    start(settings, None, ANTHROPIC)
    ModelEndpoint.objects.update(input_price="3", roles="planner")
    start(settings, None, ANTHROPIC | {"model": "m-3"})
    row = ModelEndpoint.objects.get()
    assert (row.model, row.input_price, row.roles) == ("m-3", 3, "planner")
