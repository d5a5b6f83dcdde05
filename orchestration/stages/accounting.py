"""Books what model calls cost, on the call, the attempt or iteration, and the swarm."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F

from orchestration.domain.conversation import Reply
from orchestration.models import Attempt, ModelCall, PlanIteration, Swarm


def book(swarm: Swarm, reply: Reply, *, on: Attempt | PlanIteration) -> None:
    """One transaction; the swarm's row comes last, as everywhere."""
    usage, attempt = reply.usage, on if isinstance(on, Attempt) else None
    tokens = usage.input_tokens + usage.output_tokens
    spent = {"tokens": F("tokens") + tokens, "cost_usd": F("cost_usd") + reply.cost_usd}
    with transaction.atomic():
        type(on)._default_manager.filter(pk=on.pk).update(steps=F("steps") + 1, **spent)  # noqa: SLF001 - Django's own
        ModelCall.objects.create(
            swarm=swarm,
            attempt=attempt,
            endpoint_id=swarm.endpoint_id,
            purpose="worker" if attempt else "planner",
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            estimated=usage.estimated,
            cost_usd=reply.cost_usd,
            latency_ms=reply.latency_ms,
            retries=reply.retries,
        )
        Swarm.objects.filter(pk=swarm.pk).update(**spent)
