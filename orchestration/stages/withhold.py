"""Holds a key back between a test and the save that may follow: nobody types it twice, and no page shows it."""

from __future__ import annotations

from orchestration.adapters import keyring
from orchestration.domain.errors import AdapterError
from orchestration.models.fields import new_public_id

KIND = "draft"
KEPT_S = 3600.0


def withhold(value: str) -> str:
    """The name under which it can be had again, for an hour at least."""
    forget_drafts()
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


def forget_drafts() -> None:
    keyring.forget_older(KIND, KEPT_S)
