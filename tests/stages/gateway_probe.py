"""Runs as an agent would: asks the gateway, then looks for everything that it must not find."""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

PORT, REVERSED_KEY, URL, TOKEN = sys.argv[1:]
KEY = REVERSED_KEY[::-1]  # so that what it looks for is not what it was told


def ask(path: str, **more: object) -> Any:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello."}], **more}
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), headers)  # noqa: S310 - ours
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        return json.load(response)


def answers(shape: str) -> str:
    try:
        if shape == "openai":
            return str(ask("/openai/v1/chat/completions")["choices"][0]["message"]["content"])
        return str(ask("/anthropic/v1/messages", max_tokens=50)["content"][0]["text"])
    except OSError as error:
        return str(error)


def reaches(port: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(port)), 2).close()
    except OSError:
        return False
    return True


def holders() -> list[str]:
    """Processes that have the key in their environment or command line."""
    processes = Path("/proc").glob("[0-9]*")
    return [str(path / name) for path in processes for name in ("environ", "cmdline") if holds(path / name)]


def holds(path: Path) -> bool:
    try:
        return KEY.encode() in path.read_bytes()
    except OSError:
        return False


sys.stdout.write(
    json.dumps(
        {
            "openai": answers("openai"),
            "anthropic": answers("anthropic"),
            "other": reaches(PORT),
            "key": holders(),
            "children": len(Path("/proc/self/task", str(os.getpid()), "children").read_text().split()),
            "routes": len(Path("/proc/net/route").read_text().splitlines()[1:]),
        }
    )
)
