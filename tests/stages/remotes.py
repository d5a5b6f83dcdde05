"""Other people's repositories for tests: bare ones at a path, and a real git server with TLS and sign-in."""

from __future__ import annotations

import base64
import http.server
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typing_extensions import override

from tests.adapters.git.conftest import Clone
from tests.adapters.git.http_backend import answer, http_backend

USER, TOKEN = "x-access-token", "secret-token-of-the-shop-0123456789"


class Bare:
    """A repository on a server of somebody else's, and somebody who works on it beside us."""

    def __init__(self, clone: Clone, path: Path) -> None:
        self.path, self.clone = path, clone
        clone.git("clone", "-q", "--bare", ".", str(path))
        clone.git("remote", "add", "hub", str(path))

    def git(self, *args: str, ok: tuple[int, ...] = (0,)) -> str:
        return self.clone.git(f"--git-dir={self.path}", *args, ok=ok)

    def tip(self, branch: str = "main") -> str:
        return self.git("rev-parse", "--verify", "-q", f"refs/heads/{branch}", ok=(0, 1))

    def file(self, name: str, branch: str = "main") -> str:
        return self.git("show", f"{branch}:{name}")

    def others_push(self, files: dict[str, str | bytes | None], message: str = "by others") -> str:
        """Onto main as it is there."""
        self.clone.git("fetch", "-q", "hub", "main")
        self.clone.git("checkout", "-q", "-B", "theirs", "FETCH_HEAD")
        sha = self.clone.commit(files, message)
        self.clone.git("push", "-q", "hub", "theirs:main")
        self.clone.git("checkout", "-q", "main")
        return sha

    def hook(self, name: str, script: str) -> None:
        hook = self.path / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\n{script}\n")
        hook.chmod(0o755)


class _Backend(http.server.BaseHTTPRequestHandler):
    """git-http-backend with a name and a password. `hub` is set by the subclass that a server makes of it."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        body = self._body()
        self.hub.seen.append((self.command, self.path))
        if trouble := self.hub.trouble:
            answer(self, trouble, [], b"")
        elif self.hub.private and self.headers.get("Authorization", "") != self.hub.pass_word:
            answer(self, 401, [("WWW-Authenticate", 'Basic realm="hub"')], b"")
        else:
            answer(self, *http_backend(self, self.hub.root, body, REMOTE_USER=USER))

    do_POST = do_GET  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    @override
    def log_message(self, *_: Any) -> None:
        pass


class Hub:
    """Serves every bare repository beneath `root`; it can be stopped and started again on the same port."""

    def __init__(self, root: Path, certificate: Path, key: Path) -> None:
        self.root, self.private, self.trouble = root, False, 0
        self.accept(TOKEN)
        self.seen: list[tuple[str, str]] = []
        self.port = 0
        self._files = certificate, key
        self._stop: Callable[[], None] | None = None

    def accept(self, token: str) -> None:
        self.pass_word = "Basic " + base64.b64encode(f"{USER}:{token}".encode()).decode()

    def start(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._files)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), type("Served", (_Backend,), {"hub": self}))
        self.port = server.server_address[1]
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=lambda: server.serve_forever(0.02))
        thread.start()

        def stop() -> None:
            server.shutdown()
            thread.join()
            server.server_close()

        self._stop = stop

    def stop(self) -> None:
        if self._stop:
            self._stop()
        self._stop = None

    def url(self, name: str) -> str:
        return f"https://127.0.0.1:{self.port}/{name}"


@contextmanager
def hub_at(root: Path) -> Iterator[tuple[Hub, Path]]:
    """With the certificate that whoever talks to it has to trust."""
    root.mkdir(parents=True, exist_ok=True)
    key, certificate = root / "key.pem", root / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=hub",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    hub = Hub(root, certificate, key)
    hub.start()
    try:
        yield hub, certificate
    finally:
        hub.stop()
