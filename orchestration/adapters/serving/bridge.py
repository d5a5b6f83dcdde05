"""Runs inside a sandbox: what an agent says to its tools by lines goes to the gateway, and the answers come back.

Stands alone, no import of ours. Beside it lies bridge.json with the port and the token.
"""

from __future__ import annotations

import http.client
import json
import sys
from pathlib import Path

LONGEST_S = 3600.0
SETTINGS = "bridge.json"


def main() -> None:
    settings = json.loads(Path(__file__).with_name(SETTINGS).read_text())
    for line in sys.stdin.buffer:
        said = answer(line.strip(), settings["port"], settings["token"])
        if said:
            sys.stdout.buffer.write(said + b"\n")
            sys.stdout.buffer.flush()


def answer(line: bytes, port: int, token: str) -> bytes:
    if not line:
        return b""
    try:
        status, body = post(line, port, token)
    except (OSError, http.client.HTTPException) as error:
        return refusal(line, f"The gateway cannot be reached: {error}")
    return body if status in {200, 202} else refusal(line, f"The gateway refused it ({status}).")


def post(line: bytes, port: int, token: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST_S)
    try:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request("POST", "/mcp", line, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def refusal(line: bytes, why: str) -> bytes:
    """A request has to have an answer; what is none is passed over."""
    try:
        id_ = json.loads(line).get("id")
    except (ValueError, AttributeError):
        return b""
    if id_ is None:
        return b""
    return json.dumps({"jsonrpc": "2.0", "id": id_, "error": {"code": -32603, "message": why}}).encode()


if __name__ == "__main__":
    main()
