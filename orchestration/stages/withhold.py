"""Holds a key back between a test and the save that may follow: nobody types it twice, and no page shows it."""

from __future__ import annotations

from orchestration.adapters import keyring
from orchestration.domain.errors import AdapterError
from orchestration.models import ModelEndpoint, Repository
from orchestration.models.fields import new_public_id
from orchestration.stages.rows import key_name

KIND = "draft"
KEPT_S = 3600.0
UNNAMED_S = 24 * 3600.0  # a key that no row has named for so long: its row was deleted, or never written


def withhold(value: str) -> str:
    """The name under which it can be had again, for an hour at least."""
    forget_unused()
    name = f"{KIND}-{new_public_id()}"
    keyring.keep(name, value)
    return name


def withheld(name: str) -> str:
    """Empty where it is too long ago."""
    if not name.startswith(f"{KIND}-"):
        return ""
    try:
        return keyring.read(name)
    except AdapterError:
        return ""


def release(name: str) -> None:
    if name.startswith(f"{KIND}-"):
        keyring.forget(name)


def forget_unused() -> None:
    """Drafts that nobody saved, and keys whose rows are gone."""
    for name in keyring.older(KEPT_S):
        if name.startswith(f"{KIND}-"):
            keyring.forget(name)
    old = keyring.older(UNNAMED_S)
    if old:
        named = {
            *map(key_name, ModelEndpoint.objects.filter(key_kept=True)),
            *map(key_name, Repository.objects.filter(token_kept=True)),
        }
        for name in set(old) - named:
            keyring.forget(name)
