"""Where a swarm's branch can be fetched from."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from orchestration.adapters import storage
from orchestration.models import Swarm


@dataclass(frozen=True, slots=True)
class Fetch:
    where: str
    command: str


def fetch_of(swarm: Swarm) -> Fetch:
    """A local repository gets the branch at the end; of a remote one it lies in our own copy."""
    repository = swarm.repository
    if repository.url.startswith("/"):
        command = f"git -C {shlex.quote(repository.url)} log --stat {swarm.branch}"
        return Fetch(f"The branch lies in {repository.url}, beside your own; nothing else was touched there.", command)
    copy = storage.bare_repository(repository.public_id).path
    command = f"git fetch {shlex.quote(str(copy))} {swarm.branch}"
    return Fetch("The branch lies on this server, in our own copy; nothing was sent anywhere.", command)
