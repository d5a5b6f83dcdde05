"""What binds a swarm, changed while it runs, and what is asked for where a budget has stopped it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestration.domain.budgets import Budget
from orchestration.domain.config import SwarmConfig
from orchestration.domain.states import SwarmStatus
from orchestration.models import Swarm
from orchestration.stages.replan import LIMITS
from orchestration.web.fields import PlainForm, deadline_field, money_field, number_field, tokens_field


class LimitsForm(PlainForm):
    """While it runs; what is not sent at all stays as it is."""

    max_subagents = number_field("max_subagents", "Agents at once", "What runs goes on, also above a lower limit.")
    max_total_steps = number_field("max_total_steps", "Tool calls in all")
    budget_usd = money_field()
    budget_tokens = tokens_field()
    deadline = deadline_field()

    def __init__(self, *args: Any, swarm: Swarm, **kwargs: Any) -> None:
        self.config = SwarmConfig.model_validate(swarm.config)
        super().__init__(*args, initial={name: getattr(self.config, name) for name in LIMITS}, **kwargs)
        if self.is_bound:
            for name in [name for name in self.fields if name not in self.data]:
                del self.fields[name]

    def changes(self) -> dict[str, Any]:
        """What differs. A moment is written to the minute, and is the same as long as that is."""
        given = self.cleaned_data
        return {name: given[name] for name in self.fields if self._differs(name, given[name])}

    def _differs(self, name: str, value: Any) -> bool:
        old = getattr(self.config, name)
        if name == "deadline" and value and old:
            return bool(value != old.replace(second=0, microsecond=0))
        return bool(value != old)


@dataclass(frozen=True)
class AtLimit:
    """What a budget that stopped the swarm asks for. `name` is empty where it is the repository's for the month."""

    name: str = ""
    label: str = ""
    now: str = ""
    suggested: str = ""


def at_limit(swarm: Swarm) -> list[AtLimit]:
    """One for each budget of its own that it has; empty where no budget of ours stopped it."""
    if swarm.status != SwarmStatus.PAUSED or swarm.stopped_by in {"", Budget.SERVICE}:
        return []
    if swarm.stopped_by != Budget.SWARM:
        return [AtLimit()]
    config = SwarmConfig.model_validate(swarm.config)
    usd, tokens = config.budget_usd, config.budget_tokens
    found = []
    if usd is not None:
        found.append(AtLimit("budget_usd", LIMITS["budget_usd"], f"{usd:f}", f"{(2 * usd).normalize():f}"))
    if tokens is not None:
        found.append(AtLimit("budget_tokens", LIMITS["budget_tokens"], str(tokens), str(2 * tokens)))
    return found
