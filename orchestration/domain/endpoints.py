"""Which model service is asked first, and which one is left alone for a while."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from orchestration.domain.conversation import Endpoint
from orchestration.domain.errors import InvalidInput

UNHEALTHY_AFTER = 3  # failures in a row
PROBE_AFTER_S = 30.0
SLOW = 2.0  # times the latency of the quickest: then the quicker one of the same weight goes first


class ModelRole(StrEnum):
    """Who asks a model; an endpoint may be kept for some of them."""

    PLANNER = "planner"
    SUBPLANNER = "subplanner"
    WORKER = "worker"
    REVIEWER = "reviewer"
    RECONCILER = "reconciler"


def read_roles(text: str) -> frozenset[ModelRole]:
    """Those that may use an endpoint. Raises InvalidInput for a word that is no role."""
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    unknown = sorted(set(words) - set(ModelRole))
    if unknown:
        raise InvalidInput(f"There is no role {', '.join(unknown)}; write some of: {', '.join(ModelRole)}.")
    return frozenset(map(ModelRole, words)) or frozenset(ModelRole)


def for_role(own: Endpoint, others: Sequence[Endpoint], role: ModelRole, *, pinned: bool) -> Endpoint:
    """Whom this role asks, with the alternatives behind it.

    An endpoint that is kept for the role goes before the swarm's own one, unless that one was `pinned` by name
    for the workers. Where nobody may be used by the role, the swarm's own one is.
    """

    def rank(endpoint: Endpoint) -> tuple[bool, bool, bool, int]:
        chosen = pinned and endpoint is own and role is ModelRole.WORKER
        return not chosen, not endpoint.roles.strip(), endpoint is not own, -endpoint.weight

    fit = [endpoint for endpoint in (own, *others) if role in read_roles(endpoint.roles)]
    first, *rest = sorted(fit, key=rank) or [own]
    return replace(first, alternatives=tuple(rest))


@dataclass(frozen=True, slots=True)
class Health:
    """What the last calls said of one endpoint. `probed_at` is when a call was last let through to try it."""

    failures: int = 0
    failed_at: float = 0.0
    probed_at: float = 0.0
    latency_ms: float | None = None

    @property
    def healthy(self) -> bool:
        return self.failures < UNHEALTHY_AFTER

    def probe_due(self, now: float, probe_after_s: float) -> bool:
        """True once it has been left alone long enough, and no other call is trying it."""
        return not self.healthy and now - max(self.failed_at, self.probed_at) >= probe_after_s

    def failed(self, now: float) -> Health:
        return replace(self, failures=self.failures + 1, failed_at=now)

    def probed(self, now: float) -> Health:
        return replace(self, probed_at=now)

    def answered(self, latency_ms: float) -> Health:
        """One good answer makes it healthy."""
        old = latency_ms if self.latency_ms is None else self.latency_ms
        return Health(latency_ms=old + 0.2 * (latency_ms - old))


@dataclass(frozen=True, slots=True)
class Choice:
    """The endpoints to ask, one after another; `probe` is the first where it is only being tried."""

    order: tuple[Endpoint, ...]
    probe: Endpoint | None = None


def choose(endpoints: Sequence[Endpoint], health: Mapping[str, Health], now: float, *, probe_after_s: float) -> Choice:
    """The first of `endpoints` is the swarm's own and stays first while it is healthy; `health` is by place.

    One whose probe is due goes first, for one call; the others that are not healthy go last: no call fails
    because of what is only remembered.
    """
    known = {endpoint.place: health.get(endpoint.place, Health()) for endpoint in endpoints}
    ranked = _ranked(endpoints, known)
    healthy = [endpoint for endpoint in ranked if known[endpoint.place].healthy]
    ill = [endpoint for endpoint in ranked if not known[endpoint.place].healthy]
    due = [endpoint for endpoint in ill if known[endpoint.place].probe_due(now, probe_after_s)]
    if not healthy or not due:
        return Choice((*healthy, *ill))
    probe = due[0]
    return Choice((probe, *healthy, *(endpoint for endpoint in ill if endpoint is not probe)), probe)


def _ranked(endpoints: Sequence[Endpoint], known: Mapping[str, Health]) -> list[Endpoint]:
    """By weight; among those of one weight the ones that are much slower than the quickest go last."""
    told = [latency for health in known.values() if (latency := health.latency_ms) is not None]
    slow = SLOW * min(told, default=0.0)

    def rank(endpoint: Endpoint) -> tuple[bool, int, bool]:
        latency = known[endpoint.place].latency_ms
        return endpoint is not endpoints[0], -endpoint.weight, latency is not None and latency > slow

    return sorted(endpoints, key=rank)
