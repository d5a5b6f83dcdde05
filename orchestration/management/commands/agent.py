"""Agents that are not ours, from the command line: list what is known to work, add one, test one."""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestration.domain.presets import PRESETS
from orchestration.management.finding import find
from orchestration.models import Agent, Team
from orchestration.stages.audition import audition


class Command(BaseCommand):
    help = "Look after agents. Ends with 0 where it works, 1 where it does not, 2 where there is no such one."
    requires_system_checks = ()  # of pages and templates, which it does not touch

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("presets", help="list the public agents whose settings are known")
        add = verbs.add_parser("add", help="add an agent of which a preset is known")
        add.add_argument("name")
        add.add_argument("--preset", required=True, choices=sorted(PRESETS))
        add.add_argument("--program", default="", help="the full path of where it is installed")
        test = verbs.add_parser("test", help="start it in the sandbox and say what is wrong, or who it is")
        test.add_argument("name")
        test.add_argument("--json", action="store_true", help="print one JSON object")
        for one in (add, test):
            one.add_argument("--team", default="", help="where there are several teams")

    def handle(self, *args: Any, **options: Any) -> None:
        match options["verb"]:
            case "presets":
                for name, preset in PRESETS.items():
                    self.stdout.write(f"{name}: {preset.title}; install {preset.package}")
            case "add":
                self._add(options)
            case _:
                self._test(find(Agent, options["name"], options["team"]), as_json=options["json"])

    def _add(self, options: dict[str, Any]) -> None:
        fields = PRESETS[options["preset"]].fields(options["program"])
        row = Agent(team=_team(options["team"]), name=options["name"], **fields)
        try:
            row.full_clean()
        except ValidationError as error:
            raise CommandError(" ".join(error.messages), returncode=2) from None
        row.save()
        self.stdout.write(f"{row.name} was added to {row.team.name}. Try it: manage.py agent test {row.name}")

    def _test(self, row: Agent, *, as_json: bool) -> None:
        found = audition(row)
        if as_json:
            self.stdout.write(json.dumps({"name": row.name, "works": found.works, "said": list(found.sentences)}))
        else:
            self.stdout.write(str(found))
        if not found.works:
            raise CommandError(f"{row.name} does not work.", returncode=1)


def _team(name: str) -> Team:
    teams = list(Team.objects.filter(name=name) if name else Team.objects.all()[:2])
    if len(teams) == 1:
        return teams[0]
    known = ", ".join(Team.objects.values_list("name", flat=True)) or "none"
    raise CommandError(f"Name the team with --team; there is: {known}.", returncode=2)
