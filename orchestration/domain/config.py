"""What a swarm may be told, with the seeds' defaults. Every field here does what it says."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from orchestration.domain import paths
from orchestration.domain.errors import InvalidInput
from orchestration.domain.gating import GateMode
from orchestration.domain.publishing import Landing
from orchestration.domain.validation import sentences


class Strategy(StrEnum):
    AUTOMATIC = "automatic"
    BY_DOMAIN = "by_domain"
    BY_DATA = "by_data"
    BY_STAGE = "by_stage"
    NONE = "none"


# Named in the contract, built by later versions: told apart from a slip of the pen.
NOT_YET = frozenset(
    {
        "worktree_enabled",
        "worktree_auto_merge",
        "execution_mode",
        "k8s_pod_budget",
        "k8s_subagent_image",
        "review",
        "collapse",
    }
)


class SwarmConfig(BaseModel):
    """Frozen at submit and stored whole, so that a later change of a default changes no running swarm."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_subagents: Annotated[int, Field(ge=1, le=1000)] = 100
    max_steps_per_subagent: Annotated[int, Field(ge=1, le=1000)] = 100
    max_total_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 1500
    subagent_timeout_secs: Annotated[int, Field(ge=5, le=86_400)] = 600
    parallel_enabled: bool = True
    critical_path_threshold: Annotated[int, Field(ge=1, le=100)] = 10
    model: Annotated[str, Field(max_length=300)] | None = None
    agent: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    max_concurrent_requests: Annotated[int, Field(ge=1, le=1000)] | None = None
    request_delay_ms: Annotated[int, Field(ge=0, le=60_000)] = 1000
    working_dir: Annotated[str, Field(max_length=500)] | None = None
    max_retries: Annotated[int, Field(ge=0, le=20)] = 3
    base_delay_ms: Annotated[int, Field(ge=0, le=600_000)] = 500
    max_delay_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 30_000
    strategy: Strategy = Strategy.AUTOMATIC
    plan_approval: bool = False
    gate: GateMode | None = None
    landing: Landing | None = None
    cache: bool = True
    budget_usd: Annotated[Decimal, Field(gt=0, le=1_000_000, decimal_places=6)] | None = None
    budget_tokens: Annotated[int, Field(ge=1, le=1_000_000_000_000)] | None = None
    deadline: AwareDatetime | None = None

    @field_validator("working_dir")
    @classmethod
    def _inside(cls, value: str | None) -> str | None:
        if value is None:
            return None
        names = paths.parts(value)
        if not names or not value.isprintable():
            raise ValueError("write a sub-directory of the repository, such as services/api")
        return "/".join(names)

    @field_validator("model")
    @classmethod
    def _legible(cls, value: str | None) -> str | None:
        if value is not None and not value.isprintable():
            raise ValueError("write it as endpoint/model, in printable characters")
        return value

    @model_validator(mode="after")
    def _delays_in_order(self) -> Self:
        if self.base_delay_ms > self.max_delay_ms:
            raise ValueError("the first delay, base_delay_ms, must not exceed max_delay_ms")
        return self

    @property
    def slots(self) -> int:
        """Attempts of this swarm that may run at once."""
        return self.max_subagents if self.parallel_enabled else 1


def parse_config(given: Mapping[str, Any]) -> SwarmConfig:
    """Raises InvalidInput with one sentence for everything that is wrong."""
    late = sorted(NOT_YET & set(given))
    if late:
        raise InvalidInput(f"Configuration: {', '.join(late)} cannot be set in this version; leave it out.")
    try:
        return SwarmConfig.model_validate(given)
    except ValidationError as error:
        raise InvalidInput("Configuration: " + " ".join(sentences(error, known=SwarmConfig.model_fields))) from None
