"""Where commands of agents and gates run. Choose a sandbox once at the start; open a box for each workspace."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NoReturn

from orchestration.adapters.sandbox.boxes import DEFAULT_LIMITS, Box, CommandResult, Limits, Program, Sandbox
from orchestration.adapters.sandbox.bubblewrap import Bubblewrap
from orchestration.adapters.sandbox.late import LateBox
from orchestration.adapters.sandbox.unconfined import Unconfined
from orchestration.domain.errors import AdapterError, Failure

__all__ = ["Box", "CommandResult", "LateBox", "Limits", "Program", "Sandbox", "Unavailable", "choose_sandbox"]

INSTALL = (
    "Install bubblewrap 0.8 or newer (Debian and Ubuntu: apt install bubblewrap; Fedora: dnf install bubblewrap) "
    "and allow user namespaces, or set SWARM_SANDBOX=none to run commands without a sandbox."
)


class Unavailable:
    """What "auto" gives where no sandbox works: it opens nothing and says what to do."""

    name = "unavailable"
    isolated = False

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def describe(self) -> str:
        return f"No sandbox: {self.reason}"

    def open(
        self,
        workspace: Path,
        *,
        limits: Limits = DEFAULT_LIMITS,
        network: bool = False,
        read_only: bool = False,
        shown: tuple[Path, ...] = (),
    ) -> NoReturn:
        raise AdapterError(Failure.PERMANENT, self.reason)


def choose_sandbox(setting: str, *, tools: tuple[Path, ...] = (), hidden: tuple[Path, ...] = ()) -> Sandbox:
    """The sandbox that SWARM_SANDBOX names, tried out. "auto" never falls to none.

    `tools` are shown to every box read-only, `hidden` (the data directory) must be visible in none.
    """
    match setting:
        case "none":
            return Unconfined()
        case "auto" | "bubblewrap":
            return _bubblewrap(tools, hidden, required=setting == "bubblewrap")
        case "container":
            raise AdapterError(Failure.PERMANENT, f"The container sandbox is not there yet; use bubblewrap. {INSTALL}")
    raise AdapterError(
        Failure.PERMANENT, f"SWARM_SANDBOX is {setting!r}; it must be auto, bubblewrap, container or none."
    )


def _bubblewrap(tools: tuple[Path, ...], hidden: tuple[Path, ...], *, required: bool) -> Sandbox:
    sandbox = Bubblewrap(tools=tools, hidden=hidden)
    try:
        with tempfile.TemporaryDirectory() as empty, sandbox.open(Path(empty)):
            return sandbox
    except AdapterError as error:
        reason = f"{error} {INSTALL}"
        if required:
            raise AdapterError(Failure.PERMANENT, reason) from error
        return Unavailable(reason)
