"""Starts everything on this machine: pages, engine and tick in one process."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from channels.routing import get_default_application
from daphne.endpoints import build_endpoint_description_strings
from daphne.server import Server, twisted_loop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestration.adapters import live, storage
from orchestration.demo.install import install
from orchestration.domain.errors import SwarmsiteError
from orchestration.management.bootstrap import bootstrap
from orchestration.management.engine import EngineRuns, running
from orchestration.management.migrating import bring_up_to_date
from orchestration.models import User
from orchestration.reads.sign_in import one_time_path


class Command(BaseCommand):
    help = "Start the site, the engine and the tick in one process."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback)")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--demo", action="store_true", help="install the demo repository and its scripted model")

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = options["host"], options["port"]
        _refuse_unsafe(host)
        bring_up_to_date()
        team, operator = bootstrap()
        try:
            if options["demo"]:
                install(team, storage.data_directory())
            with running():
                live.serve_from(twisted_loop)
                self._serve(host, port, self._greeting(host, port, operator))
        except EngineRuns as error:
            raise CommandError(f"{error} Stop it first, or set another SWARM_DATA_DIR.", returncode=2) from None
        except SwarmsiteError as error:
            raise CommandError(str(error), returncode=2) from None

    def _greeting(self, host: str, port: int, operator: User) -> str:
        address = settings.PUBLIC_URL or f"http://{host}:{port}"
        lines = [f"Swarmsite {settings.VERSION} runs at {address}/"]
        if not operator.has_usable_password():
            lines.append(f"Sign in once with this link, then set a password: {address}{one_time_path(operator)}")
        return "\n".join([*lines, storage.sandbox().describe()])

    def _serve(self, host: str, port: int, greeting: str) -> None:
        """Until SIGINT or SIGTERM."""
        endpoints = build_endpoint_description_strings(host=host, port=port)
        server = _Server(get_default_application(), endpoints=endpoints, verbosity=0)
        server.on_listening = lambda: self._say(greeting)
        server.run()
        if not server.listening_addresses:
            raise SwarmsiteError(f"The address {host}:{port} is taken; choose another with --port.")

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


class _Server(Server):  # type: ignore[misc]  # Daphne has no types
    """Says that it runs once it can be reached."""

    on_listening: Callable[[], None]

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        self.on_listening()


def _refuse_unsafe(host: str) -> None:
    """Without a sandbox agents' commands run as this user: never where others can reach the pages."""
    if settings.SWARM["SANDBOX"] != "none":
        return
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback or settings.PUBLIC_URL:
        raise CommandError(
            "SWARM_SANDBOX is none, so agents' commands would run unprotected; that is refused on a public address.",
            returncode=2,
        )
