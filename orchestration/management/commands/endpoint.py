"""Model endpoints from the command line: test one."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestration.management.finding import find
from orchestration.models import ModelEndpoint
from orchestration.stages.examine import examine


class Command(BaseCommand):
    help = "Look after model endpoints. Ends with 0 where it works, 1 where it does not, 2 where there is no such one."
    requires_system_checks = ()  # of pages and templates, which it does not touch

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="verb", required=True)
        test = commands.add_parser("test", help="make one tiny call and say what is wrong, or what works")
        test.add_argument("name")
        test.add_argument("--team", default="", help="where several teams have one of this name")
        test.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        row = find(ModelEndpoint, options["name"], options["team"])
        found = examine(row)
        if options["json"]:
            self.stdout.write(json.dumps({"name": row.name, "works": found.works, "said": list(found.sentences)}))
        else:
            self.stdout.write("\n".join(found.sentences))
        if not found.works:
            raise CommandError(f"{row.name} does not work.", returncode=1)
