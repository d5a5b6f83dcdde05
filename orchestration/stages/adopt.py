"""Saves a repository as its team wants it, its token in the keyring."""

from __future__ import annotations

import logging

from orchestration.adapters import keyring
from orchestration.models import Repository, User
from orchestration.stages.rows import key_name

logger = logging.getLogger(__name__)


def save(row: Repository, person: User, token: str) -> None:
    """With the `token` where one was given; otherwise it has the one that it had, if `row` still says so."""
    if token:
        keyring.keep(key_name(row), token)
        row.token_kept, row.token_env = True, ""
    row.save()
    if not row.token_kept:
        keyring.forget(key_name(row))
    logger.info("%s saved the repository %s of %s.", person.username, row.name, row.team_id)
