"""A configured repository as something to fetch from and to push to: where it is, and who we are there."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.git.credentials import Credential, from_environment
from orchestration.adapters.git.store import BareRepository, Fetched
from orchestration.domain.repository_urls import RepositoryAddress
from orchestration.models import Repository


@dataclass(frozen=True, slots=True)
class Remote:
    """Every call asks the remote itself. Raises AdapterError, and RemoteError where it is known what it was."""

    store: BareRepository
    address: RepositoryAddress
    credential: Credential | None
    cancellation: Cancellation | None = None

    def fetch(self, branch: str | None) -> Fetched:
        return self.store.fetch(
            self.address.url,
            branch,
            allow=settings.SWARM["ALLOWED_HOSTS_OUT"],
            credential=self.credential,
            cancellation=self.cancellation,
        )

    def tip(self, branch: str) -> str:
        return self.store.remote_tip(
            self.address.url,
            branch,
            allow=settings.SWARM["ALLOWED_HOSTS_OUT"],
            credential=self.credential,
            cancellation=self.cancellation,
        )

    def push(self, branch: str, new: str, old: str) -> None:
        self.store.push(
            self.address.url,
            branch,
            new,
            old=old,
            allow=settings.SWARM["ALLOWED_HOSTS_OUT"],
            credential=self.credential,
            cancellation=self.cancellation,
        )


def credential_for(repository: Repository, address: RepositoryAddress) -> Credential | None:
    """None: it is public, or a path."""
    if address.kind != "https" or not repository.token_env:
        return None
    return from_environment(repository.token_env, repository.token_user)
