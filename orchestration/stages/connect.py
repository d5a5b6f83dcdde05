"""Connects a team with a model service: tried out as it was typed, tested, switched, and removed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from orchestration.adapters import keyring
from orchestration.adapters.llm.catalogue import list_models
from orchestration.adapters.llm.failures import Misconfigured
from orchestration.adapters.outgoing import check_host
from orchestration.domain.config import SwarmConfig
from orchestration.domain.conversation import Endpoint
from orchestration.domain.errors import AdapterError, InvalidInput
from orchestration.domain.states import SWARM_OVER
from orchestration.models import ModelEndpoint, Swarm, User
from orchestration.stages.examine import Examination, examine, examine_as
from orchestration.stages.rows import endpoint_of

logger = logging.getLogger(__name__)
MOST_NAMED = 3
NO_MODEL = "Which model is it to be? Choose one of its list, or write its name, then test again."
NO_LIST = "The service keeps no list of its models: write the name of one, then test again."


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of trying a service out. `models` are those that it says it has, where it keeps a list."""

    found: Examination
    models: tuple[str, ...] = ()


def check_address(row: ModelEndpoint) -> None:
    """Raises InvalidInput where it is private and nobody vouched for it. A call is checked again when it is made."""
    parts = urlsplit(row.base_url)
    if row.address_allowed:
        return
    try:
        check_host(
            parts.hostname or "",
            parts.port or (80 if parts.scheme == "http" else 443),
            allowed=settings.SWARM["ALLOWED_HOSTS_OUT"],
        )
    except AdapterError as error:
        raise InvalidInput(str(error)) from None


def try_out(row: ModelEndpoint, key: str) -> Trial:
    """`row` need not be saved; `key` is what was typed, empty for the one that it has."""
    with _with_key(endpoint_of(row, SwarmConfig()), key) as endpoint:
        try:
            models = list_models(endpoint)
        except Misconfigured as error:
            return Trial(Examination(works=False, sentences=(str(error),), part=error.part))
        except AdapterError:
            models = ()  # what is wrong, if anything is, shows in the call itself
        if not row.model:
            return Trial(Examination(works=False, sentences=(NO_MODEL if models else NO_LIST,), part="model"), models)
        return Trial(examine_as(row, endpoint), models)


@contextmanager
def _with_key(endpoint: Endpoint, key: str) -> Iterator[Endpoint]:
    if not key:
        yield endpoint
        return
    with keyring.lend(key) as name:
        yield replace(endpoint, key_name=name)


def test(row: ModelEndpoint) -> Examination:
    """One tiny call; what came of it is kept with the row."""
    found = examine(row)
    note(row, found)
    return found


def note(row: ModelEndpoint, found: Examination) -> None:
    row.tested_at, row.test_works = timezone.now(), found.works
    row.test_said, row.test_latency_ms = str(found), found.latency_ms
    row.save(update_fields=["tested_at", "test_works", "test_said", "test_latency_ms"])


def switch(row: ModelEndpoint, person: User, *, on: bool) -> None:
    """Off: no call that begins from now on goes there, of running swarms neither where they have another."""
    ModelEndpoint.objects.filter(pk=row.pk).update(enabled=on)
    logger.info("%s switched the model endpoint %s %s.", person.username, row.name, "on" if on else "off")


def hindrance(row: ModelEndpoint) -> str:
    """Why it cannot be removed now; empty: it can."""
    if from_environment(row):
        return (
            "The server's environment names it, so it would be back after the next start: let an operator take "
            f"{row.name.upper()}_MODEL out of the environment. Until then it can be switched off."
        )
    at_work = Swarm.objects.filter(endpoint=row).exclude(status__in=SWARM_OVER)
    titles = list(at_work.order_by("pk").values_list("title", flat=True)[: MOST_NAMED + 1])
    if not titles:
        return ""
    named = ", ".join(f"“{title}”" for title in titles[:MOST_NAMED]) + (" and more" if titles[MOST_NAMED:] else "")
    return f"Swarms that are not over were handed in with it: {named}. Wait for their end, or cancel them."


def from_environment(row: ModelEndpoint) -> bool:
    """Whether the next start of the server would write its address, model and key anew."""
    told = settings.SWARM.get(f"{row.name.upper()}_ENDPOINT") if row.name in ModelEndpoint.Kind.values else None
    return bool(told and told["base_url"] == row.base_url)


def remove(row: ModelEndpoint, person: User) -> None:
    """Its row stays where swarms ran on it, without a name that is in the way. Raises InvalidInput while in use."""
    with transaction.atomic():
        reason = hindrance(row)
        if reason:
            raise InvalidInput(reason)
        if row.swarms.exists() or row.calls.exists():
            row.name = f"{row.name[:50]} (removed {row.public_id})"
            row.enabled, row.key_kept, row.key_env, row.removed_at = False, False, "", timezone.now()
            row.save(update_fields=["name", "enabled", "key_kept", "key_env", "removed_at"])
        else:
            row.delete()
    keyring.forget(f"endpoint-{row.public_id}")
    logger.info("%s removed the model endpoint %s.", person.username, row.name)
