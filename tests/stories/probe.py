"""Looks for everything that an agent's command must not find: the server's network, secrets, files, processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PORT, DATA, BESIDE, SOURCE, SECRET = sys.argv[1:]


def network() -> bool:
    socket.create_connection(("127.0.0.1", int(PORT)), 2).close()
    return True


def environment() -> bool:
    return SECRET in os.environ.values() or any(holds(path) for path in Path("/proc").glob("[0-9]*/environ"))


def holds(path: Path) -> bool:
    try:
        return SECRET.encode() in path.read_bytes()
    except OSError:
        return False


def write_outside() -> bool:
    return Path(BESIDE, "escaped").write_text("x") == 1


def finds(look: Callable[[], bool]) -> bool:
    try:
        return look()
    except OSError:
        return False


found = {
    "network": finds(network),
    "environment": finds(environment),
    "data directory": finds(lambda: any(Path(DATA).iterdir())),
    "neighbour": finds(lambda: any(Path(DATA, "workspaces").glob("*/*"))),
    "write outside": finds(write_outside),
    "source": finds(Path(SOURCE, "manage.py").exists),
}
subprocess.Popen(["sleep", "987654"], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
sys.stdout.write(f"PROBE {json.dumps(found)}\n")
