"""Field kinds and constraints that several rows share."""

from __future__ import annotations

import secrets
from enum import StrEnum
from typing import Any

from django.db import models

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # no letter that is read as another


def new_public_id() -> str:
    """12 random characters (59 bits): unique across installations, safe in a URL, a branch and a trailer."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(12))


def public_id() -> models.CharField[str, str]:
    return models.CharField(max_length=12, unique=True, default=new_public_id, editable=False)


def status_field(kind: type[StrEnum], initial: StrEnum) -> models.CharField[str, str]:
    return models.CharField(max_length=20, choices=[(s.value, s.value) for s in kind], default=initial.value)


def one_of(field: str, kind: type[StrEnum], name: str) -> models.CheckConstraint:
    """The database itself refuses a word that the domain does not know."""
    return models.CheckConstraint(condition=models.Q(**{f"{field}__in": [s.value for s in kind]}), name=name)


def money(**options: Any) -> models.DecimalField[Any, Any]:
    """US dollars, to a millionth: single model calls cost that little."""
    return models.DecimalField(max_digits=14, decimal_places=6, **({"default": 0} | options))
