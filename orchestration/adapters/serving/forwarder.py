"""Runs inside a sandbox: connections to a port on its loopback go to a Unix socket. Stands alone, no import of ours.

Usage: forwarder.py PORT SOCKET COMMAND... It becomes COMMAND; a process of its own forwards as long as that lives.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading

CHUNK = 65536


def main(port: int, path: str, command: list[str]) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=64) as listener:
        agent = os.pidfd_open(os.getpid())
        child = os.fork()
        if child == 0:
            forward_apart(listener, path, agent)
        os.waitpid(child, 0)
        os.close(agent)
    try:
        os.execvp(command[0], command)  # noqa: S606 - that is what it is for
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}.\n")
        os._exit(127)


def forward_apart(listener: socket.socket, path: str, agent: int) -> None:
    """In a grandchild: the agent has no child that it did not start, and reads the end of its own pipes."""
    try:
        os.setsid()
        if os.fork():
            return
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        forward(listener, path, agent)
    finally:
        os._exit(0)


def forward(listener: socket.socket, path: str, agent: int) -> None:
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    waiting.register(agent, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in waiting.poll()}
        if agent in ready:
            return
        threading.Thread(target=join, args=(listener.accept()[0], path), daemon=True).start()


def join(near: socket.socket, path: str) -> None:
    with near, socket.socket(socket.AF_UNIX) as far:
        far.connect(path)
        back = threading.Thread(target=pour, args=(far, near), daemon=True)
        back.start()
        pour(near, far)
        back.join()


def pour(source: socket.socket, target: socket.socket) -> None:
    """Until the source has ended; then the target is told so."""
    try:
        while data := source.recv(CHUNK):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        # Either side is gone: nothing is worth keeping of the other.
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
