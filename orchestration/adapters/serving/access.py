"""What an agent that is not ours is told about the gateway, and the command line that brings it there."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.serving import bridge

INSIDE_PORT = 8787  # on the loopback of a sandbox without network, which is the agent's alone
SOCKET = "gateway.sock"
FORWARDER = "forwarder.py"
BRIDGE = ".swarmsite/bridge.py"


@dataclass(frozen=True, slots=True)
class GatewayAccess:
    """One attempt's own. `directory` holds a socket and has to be shown to the sandbox; None: loopback is reached
    without it, because the agent runs in the server's network. `stop` is set when the attempt is cancelled, and when a
    call met a limit: its check() raises which."""

    token: str = field(repr=False)
    model: str
    port: int
    directory: Path | None
    stop: Cancellation = field(default_factory=Cancellation, repr=False)
    idle: Callable[[], float] = field(default=lambda: math.inf, repr=False)  # seconds since a call was in flight

    @property
    def base_url(self) -> str:
        """As the agent sees it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        """What clients of Chat Completions and Responses take as their base URL."""
        return f"{self.base_url}/openai/v1"

    @property
    def anthropic_url(self) -> str:
        """What clients of Messages take as their base URL; they add /v1/messages themselves."""
        return f"{self.base_url}/anthropic"

    @property
    def tools_url(self) -> str:
        """Where the attempt's own tools are, for clients of the Model Context Protocol that speak HTTP."""
        return f"{self.base_url}/mcp"

    @property
    def shown(self) -> tuple[Path, ...]:
        """For Sandbox.open(shown=...)."""
        return () if self.directory is None else (self.directory,)


def forwarder_argv(access: GatewayAccess, argv: Sequence[str]) -> list[str]:
    """Starts the forwarder, then becomes `argv`: same process, same descriptors, same end. The forwarder listens
    before `argv` begins, writes nothing, and ends with it."""
    if access.directory is None:
        return list(argv)
    script, socket = access.directory / FORWARDER, access.directory / SOCKET
    return [python(), "-I", "-S", str(script), str(access.port), str(socket), *argv]


def bridge_argv(home: str) -> list[str]:
    """The same tools over a program's input and output; `bridge_files` have to lie in that home."""
    return [python(), "-I", "-S", f"{home}/{BRIDGE}"]


def bridge_files(access: GatewayAccess) -> dict[str, str]:
    """Beneath the agent's home. Neither a command line nor a variable holds the token: agents hand both around."""
    settings = json.dumps({"port": access.port, "token": access.token})
    return {
        BRIDGE: Path(bridge.__file__).read_text(),
        str(Path(BRIDGE).with_name(bridge.SETTINGS)): settings,
    }


def python() -> str:
    """The interpreter that every sandbox shows; a virtual environment is in none."""
    version = sys.version_info
    return str(Path(sys.base_prefix, "bin", f"python{version.major}.{version.minor}"))
