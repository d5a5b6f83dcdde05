"""Git's own server for https, as a handler of Python's asks it."""

from __future__ import annotations

import os
import subprocess
from http.server import BaseHTTPRequestHandler
from pathlib import Path

Answer = tuple[int, list[tuple[str, str]], bytes]


def http_backend(asked: BaseHTTPRequestHandler, root: Path, body: bytes, **more: str) -> Answer:
    """The status, headers and body for one request to the repositories beneath `root`."""
    path, _, query = asked.path.partition("?")
    env = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_METHOD": asked.command,
        "CONTENT_TYPE": asked.headers.get("Content-Type", ""),
        "GIT_PROTOCOL": asked.headers.get("Git-Protocol", ""),
        "HTTP_CONTENT_ENCODING": asked.headers.get("Content-Encoding", ""),
    }
    made = subprocess.run(["git", "http-backend"], input=body, env=env | more, capture_output=True, check=False)
    head, _, content = made.stdout.partition(b"\r\n\r\n")
    fields = [(line.partition(": ")[0], line.partition(": ")[2]) for line in head.decode().split("\r\n")]
    status = int(dict(fields).get("Status", "200 OK")[:3])
    return status, [(name, value) for name, value in fields if name != "Status"], content


def answer(asked: BaseHTTPRequestHandler, status: int, fields: list[tuple[str, str]], content: bytes) -> None:
    asked.send_response(status)
    for name, value in fields:
        asked.send_header(name, value)
    asked.send_header("Content-Length", str(len(content)))
    asked.end_headers()
    asked.wfile.write(content)
