"""The forwarder gives an agent a port on its loopback and is otherwise not there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.adapters.serving import forwarder
from orchestration.adapters.serving.access import FORWARDER, SOCKET, GatewayAccess, forwarder_argv

TALK = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as end:
    end.sendall(sys.stdin.buffer.read())
    end.shutdown(socket.SHUT_WR)
    while data := end.recv(65536):
        sys.stdout.buffer.write(data)
"""


@pytest.fixture
def access(tmp_path) -> Iterator[GatewayAccess]:
    """With a server at the socket that says everything back in capitals."""
    (tmp_path / FORWARDER).write_text(Path(forwarder.__file__).read_text())
    with socket.socket(socket.AF_UNIX) as listener, socket.socket() as free:
        listener.bind(str(tmp_path / SOCKET))
        listener.listen()
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        threading.Thread(target=serve, args=[listener], daemon=True).start()
        yield GatewayAccess("t", "m", port, tmp_path)
        listener.shutdown(socket.SHUT_RDWR)


def serve(listener: socket.socket) -> None:
    while True:
        try:
            end, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=shout, args=[end], daemon=True).start()


def shout(end: socket.socket) -> None:
    with end:
        while data := end.recv(65536):
            end.sendall(data.upper())


def run(access: GatewayAccess, *argv: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(forwarder_argv(access, argv), input=given, capture_output=True, timeout=30, check=False)


def left_of(access: GatewayAccess) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [path.parent.name] if str(access.directory).encode() in path.read_bytes() else []
        except OSError:
            continue
    return found


def gone(access: GatewayAccess) -> bool:
    end = time.monotonic() + 60
    while left_of(access) and time.monotonic() < end:
        threading.Event().wait(0.01)
    return not left_of(access)


def test_bytes_go_both_ways_whole_and_end_where_they_end(access):
    words = os.urandom(2000).hex().encode() * 500
    done = run(access, sys.executable, "-c", TALK, str(access.port), given=words)
    assert done.stdout == words.upper()
    assert (done.returncode, done.stderr) == (0, b"")
    assert gone(access)


def test_the_agent_keeps_its_input_output_and_end(access):
    done = run(access, "sh", "-c", "cat; echo apart >&2; exit 7", given=b"hello")
    assert (done.stdout, done.stderr, done.returncode) == (b"hello", b"apart\n", 7)
    assert run(access, "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM
    assert gone(access)


def test_the_agent_has_no_child_that_it_did_not_start_and_no_descriptor_more(access):
    script = "import os; print(open(f'/proc/self/task/{os.getpid()}/children').read(), os.listdir('/proc/self/fd'))"
    assert run(access, sys.executable, "-c", script).stdout == run_bare(sys.executable, "-c", script)


def run_bare(*argv: str) -> bytes:
    return subprocess.run(argv, input=b"", capture_output=True, timeout=30, check=True).stdout


def test_the_port_is_there_before_the_agent_begins(access):
    for _ in range(5):
        assert run(access, sys.executable, "-c", TALK, str(access.port), given=b"x").stdout == b"X"
        assert gone(access)


def test_an_agent_that_is_not_there_is_said_so_as_a_shell_would(access):
    done = run(access, "no-such-agent")
    assert done.returncode == 127
    assert done.stderr == b"no-such-agent cannot be started: No such file or directory.\n"
    assert gone(access)


def test_a_gateway_that_is_gone_closes_the_agents_connections(access):
    assert access.directory is not None
    (access.directory / SOCKET).unlink()
    done = run(access, sys.executable, "-c", TALK, str(access.port), given=b"x")
    assert done.stdout == b""
    assert gone(access)


def test_it_ends_with_the_agent_even_while_others_hold_the_agents_output(access):
    agent = subprocess.Popen(forwarder_argv(access, ["sleep", "60"]), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    with agent:
        while len(left_of(access)) != 1:  # the forwarder alone: the agent has become sleep
            threading.Event().wait(0.01)
        agent.kill()
        assert agent.wait(60) == -signal.SIGKILL
        assert agent.stdout is not None
        assert agent.stdout.read() == b""  # nobody else holds it open
    assert gone(access)
