"""How long `manage.py up` takes to its first page on a data directory that is there, and what it weighs then."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from django.conf import settings

from orchestration.domain.errors import SwarmsiteError

STARTS = 3
LONGEST_S = 120.0
LOOK_EVERY_S = 0.02


def start(_: Mapping[str, Any]) -> dict[str, Any]:
    """Medians of a few starts, after one that is not counted."""
    _once()
    pairs = [_once() for _ in range(STARTS)]
    return {
        "seconds_to_first_page": round(median(seconds for seconds, _ in pairs), 2),
        "rss_mb": round(median(megabytes for _, megabytes in pairs), 1),
        "starts": STARTS,
    }


def _once() -> tuple[float, float]:
    port, begun = _free_port(), time.monotonic()
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "up", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            _await_page(f"http://127.0.0.1:{port}/", process, begun + LONGEST_S)
            return time.monotonic() - begun, _resident_mb(process.pid)
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _await_page(url: str, process: subprocess.Popen[bytes], deadline: float) -> None:
    with httpx.Client(trust_env=False, follow_redirects=True, timeout=LONGEST_S) as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                client.get(url).raise_for_status()
            except httpx.TransportError:
                time.sleep(LOOK_EVERY_S)
            else:
                return
    raise SwarmsiteError(f"The site did not answer at {url} within {LONGEST_S:g} s.")


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6
