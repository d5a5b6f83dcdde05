"""Books what model calls cost, on the call, the attempt or iteration, and the swarm."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from django.db import transaction
from django.db.models import F

from orchestration.domain.conversation import Reply
from orchestration.models import Attempt, ModelCall, PlanIteration, Swarm

MOST_TOKENS = 100_000_000  # of one answer: far beyond every model, and what a column holds
MOST_USD = Decimal(10_000)


def plausible(reply: Reply) -> Reply:
    """A service may say any figure; one that no database holds must not end the attempt."""
    usage = replace(
        reply.usage,
        input_tokens=_tokens(reply.usage.input_tokens),
        output_tokens=_tokens(reply.usage.output_tokens),
    )
    return replace(reply, usage=usage, cost_usd=max(Decimal(0), min(reply.cost_usd, MOST_USD)))


def _tokens(said: int) -> int:
    return max(0, min(said, MOST_TOKENS))


def book(swarm: Swarm, reply: Reply, *, on: Attempt | PlanIteration) -> None:
    """One transaction; the swarm's row comes last, as everywhere."""
    reply = plausible(reply)
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
