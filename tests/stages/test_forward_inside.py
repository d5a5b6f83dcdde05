"""From inside a real sandbox without network the agent reaches the gateway, and nothing else; no key is in there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters.sandbox import Sandbox
from orchestration.adapters.sandbox.bubblewrap import Bubblewrap
from orchestration.adapters.sandbox.unconfined import Unconfined
from orchestration.adapters.serving.access import SOCKET, forwarder_argv
from orchestration.demo.service import Answer
from tests.stages.gateway_rig import Lines, Office, opened

pytestmark = [pytest.mark.sandbox, pytest.mark.any_database]

KEY = "sk-planted-0123456789abcdef"
PROBE = Path(__file__).with_name("gateway_probe.py")


@pytest.fixture
def key(monkeypatch, world) -> None:
    monkeypatch.setenv("SWARM_TEST_MODEL_KEY", KEY)
    world.endpoint.key_env = "SWARM_TEST_MODEL_KEY"


def probe(office: Office, sandbox: Sandbox, workspace: Path, listener: int) -> dict[str, Any]:
    """What an agent finds that runs in the box beside its forwarder."""
    access = office.access
    arguments = [str(listener), KEY[::-1], access.base_url, access.token]
    with sandbox.open(workspace, network=access.directory is None, shown=access.shown) as box:
        command = ["python3", "-c", PROBE.read_text(), *arguments]
        done = box.run(forwarder_argv(access, command), timeout_s=30)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.output)
    return found


def test_inside_only_the_gateway_is_reached_and_no_key_is_seen(world, tmp_path, listener, key):
    with opened(world, Lines(Answer("Hello from outside."))) as office:
        found = probe(office, Bubblewrap(), tmp_path, listener)
        assert found == {
            "openai": "Hello from outside.",
            "anthropic": "Hello from outside.",
            "other": False,
            "key": [],
            "children": 0,
            "routes": 0,
        }
        assert office.fresh().steps == 2
        assert [one.authorization for one in office.service.requests] == [f"Bearer {KEY}"] * 2

        # The control: outside the same probe reaches the listener, and reads the key from the server's process.
        with Unconfined().open(tmp_path) as box:
            at = f"http://127.0.0.1:{office.service.port}"
            command = ["python3", "-c", PROBE.read_text(), str(listener), KEY[::-1], at, "none"]
            found = json.loads(box.run(["env", f"PLANTED={KEY}", *command], timeout_s=30).output)
        assert found["other"] is True
        assert found["key"]


def test_the_socket_cannot_be_replaced_from_inside(world, tmp_path):
    with opened(world, Lines()) as office, Bubblewrap().open(tmp_path, shown=office.access.shown) as box:
        path = office.access.shown[0] / SOCKET
        done = box.run(f"rm -f {path}; echo x > {path.parent}/file; chmod 000 {path}; true", timeout_s=30)
        assert done.output.count("Read-only file system") == 3
        assert office.post().status_code == 200


def test_without_a_wall_the_agent_reaches_the_gateway_on_loopback_itself(world, tmp_path, listener, key):
    with opened(world, Lines(Answer("Near.")), network=True) as office:
        assert forwarder_argv(office.access, ["agent", "-x"]) == ["agent", "-x"]
        found = probe(office, Unconfined(), tmp_path, listener)
        assert (found["openai"], found["anthropic"], found["key"]) == ("Near.", "Near.", [])


def test_when_the_agent_is_killed_nothing_of_its_forwarder_is_left(world, tmp_path):
    with opened(world, Lines()) as office, Bubblewrap().open(tmp_path, shown=office.access.shown) as box:
        script = str(office.access.shown[0])
        done = box.run(forwarder_argv(office.access, ["sh", "-c", "kill -9 $$"]), timeout_s=30)
        assert done.exit_code == 137
        assert running(script) == []
        late = box.run(forwarder_argv(office.access, ["sleep", "60"]), timeout_s=0.5)
        assert late.timed_out
        assert running(script) == []


def running(words: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if words.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def test_the_interpreter_that_starts_the_forwarder_is_in_the_box(world, tmp_path):
    with opened(world, Lines()) as office, Bubblewrap().open(tmp_path, shown=office.access.shown) as box:
        python = forwarder_argv(office.access, ["true"])[0]
        assert python != sys.executable  # which lies in a virtual environment, and that is not shown
        assert box.run([python, "-c", "print(1)"], timeout_s=30).output == "1\n"
