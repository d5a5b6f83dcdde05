"""Keeps a repository's copy fast and tidy, under a lease of its own that no landing waits for."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from django.utils import timezone

from orchestration.adapters import storage
from orchestration.adapters.git.store import BareRepository
from orchestration.domain.merging import PACK_AFTER_LANDINGS, PACK_AFTER_LOOSE
from orchestration.domain.states import ENTRY_OPEN, EntryStatus
from orchestration.models import Artifact, Attempt, MergeEntry, Repository
from orchestration.stages.leases import heartbeat, hold

logger = logging.getLogger(__name__)
EVERY = timedelta(minutes=1)
UNUSED_S = 24 * 3600.0  # after which idle workspaces and content that no row names are deleted


def maintain(repository_id: int) -> None:
    """Does nothing where another one is at it."""
    repository = Repository.objects.get(pk=repository_id)
    with hold(f"maintain:{repository.pk}") as lease:
        if lease is None:
            return
        with heartbeat.keep_lease(lease):
            _look_after(repository)
    with hold("maintain:content") as lease:
        if lease is not None:
            forget_content()


def _look_after(repository: Repository) -> None:
    store = storage.bare_repository(repository.public_id)
    if store.path.is_dir():
        tidy(store)
        if _is_due(repository, store):
            pack(repository, store)
        storage.workspace_pool(repository.public_id).discard_unused(UNUSED_S)
    Repository.objects.filter(pk=repository.pk).update(looked_after_at=timezone.now())


def tidy(store: BareRepository) -> None:
    """Lets go of candidates that are decided and of attempts that no row knows any more. The work of every attempt
    that there is stays, whatever became of it: people look at it, and others go on from it."""
    if removed := store.remove_stale():
        logger.warning("Removed what killed git children had left in %s: %s", store.path.name, ", ".join(removed))
    candidates, attempts = set(store.pins("candidates")), set(store.pins("attempts"))  # read before the rows are
    undecided = MergeEntry.objects.filter(public_id__in=candidates, status__in=ENTRY_OPEN)
    store.unpin("candidates", *sorted(candidates - set(undecided.values_list("public_id", flat=True))))
    known = Attempt.objects.filter(public_id__in=attempts)
    store.unpin("attempts", *sorted(attempts - set(known.values_list("public_id", flat=True))))


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


def forget_content() -> None:
    """Content that was stored long ago and that no artifact names."""
    blobs = storage.blobs()
    old = set(blobs.older_than(UNUSED_S))
    for name in old - set(Artifact.objects.filter(sha256__in=old).values_list("sha256", flat=True)):
        blobs.remove(name)
