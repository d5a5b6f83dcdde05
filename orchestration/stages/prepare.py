"""Brings the repository here, pins the base commit and makes the integration branch."""

from __future__ import annotations

from django.conf import settings

from orchestration.adapters import storage
from orchestration.domain.repository_urls import RepositoryAddress, parse_repository
from orchestration.models import Repository, Swarm
from orchestration.stages.remote import Remote, credential_for
from orchestration.stages.rows import store_of
from orchestration.stages.transition import moves


def prepare(swarm: Swarm) -> None:
    """Idempotent; does nothing once the base is pinned. Raises AdapterError or InvalidInput."""
    if swarm.base_sha:
        return
    store = store_of(swarm)
    store.create()
    address = address_of(swarm.repository)
    remote = Remote(store, address, credential_for(swarm.repository, address))
    fetched = remote.fetch(swarm.base_branch or None)
    base = store.tip(swarm.branch)
    if base is None:  # otherwise a crash left it, and the repository may have moved on since
        base = fetched.sha
        store.create_branch(swarm.branch, base)
    with moves(swarm) as together:
        Swarm.objects.filter(pk=swarm.pk, base_sha="").update(base_sha=base, head_sha=base, base_branch=fetched.branch)
        together.record("swarm.started", base=base, branch=fetched.branch)
    swarm.refresh_from_db()


def address_of(repository: Repository) -> RepositoryAddress:
    """Where it lies; raises InvalidInput with the sentence why it may not be read."""
    return parse_repository(repository.url, local_allowed=lambda path: may_read(repository, path))


def may_read(repository: Repository, path: str) -> bool:
    """Whether a local path may be read: an operator listed it, or vouched for this row."""
    if repository.is_demo:
        return path.startswith(str(storage.data_directory()))
    return repository.path_allowed or any(
        path == listed or path.startswith(listed.rstrip("/") + "/") for listed in settings.SWARM["LOCAL_REPOSITORIES"]
    )
