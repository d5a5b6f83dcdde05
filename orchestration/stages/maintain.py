"""Keeps a repository's copy fast and tidy, under a lease of its own that no landing waits for."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from django.db.models import F, Q
from django.utils import timezone

from orchestration.adapters import storage
from orchestration.adapters.git.store import BareRepository
from orchestration.domain.merging import PACK_AFTER_LANDINGS, PACK_AFTER_LOOSE
from orchestration.domain.states import ENTRY_OPEN, SWARM_OVER, EntryStatus
from orchestration.models import Attempt, MergeEntry, Repository, Swarm
from orchestration.stages.leases import heartbeat, hold
from orchestration.stages.leftovers import LEASE, clear
from orchestration.stages.withhold import forget_unused

logger = logging.getLogger(__name__)
EVERY = timedelta(minutes=1)
UNUSED_S = 24 * 3600.0  # after which idle workspaces are deleted


def maintain(repository_id: int) -> None:
    """Does nothing where another one is at it."""
    repository = Repository.objects.get(pk=repository_id)
    with hold(f"maintain:{repository.pk}") as lease:
        if lease is None:
            return
        with heartbeat.keep_lease(lease):
            _look_after(repository)
    with hold(LEASE) as lease:
        if lease is not None:
            clear()
            forget_unused()


def _look_after(repository: Repository) -> None:
    store = storage.bare_repository(repository.public_id)
    found: dict[str, int] = {}
    if store.path.is_dir():
        count_locks(repository.pk, tidy(store))
        if _is_due(repository, store):
            pack(repository, store)
        storage.workspace_pool(repository.public_id).discard_unused(UNUSED_S)
        found = {"loose_objects": store.loose_objects(), "packs": store.packs()}
    Repository.objects.filter(pk=repository.pk).update(looked_after_at=timezone.now(), **found)


def count_locks(repository_id: int, removed: int) -> None:
    """What killed git children had left, for the figures of the queue's page."""
    if removed:
        rows = Repository.objects.filter(pk=repository_id)
        rows.update(locks_removed=F("locks_removed") + removed)


def tidy(store: BareRepository) -> int:
    """Lets go of candidates of swarms that are over, and of attempts that no row knows any more. A swarm that goes on
    sweeps its own. The work of every attempt that there is stays, whatever became of it: people look at it, and others
    go on from it. Returns how many locks and half-written files of killed children it removed."""
    if removed := store.remove_stale():
        logger.warning("Removed what killed git children had left in %s: %s", store.path.name, ", ".join(removed))
    candidates, attempts = set(store.pins("candidates")), set(store.pins("attempts"))  # read before the rows are
    going_on = ~Q(status__in=SWARM_OVER) | Q(merge_entries__status__in=ENTRY_OPEN)
    swarms = set(
        Swarm.objects.filter(going_on, public_id__in=map(swarm_of, candidates)).values_list("public_id", flat=True)
    )
    store.unpin("candidates", *sorted(pin for pin in candidates if swarm_of(pin) not in swarms))
    known = Attempt.objects.filter(public_id__in=attempts)
    store.unpin("attempts", *sorted(attempts - set(known.values_list("public_id", flat=True))))
    return len(removed)


def swarm_of(pin: str) -> str:
    """Whose candidate it is, as `branch.pin_of` names it."""
    return pin.partition("-")[0]


def _is_due(repository: Repository, store: BareRepository) -> bool:
    landed = MergeEntry.objects.filter(swarm__repository=repository, status=EntryStatus.LANDED)
    since = landed.filter(finished_at__gt=repository.packed_at) if repository.packed_at else landed
    return since.count() >= PACK_AFTER_LANDINGS or store.loose_objects() >= PACK_AFTER_LOOSE


def pack(repository: Repository, store: BareRepository) -> None:
    """What lands meanwhile counts for the next time."""
    began, started = timezone.now(), time.monotonic()
    store.pack()
    Repository.objects.filter(pk=repository.pk).update(packed_at=began)
    logger.info("Packed %s in %.1f s.", store.path.name, time.monotonic() - started)
