"""The site as it is in earnest: Daphne on loopback, in a thread of this process, on the test's database."""

from __future__ import annotations

import threading
from typing import Any

import daphne.server

from orchestration.adapters import live
from swarmsite.asgi import application


class LiveServer:
    """One a process: the reactor below it cannot be started twice."""

    def __init__(self) -> None:
        self._server = daphne.server.Server(
            application=application, endpoints=["tcp:0:interface=127.0.0.1"], signal_handlers=False
        )
        self._listening = threading.Event()
        succeeded = self._server.listen_success

        def listen_success(port: Any) -> None:
            succeeded(port)
            self._listening.set()

        self._server.listen_success = listen_success
        threading.Thread(target=self._server.run, daemon=True, name="daphne").start()
        assert self._listening.wait(60), "the server did not start"
        live.serve_from(daphne.server.twisted_loop)
        host, port = self._server.listening_addresses[0]
        self.url = f"http://{host}:{port}"
