"""Whether a failed attempt is followed by another, and when."""

from __future__ import annotations

from dataclasses import dataclass

from orchestration.domain.config import SwarmConfig
from orchestration.domain.errors import Failure

# An attempt whose process dies says nothing against the subtask, but one that kills its process must end some day.
MAX_LOST = 40


@dataclass(frozen=True, slots=True)
class Retry:
    delay_ms: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    reason: str


def after_failure(failure: Failure | None, failures: int, config: SwarmConfig, *, jitter: float) -> Retry | GiveUp:
    """After the `failures`-th failed attempt. `jitter` from 0 to 1 spreads the delay over its second half."""
    if failure is not Failure.TRANSIENT:
        return GiveUp("")
    if failures > config.max_retries:
        return GiveUp(f" It was tried {failures} times.")
    return Retry(delay_ms=round(backoff_ms(failures, config) * (0.5 + 0.5 * jitter)))


def backoff_ms(failures: int, config: SwarmConfig) -> int:
    """Before the try that follows the `failures`-th failure in a row."""
    return int(min(config.max_delay_ms, config.base_delay_ms * 2 ** (failures - 1)))


def after_loss(losses: int) -> Retry | GiveUp:
    """After the `losses`-th time that an attempt's process went away under it."""
    if losses > MAX_LOST:
        return GiveUp(f" It was lost {losses} times with the process that ran it.")
    return Retry(delay_ms=0)
