"""Shows what was left behind on the disk and belongs to nobody any more, and removes it when told to."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestration.domain.errors import InvalidInput
from orchestration.domain.texts import size_in_words
from orchestration.management.migrating import bring_up_to_date
from orchestration.stages.leases import hold
from orchestration.stages.leftovers import LEASE, Left, clear, left_behind, total

MOST_NAMED = 5


class Command(BaseCommand):
    help = (
        "Show what was left behind: sockets and directories of agents that are gone, workspaces and bare repositories "
        "of deleted repositories, expired artifacts, content that nothing names. With --yes it is removed."
    )
    requires_system_checks = ()  # of pages and templates, which it does not touch

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="remove it; without it only what would go is shown")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        bring_up_to_date()
        found = self._clear() if options["yes"] else left_behind()
        if options["json"]:
            kinds = {one.kind.value: {"names": one.names, "bytes": one.bytes} for one in found}
            self.stdout.write(json.dumps({"removed": options["yes"], "bytes": total(found), "found": kinds}))
            return
        for one in found:
            if one.names:
                self.stdout.write(_line(one))
        self.stdout.write(_sum(total(found), done=options["yes"], anything=any(one.names for one in found)))

    def _clear(self) -> list[Left]:
        with hold(LEASE) as lease:
            if lease is None:
                raise CommandError("The engine is tidying at this moment; try again in a minute.", returncode=1)
            try:
                return clear(repositories=True)
            except InvalidInput as error:
                raise CommandError(str(error), returncode=2) from None


def _line(one: Left) -> str:
    more = f" and {len(one.names) - MOST_NAMED} more" if len(one.names) > MOST_NAMED else ""
    size = f", {size_in_words(one.bytes)}" if one.bytes else ""
    return f"{len(one.names)} {one.meaning}{size}: {', '.join(one.names[:MOST_NAMED])}{more}"


def _sum(bytes_: int, *, done: bool, anything: bool) -> str:
    if not anything:
        return "Nothing was left behind."
    if done:
        return f"{size_in_words(bytes_)} freed."
    return f"{size_in_words(bytes_)} would be freed. Add --yes to do it."
