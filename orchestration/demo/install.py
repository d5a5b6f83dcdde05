"""Puts the demo in its place: the repository on disk, its rows, and the service behind its endpoint."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from orchestration.demo.repository import BRANCH, CHECKS, make_repository
from orchestration.demo.service import ScriptedService
from orchestration.demo.story import story
from orchestration.domain.demonstration import ENDPOINT_NAME, MODEL, REPOSITORY_NAME
from orchestration.models import ModelEndpoint, Repository, Team

# No service listens here; the address is written anew whenever the demo's service starts.
NOT_STARTED = "http://127.0.0.1:1/v1"


def install(team: Team, data_dir: Path) -> tuple[Repository, ModelEndpoint]:
    """Make what is missing and correct what has moved; may be called at every start."""
    path = data_dir.resolve() / "demo" / "larder"
    make_repository(path)
    repository, _ = Repository.objects.update_or_create(
        team=team,
        is_demo=True,
        defaults={"name": REPOSITORY_NAME, "url": str(path), "branch": BRANCH, "checks": list(CHECKS)},
    )
    facts = {
        "name": ENDPOINT_NAME,
        "kind": ModelEndpoint.Kind.OPENAI,
        "model": MODEL,
        "key_env": "",
        "input_price": Decimal("0.50"),
        "output_price": Decimal("1.50"),
        "weight": 0,
        "enabled": True,
    }
    endpoint, _ = ModelEndpoint.objects.update_or_create(
        team=team, is_demo=True, defaults=facts, create_defaults=facts | {"base_url": NOT_STARTED}
    )
    return repository, endpoint


def start_service(endpoint: ModelEndpoint, *, speed: float = 1.0) -> ScriptedService:
    """Start the demo's model on a free port of loopback and write its address to the endpoint's row."""
    service = ScriptedService(story(speed), model=MODEL)
    endpoint.base_url = service.base_url
    endpoint.save(update_fields=["base_url"])
    return service
