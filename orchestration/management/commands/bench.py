"""Measures this installation's speed with made-up work, in a data directory of its own."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestration.domain.errors import SwarmsiteError
from orchestration.management.bench.crash import crash
from orchestration.management.bench.gating import gate
from orchestration.management.bench.isolated import isolated
from orchestration.management.bench.merging import merge_conflicts
from orchestration.management.bench.schedule import schedule
from orchestration.management.bench.soak import merge
from orchestration.management.bench.start import start

Bench = Callable[[Mapping[str, Any]], dict[str, Any]]

BENCHES: Mapping[str, tuple[Bench, str]] = {
    "merge": (merge, "the merge queue beside git's own plumbing"),
    "merge-conflicts": (merge_conflicts, "the merge queue where a third of the branches conflict"),
    "gate": (gate, "how many gates the merge queue needs where 5 of 100 entries are bad"),
    "crash": (
        crash,
        "no speed: the merge queue and resolutions killed with -9, at every step and at random moments",
    ),
    "schedule": (schedule, "a whole swarm on the real engine with a simulated model"),
    "start": (start, "how soon the site shows its first page"),
}
NUMBERS: Mapping[str, tuple[type[int | float], str]] = {
    "subtasks": (int, "how many subtasks (default 200)"),
    "layers": (int, "in how many layers (default 5)"),
    "agents": (int, "agents at once (default 100)"),
    "seed": (int, "of the latencies and the graph (default 1)"),
    "landings": (int, "of merge, on one branch, to see whether it becomes slower (2000 says it; default 0: left out)"),
    "rounds": (int, "of crash, at random moments (default 300)"),
    "pace": (float, "stretches the model's latencies; 0: it answers at once (default 1)"),
}
DEFAULTS: Mapping[str, int | float] = {
    "subtasks": 200,
    "layers": 5,
    "agents": 100,
    "seed": 1,
    "landings": 0,
    "rounds": 300,
    "pace": 1.0,
}


class Command(BaseCommand):
    help = "Measure speed: " + "; ".join(f"{name}: {what}" for name, (_, what) in BENCHES.items())
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--json", action="store_true", help="print nothing but the JSON object")
        for name, (kind, what) in NUMBERS.items():
            parser.add_argument(f"--{name}", type=kind, default=DEFAULTS[name], help=what)
        parser.add_argument("--inside", type=json.loads, help=argparse.SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        if name not in BENCHES:
            raise CommandError(f"There is no benchmark {name!r}; there are: {', '.join(BENCHES)}.", returncode=2)
        try:
            figures = self._inside(name, options["inside"]) if options["inside"] else self._outside(name, options)
        except SwarmsiteError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(json.dumps(figures))

    def _outside(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        chosen = {number: options[number] for number in NUMBERS}
        if not options["json"]:
            self.stdout.write(f"{name}: {BENCHES[name][1]}, with {json.dumps(chosen)}")
            self.stdout.flush()
        return {"bench": name} | isolated(name, chosen)

    @staticmethod
    def _inside(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        call_command("migrate", verbosity=0)
        return BENCHES[name][0](options)
