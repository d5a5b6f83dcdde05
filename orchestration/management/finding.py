"""A team's row by the name that a command was given."""

from __future__ import annotations

from typing import TypeVar

from django.core.management.base import CommandError

from orchestration.models import Agent, ModelEndpoint

Row = TypeVar("Row", Agent, ModelEndpoint)
NOUNS = {Agent: "agent", ModelEndpoint: "endpoint"}


def find(kind: type[Row], name: str, team: str) -> Row:
    """`team` may be empty where only one team has such a row. Raises CommandError, with code 2."""
    noun, rows = NOUNS[kind], kind._default_manager.filter(name=name).select_related("team")  # noqa: SLF001 - Django's own name
    found = list(rows.filter(team__name=team) if team else rows)
    if len(found) == 1:
        return found[0]
    if found:
        teams = ", ".join(row.team.name for row in found)
        raise CommandError(f"Several teams have an {noun} {name!r}: {teams}. Add --team.", returncode=2)
    known = ", ".join(kind._default_manager.values_list("name", flat=True)) or "none"  # noqa: SLF001
    raise CommandError(f"There is no {noun} {name!r}; there is: {known}.", returncode=2)
