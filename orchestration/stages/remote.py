"""A configured repository as something to fetch from and to push to: where it is, and who we are there."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.git.credentials import Credential, from_environment, from_keyring
from orchestration.adapters.git.store import BareRepository, Fetched
from orchestration.adapters.github import GitHub, installation_token
from orchestration.domain.errors import InvalidInput
from orchestration.domain.repository_urls import RepositoryAddress
from orchestration.models import Repository
from orchestration.stages.rows import key_name

NO_GITHUB = "A pull request needs a repository on GitHub, with an address such as https://github.com/owner/name."
NO_SIGN_IN = (
    "A pull request needs a sign-in to GitHub: let an operator set GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY and vouch "
    "for the repository in the admin, or give a token on the repository's settings."
)


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
    """The token that was given, else the named one, else one that the GitHub App is given for this repository. None:
    it is public, or a path."""
    if address.kind != "https":
        return None
    if repository.token_kept:
        return from_keyring(key_name(repository), repository.token_user)
    if repository.token_env:
        return from_environment(repository.token_env, repository.token_user)
    slug, app_id = github_slug(address), settings.SWARM["GITHUB_APP_ID"]
    if not slug or not app_id or not repository.path_allowed:  # or a team could read whatever the app can
        return None
    return Credential("x-access-token", installation_token(settings.SWARM["GITHUB_API_URL"], app_id, slug))


def github_slug(address: RepositoryAddress) -> str:
    """owner/name where the repository is on the GitHub that we talk to; empty otherwise."""
    api = urlsplit(settings.SWARM["GITHUB_API_URL"]).hostname or ""
    host = "github.com" if api == "api.github.com" else api
    parts = urlsplit(address.url).path.strip("/").removesuffix(".git").split("/")
    return "/".join(parts) if address.kind == "https" and address.host == host and len(parts) == 2 else ""


def github_of(repository: Repository, address: RepositoryAddress) -> GitHub:
    """Raises InvalidInput where no pull request can be opened, with what is missing."""
    slug, credential = github_slug(address), credential_for(repository, address)
    if not slug:
        raise InvalidInput(NO_GITHUB)
    if credential is None:
        raise InvalidInput(NO_SIGN_IN)
    return GitHub(settings.SWARM["GITHUB_API_URL"], slug, credential.secret)
