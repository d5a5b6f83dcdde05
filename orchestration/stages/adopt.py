"""Saves what a team connects, a model service or a repository, with its key or token in the keyring."""

from __future__ import annotations

import logging

from orchestration.adapters import keyring
from orchestration.models import ModelEndpoint, Repository, User
from orchestration.stages.rows import key_name

logger = logging.getLogger(__name__)


def save(row: ModelEndpoint | Repository, person: User, secret: str) -> None:
    """With the `secret` where one was given; otherwise it has the one that it had, if `row` still says so."""
    word = "key" if isinstance(row, ModelEndpoint) else "token"
    if secret:
        keyring.keep(key_name(row), secret)
        setattr(row, f"{word}_kept", True)
        setattr(row, f"{word}_env", "")
    row.save()
    if not getattr(row, f"{word}_kept"):
        keyring.forget(key_name(row))
    kind = row._meta.verbose_name  # noqa: SLF001 - Django's own name
    logger.info("%s saved the %s %s of %s.", person.username, kind, row.name, row.team_id)
