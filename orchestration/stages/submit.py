"""Takes a request: validates it and its limits, chooses the model, and writes the swarm's row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from orchestration.adapters import storage
from orchestration.adapters.git import runner
from orchestration.domain.config import SwarmConfig, parse_config
from orchestration.domain.errors import InvalidInput
from orchestration.domain.gating import GateMode
from orchestration.domain.publishing import Landing
from orchestration.domain.requests import check_request, title_of
from orchestration.domain.rights import Action
from orchestration.domain.scheduling import passed
from orchestration.models import ModelEndpoint, Repository, Swarm, User
from orchestration.stages.employ import choose_agent
from orchestration.stages.prepare import address_of
from orchestration.stages.publish import require_landing
from orchestration.stages.transition import moves

NO_MODEL = (
    "No model is connected. Connect one on the page Models, or set OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL, "
    "or ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL and ANTHROPIC_MODEL, and start again."
)


def submit(
    requester: User, repository: Repository, request: str, config: Mapping[str, Any] | None = None, *, branch: str = ""
) -> Swarm:
    """The new swarm, already on its way. Raises InvalidInput with a sentence for the person."""
    if not requester.may(Action.SUBMIT, repository.team):
        raise InvalidInput("Only members of the repository's team may hand in requests for it.")
    text = check_request(request)
    limits = with_gate(with_budgets(parse_config(config or {}), repository), repository)
    limits = limits.model_copy(update={"agent": choose_agent(repository, limits)})
    limits = limits.model_copy(update={"landing": choose_landing(requester, repository, limits)})
    swarm = Swarm(
        requester=requester,
        repository=repository,
        endpoint=choose_endpoint(repository, limits),
        title=title_of(text),
        request=text,
        config=limits.model_dump(mode="json"),
        base_branch=check_branch(branch or repository.branch),
    )
    address_of(repository)
    require_sandbox(repository)
    with moves(swarm) as together:
        swarm.save()
        together.record("swarm.submitted", id=swarm.public_id, requester=requester.username, title=swarm.title)
    return swarm


def with_budgets(config: SwarmConfig, repository: Repository) -> SwarmConfig:
    """The repository's budgets where the request names none; stored whole, so that a later change changes nothing."""
    if config.deadline and config.deadline <= timezone.now():
        raise InvalidInput(f"Configuration: {passed(config.deadline)} Give a later one.")
    return config.model_copy(
        update={
            "budget_usd": repository.budget_usd if config.budget_usd is None else config.budget_usd,
            "budget_tokens": repository.budget_tokens if config.budget_tokens is None else config.budget_tokens,
        }
    )


def with_gate(config: SwarmConfig, repository: Repository) -> SwarmConfig:
    """The repository's way to gate where the request names none."""
    gate = config.gate or GateMode(repository.gate)
    if gate is GateMode.GATED and not repository.checks:
        raise InvalidInput(
            f"{repository.name} has no checks, so nothing could land gated: add checks to it, or choose another gate."
        )
    return config.model_copy(update={"gate": gate})


def choose_landing(requester: User, repository: Repository, config: SwarmConfig) -> Landing:
    """The repository's way to land where the request names none. Past every review only with a maintainer's word."""
    usual = Landing(repository.landing)
    chosen = config.landing or usual
    if chosen is Landing.DIRECT and chosen is not usual and not requester.may(Action.CONFIGURE, repository.team):
        raise InvalidInput("Only maintainers may have a result landed directly on the branch of this repository.")
    require_landing(repository, chosen)
    return chosen


def choose_endpoint(repository: Repository, config: SwarmConfig) -> ModelEndpoint:
    """The demo's model for the demo's repository and for nothing else; otherwise as configured, or the first."""
    endpoints = ModelEndpoint.objects.filter(team=repository.team, enabled=True, is_demo=repository.is_demo)
    if config.model and not repository.is_demo:
        name, _, model = config.model.partition("/")
        found = endpoints.filter(name=name).first()
        if found is None or (model and model != found.model):
            offered = ", ".join(f"{one.name}/{one.model}" for one in endpoints) or "none"
            raise InvalidInput(f"Configuration: the model {config.model!r} is not connected; there is: {offered}.")
        return found
    first = endpoints.first()
    if first is None:
        raise InvalidInput(NO_MODEL)
    return first


def check_branch(name: str) -> str:
    if name:
        runner.check_branch(name)
    return name


def require_sandbox(repository: Repository) -> None:
    sandbox = storage.sandbox_for(demo=repository.is_demo)
    if sandbox.name == "unavailable":
        raise InvalidInput(f"Agents cannot run commands safely here. {sandbox.describe()}")
