"""Where things lie under the data directory, and the one object a process needs for each."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from django.conf import settings

from orchestration.adapters.blobs import BlobStore
from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.git.workspaces import WorkspacePool
from orchestration.adapters.sandbox import Sandbox, choose_sandbox
from orchestration.adapters.sandbox.unconfined import Unconfined


def data_directory() -> Path:
    return Path(settings.DATA_DIR)


def bare_repository(public_id: str) -> BareRepository:
    """Our copy of a configured repository; it may not exist yet."""
    return BareRepository(data_directory() / "repositories" / f"{public_id}.git")


@cache
def workspace_pool(public_id: str) -> WorkspacePool:
    return WorkspacePool(data_directory() / "workspaces" / public_id, bare_repository(public_id))


def blobs() -> BlobStore:
    return BlobStore(data_directory() / "blobs")


@cache
def sandbox() -> Sandbox:
    """The configured sandbox, tried out once a process."""
    return choose_sandbox(settings.SWARM["SANDBOX"], hidden=(data_directory(),))


def sandbox_for(*, demo: bool) -> Sandbox:
    """Where no sandbox works, only the built-in demo may run: its commands are our own."""
    chosen = sandbox()
    return Unconfined() if demo and not chosen.isolated else chosen
