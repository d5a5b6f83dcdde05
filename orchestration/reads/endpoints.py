"""How a team's model services are: what the last test and the last calls said, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Avg, Count, Max, Q, QuerySet, Sum
from django.utils import timezone

from orchestration.adapters.gateway import get_gateway
from orchestration.domain.conversation import Endpoint
from orchestration.models import ModelEndpoint, Team

LATELY = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Standing:
    """One service. `role` is the colour and the glyph, `word` stands beside them, `said` is why."""

    row: ModelEndpoint
    role: str
    word: str
    said: str
    calls: int
    cost_usd: Decimal
    latency_ms: int | None
    used_at: datetime | None


def standings(teams: Iterable[Team] | QuerySet[Team]) -> list[Standing]:
    since = Q(calls__at__gte=timezone.now() - LATELY)
    rows = ModelEndpoint.objects.filter(team__in=teams, removed_at=None).select_related("team")
    counted = rows.annotate(
        many=Count("calls", filter=since),
        spent=Sum("calls__cost_usd", filter=since),
        took=Avg("calls__latency_ms", filter=since),
        used=Max("calls__at"),
    )
    return [_standing(row) for row in counted.order_by("team__name", "is_demo", "-weight", "pk")]


def _standing(row: ModelEndpoint) -> Standing:
    used: datetime | None = row.used  # type: ignore[attr-defined]  # what the query counted
    spent: Decimal | None = row.spent  # type: ignore[attr-defined]
    took: float | None = row.took  # type: ignore[attr-defined]
    role, word, said = _health(row, used)
    latency = round(took) if took is not None else row.test_latency_ms
    return Standing(row, role, word, said, row.many, spent or Decimal(0), latency, used)  # type: ignore[attr-defined]


def _health(row: ModelEndpoint, used: datetime | None) -> tuple[str, str, str]:
    if not row.enabled:
        return "cancelled", "Off", "Nothing is asked of it."
    place = Endpoint(row.name, "openai", row.base_url.rstrip("/"), row.model, id=row.public_id)
    health = get_gateway().health(place)
    if not health.healthy:
        return "failed", "Failing", f"Its last {health.failures} calls failed; it is tried again by itself."
    if row.tested_at and not row.test_works and not (used and used > row.tested_at):
        return "failed", "Does not work", row.test_said
    if row.tested_at or used:
        return "done", "Works", ""
    return "queued", "Not tested", "" if row.is_demo else "Test it before somebody relies on it."
