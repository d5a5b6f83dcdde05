"""A swarm at its end whose result is to land outward, and what became of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from orchestration.domain.states import SwarmStatus
from orchestration.models import Publication, Repository, Swarm
from orchestration.stages.finish import finish
from orchestration.stages.merge import merge
from orchestration.stages.transition import advance
from tests.stages.world import World


def at(world: World, **terms: object) -> None:
    Repository.objects.filter(pk=world.repository.pk).update(**terms)
    world.repository.refresh_from_db()


def finalizing(world: World, *checks: str, name: str = "one", **config: Any) -> Swarm:
    """One change has landed on the swarm's branch, and nothing is left to do."""
    at(world, checks=list(checks))
    swarm = world.running(**{"landing": "direct"} | config)
    world.queued(swarm, name, {f"{name}.txt": f"by {name}\n"})
    merge(swarm.pk)
    return at_its_end(swarm)


def at_its_end(swarm: Swarm) -> Swarm:
    swarm.refresh_from_db()
    assert advance(swarm, swarm, SwarmStatus.FINALIZING)
    return swarm


def ended(swarm: Swarm) -> tuple[str, str]:
    finish(swarm.pk)
    swarm.refresh_from_db()
    return swarm.status, swarm.status_reason


def row(swarm: Swarm) -> Publication:
    return Publication.objects.get(swarm=swarm)


def due_again(swarm: Swarm) -> None:
    Publication.objects.filter(swarm=swarm).update(not_before=timezone.now() - timedelta(seconds=1))
