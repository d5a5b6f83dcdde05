"""From rows to the values that the domain and the adapters take."""

from __future__ import annotations

from orchestration.adapters import storage
from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.secrets import watch
from orchestration.domain.config import SwarmConfig
from orchestration.domain.conversation import Endpoint
from orchestration.domain.endpoints import ModelRole, for_role
from orchestration.domain.gating import GateMode
from orchestration.domain.states import SubtaskStatus
from orchestration.models import Attempt, ModelEndpoint, Repository, Subtask, Swarm
from orchestration.models.prepared import PreparedRead, PreparedRows

LOOPBACK = ("127.", "localhost", "[::1]")


# What a forecast found can be long, and only a forecast asks for it.
_swarm = PreparedRows(lambda pk: Swarm.objects.filter(pk=pk).select_related("repository").defer("clashes"))


def swarm_row(pk: int) -> Swarm:
    """With its repository. Raises Swarm.DoesNotExist."""
    return _swarm.one(pk=pk)


_attempt = PreparedRows(
    lambda pk: (
        Attempt.objects.filter(pk=pk)
        .select_related("subtask__swarm__repository", "subtask__swarm__endpoint")
        .defer("subtask__swarm__clashes")
    )
)


def attempt_row(pk: int) -> Attempt:
    """With all that it stands in. Raises Attempt.DoesNotExist."""
    return _attempt.one(pk=pk)


def config_of(swarm: Swarm) -> SwarmConfig:
    return SwarmConfig.model_validate(swarm.config)


def gate_mode(swarm: Swarm) -> GateMode:
    """As it was when the swarm was handed in; one from before there were gates lands without."""
    return config_of(swarm).gate or GateMode.OFF


def endpoint_of(row: ModelEndpoint, config: SwarmConfig) -> Endpoint:
    return Endpoint(
        name=row.name,
        kind=ModelEndpoint.Kind(row.kind).value,  # type: ignore[arg-type]  # the choices are the literal's
        base_url=row.base_url.rstrip("/"),
        model=row.model,
        key_env=row.key_env,
        input_price=row.input_price,
        output_price=row.output_price,
        max_concurrent=config.max_concurrent_requests or row.max_concurrent,
        loopback=row.base_url.split("://", 1)[-1].startswith(LOOPBACK),
        id=row.public_id,
        weight=row.weight,
        roles=row.roles,
        request_delay_ms=config.request_delay_ms,
        context_window=row.context_window,
        key_name=key_name(row) if row.key_kept else "",
        vouched=row.address_allowed,
    )


def key_name(row: ModelEndpoint | Repository) -> str:
    """What its key or token is kept under in the keyring."""
    return f"{'endpoint' if isinstance(row, ModelEndpoint) else 'repository'}-{row.public_id}"


_others = PreparedRows(
    lambda team, own: ModelEndpoint.objects.filter(team=team, enabled=True, is_demo=False).exclude(pk=own)
)
_key_names = PreparedRead(lambda: ModelEndpoint.objects.order_by().values_list("key_env"))


def endpoint_for(swarm: Swarm, role: ModelRole) -> Endpoint:
    """Whom this role of the swarm asks, and who stands behind it: never the demo's model beside real ones."""
    config, own = config_of(swarm), swarm.endpoint
    watch(name for (name,) in _key_names())
    rows = [] if own.is_demo else _others(team=own.team_id, own=own.pk)
    others = [endpoint_of(row, config) for row in rows]
    return for_role(endpoint_of(own, config), others, role, pinned=config.model is not None)


def store_of(swarm: Swarm) -> BareRepository:
    return storage.bare_repository(swarm.repository.public_id)


def status_by_name(swarm: Swarm) -> dict[str, SubtaskStatus]:
    """Every subtask's status, in the order in which they were planned."""
    rows = Subtask.objects.filter(swarm=swarm).order_by("pk").values_list("name", "status")
    return {name: SubtaskStatus(status) for name, status in rows}
