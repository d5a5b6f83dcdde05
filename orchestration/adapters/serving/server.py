"""Serves the gateway beside the agents: one loop in a thread of its own, a socket for each attempt."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from orchestration.adapters.eventloop import LoopThread
from orchestration.adapters.per_process import PerProcess
from orchestration.adapters.serving import forwarder
from orchestration.adapters.serving.access import FORWARDER, INSIDE_PORT, SOCKET
from orchestration.adapters.serving.application import Application
from orchestration.domain.errors import AdapterError, Failure

MOST_CONNECTIONS = 64  # of one agent
HEAD_LIMIT = 65_536
HEAD_S = 30.0  # a connection that says nothing for so long is closed
IDLE_S = 60.0  # between two requests on one connection
CLOSE_S = 10.0
LONGEST_PATH = 107  # bytes: what the kernel takes for a socket


class _Connection(H11Protocol):
    """Bounded in number, and in the time that it may say nothing."""

    _silent: asyncio.TimerHandle | None = None

    @property
    def _asked(self) -> bool:
        return bool(self.cycle)

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._silent = self.loop.call_later(HEAD_S, self._give_up)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._silent is not None:
            self._silent.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if not self._asked:
            self.transport.abort()


@dataclass(slots=True)
class _Listening:
    server: asyncio.Server
    state: ServerState

    async def close(self) -> None:
        """No connection and no call is left afterwards: the calls end because their clients are gone."""
        self.server.close()
        for connection in tuple(self.state.connections):
            connection.transport.abort()
        if self.state.tasks:
            await asyncio.wait(tuple(self.state.tasks), timeout=CLOSE_S)


async def _listen(application: Application, listener: socket.socket) -> _Listening:
    config = Config(
        application,
        interface="asgi3",
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        h11_max_incomplete_event_size=HEAD_LIMIT,
        timeout_keep_alive=int(IDLE_S),
    )
    state, loop = ServerState(), asyncio.get_running_loop()

    def connection() -> asyncio.Protocol:
        return _Connection(config, state, {}, loop)

    create = loop.create_unix_server if listener.family is socket.AF_UNIX else loop.create_server
    return _Listening(await create(connection, sock=listener), state)


@contextmanager
def serving(application: Application, *, network: bool) -> Iterator[tuple[int, Path | None]]:
    """Serves it while inside: the port as the agent sees it, and the directory that its sandbox must show. With
    `network` the agent shares the server's loopback, and no directory is needed."""
    directory = None if network else _directory()
    try:
        listener = _tcp_socket() if directory is None else _unix_socket(directory / SOCKET)
        port = listener.getsockname()[1] if directory is None else INSIDE_PORT
        listening = _loop.get().start(_listen(application, listener)).result()
        try:
            yield port, directory
        finally:
            _loop.get().start(listening.close()).result(2 * CLOSE_S)
    finally:
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)


def _directory() -> Path:
    """Under the system's directory for short-lived files: the data directory's path may be too long for a socket, and
    no sandbox may see any of it."""
    directory = Path(tempfile.mkdtemp(prefix="swarm-"))
    if len(os.fsencode(directory / SOCKET)) > LONGEST_PATH:
        directory.rmdir()
        message = f"The path {directory} is too long for a socket; set TMPDIR to a shorter directory."
        raise AdapterError(Failure.PERMANENT, message)
    shutil.copyfile(forwarder.__file__, directory / FORWARDER)
    return directory


def _unix_socket(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    return listener


def _tcp_socket() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener


_loop = PerProcess(lambda: LoopThread("gateway over HTTP"))
