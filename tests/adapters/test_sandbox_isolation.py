"""The same probe finds everything that was planted when it runs outside a box, and nothing of it inside."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestration.adapters.sandbox import isolation, mounts
from orchestration.adapters.sandbox.bubblewrap import Bubblewrap
from orchestration.domain.errors import AdapterError, Failure

pytestmark = pytest.mark.sandbox
LONG = 60.0

PROBE = """
import glob, json, os, socket, sys
planted = json.loads(sys.argv[1])

def reads(path):
    try:
        return planted["secret"] in open(path, errors="replace").read()
    except OSError:
        return False

def writes(directory):
    path = os.path.join(directory, planted["secret"])
    try:
        open(path, "w").close()
        return True
    except OSError:
        return False

def connects(kind, address):
    try:
        socket.socket(kind, socket.SOCK_STREAM).connect(address)
        return True
    except OSError:
        return False

print(json.dumps({
    "listener": connects(socket.AF_INET, ("127.0.0.1", planted["port"])),
    "abstract socket": connects(socket.AF_UNIX, "\\0" + planted["secret"]),
    "variable": os.environ.get("PLANTED") == planted["secret"],
    "any environment": any(reads(p) for p in glob.glob("/proc/[0-9]*/environ")),
    "parent's environment": reads(f"/proc/{os.getppid()}/environ"),
    "neighbour": reads(planted["neighbour"]) or reads("/workspace/../neighbour/file"),
    "data": reads(planted["data"]),
    "source": os.path.exists(planted["source"]),
    "virtual environment": os.path.exists(planted["venv"]),
    "home": reads(os.path.join(planted["home"], "file")),
    "temporary": reads(planted["temporary"]),
    "writes home": writes(planted["home"]),
    "writes temporary": writes(os.path.dirname(planted["temporary"])),
    "server's process": os.path.exists(f"/proc/{planted['pid']}/root") and reads(f"/proc/{planted['pid']}/environ"),
}))
"""


@dataclass(frozen=True)
class Planted:
    workspace: Path
    data: Path
    secret: str
    facts: dict[str, str | int]


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Planted]:
    secret = secrets.token_hex(16)
    data = tmp_path / "data"
    files = {
        "neighbour": data / "workspaces/neighbour/file",
        "data": data / "database",
        "temporary": tmp_path / "temporary/file",
        "home": tmp_path / "home/file",
    }
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(secret)
    workspace = data / "workspaces/own"
    workspace.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener, abstract_listener(secret):
        facts: dict[str, str | int] = {name: str(path) for name, path in files.items()} | {
            "home": str(tmp_path / "home"),
            "secret": secret,
            "port": listener.getsockname()[1],
            "source": str(Path(mounts.__file__)),
            "venv": sys.prefix + "/pyvenv.cfg" if sys.prefix != sys.base_prefix else str(Path(__file__)),
            "pid": os.getpid(),
        }
        yield Planted(workspace, data, secret, facts)


@contextmanager
def abstract_listener(name: str) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind("\0" + name)
        listener.listen()
        yield


def command(planted: Planted) -> list[str]:
    return ["python3", "-c", PROBE, json.dumps(planted.facts)]


def test_the_probe_finds_everything_outside(planted: Planted) -> None:
    """The control: a child of a process whose environment has the secret, as a worker's would."""
    wrapper = f"import subprocess, sys; subprocess.run([{sys.executable!r}, *sys.argv[1:]], check=True)"
    done = subprocess.run(
        [sys.executable, "-c", wrapper, *command(planted)[1:]],
        env={**os.environ, "PLANTED": planted.secret},
        cwd=planted.workspace,
        capture_output=True,
        check=True,
    )
    found = json.loads(done.stdout)
    found.pop("server's process")  # the planted variable is the child's, not the test's
    assert [name for name, seen in found.items() if not seen] == []


def test_the_probe_finds_nothing_inside(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", planted.secret)
    with Bubblewrap(hidden=(planted.data,)).open(planted.workspace) as box:
        result = box.run(command(planted), timeout_s=LONG)
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert [name for name, seen in found.items() if seen] == []


def test_two_boxes_at_once_do_not_see_each_other(tmp_path: Path) -> None:
    places = [tmp_path / "one", tmp_path / "two"]
    for place in places:
        place.mkdir()
    sandbox = Bubblewrap()
    with sandbox.open(places[0]) as one, sandbox.open(places[1]) as two:
        one.run("echo secret > /tmp/left; echo secret > ~/left; echo secret > /dev/shm/left", timeout_s=LONG)
        seen = two.run("ls -A /tmp ~ /dev/shm /workspace; ls /proc | grep -c '^[0-9]'", timeout_s=LONG)
    assert "left" not in seen.output
    assert int(seen.output.splitlines()[-1]) < 8


WRITES = """
for path in / /etc /usr /usr/local /usr/bin /dev /proc /root /home /var /run /workspace /tmp ~ /dev/shm; do
  if touch "$path/file" 2>/dev/null; then echo "$path"; fi
done
"""


def test_only_the_workspace_and_private_memory_can_be_written(tmp_path: Path) -> None:
    with Bubblewrap().open(tmp_path) as box:
        written = box.run(WRITES, timeout_s=LONG).output.split()
    assert written == ["/workspace", "/tmp", mounts.HOME, "/dev/shm"]
    assert (tmp_path / "file").exists()


def test_a_read_only_workspace_can_be_read_and_not_written(tmp_path: Path) -> None:
    (tmp_path / "given").write_text("content")
    with Bubblewrap().open(tmp_path, read_only=True) as box:
        written = box.run(WRITES, timeout_s=LONG).output.split()
        read = box.run("cat given; rm -f given; echo x > given", timeout_s=LONG)
    assert written == ["/tmp", mounts.HOME, "/dev/shm"]
    assert read.output.startswith("content")
    assert (tmp_path / "given").read_text() == "content"


def test_private_memory_is_bounded(tmp_path: Path) -> None:
    with Bubblewrap().open(tmp_path) as box:
        for place in mounts.WRITABLE:
            size = box.run(["stat", "-f", "-c", "%b %S", place], timeout_s=LONG).output.split()
            assert int(size[0]) * int(size[1]) == mounts.WRITABLE[place] * 1024 * 1024


def test_the_files_that_we_put_there_cannot_be_changed(tmp_path: Path) -> None:
    with Bubblewrap().open(tmp_path) as box:
        for attack in (
            "echo x >>/etc/passwd",
            "rm -f /etc/passwd",
            "mv /etc/passwd /etc/other",
            "chmod 666 /etc/passwd",
        ):
            assert box.run(attack, timeout_s=LONG).exit_code != 0
        assert "agent:x:1000" in box.run("cat /etc/passwd", timeout_s=LONG).output


def test_without_the_seal_they_could(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(mounts, "_sealed", lambda: iter(()))
    monkeypatch.setattr(isolation, "breaches", lambda *_, **__: [])
    with Bubblewrap().open(tmp_path) as box:
        assert box.run("mv /etc/passwd /etc/other && echo moved", timeout_s=LONG).output == "moved\n"


KERNEL = "for file in /proc/sys/kernel/core_pattern /proc/sys/vm/drop_caches; do test -w $file && echo $file; done"


def test_the_kernels_settings_cannot_be_written(tmp_path: Path) -> None:
    with Bubblewrap().open(tmp_path) as box:
        assert box.run(KERNEL, timeout_s=LONG).output == ""


def test_without_the_seal_a_root_servers_box_could_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control. An ordinary user may not in any case."""
    monkeypatch.setattr(mounts, "_sealed", lambda: iter(()))
    monkeypatch.setattr(isolation, "breaches", lambda *_, **__: [])
    with Bubblewrap().open(tmp_path) as box:
        assert ("core_pattern" in box.run(KERNEL, timeout_s=LONG).output) == (os.geteuid() == 0)


def test_there_is_no_privilege_to_be_had(tmp_path: Path) -> None:
    with Bubblewrap().open(tmp_path) as box:
        status = box.run("cat /proc/self/status; id -u", timeout_s=LONG).output
        namespaces = box.run("unshare --user true", timeout_s=LONG)
    capabilities = [line.split()[1] for line in status.splitlines() if line.startswith("Cap")]
    assert set(capabilities) == {"0" * 16}
    assert "NoNewPrivs:\t1" in status
    assert status.endswith(f"{mounts.USER}\n")
    assert namespaces.exit_code != 0


def test_no_descriptor_of_ours_is_inherited(tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        with Bubblewrap().open(tmp_path) as box:
            held = box.run("ls /proc/$$/fd; true", timeout_s=LONG).output.split()
    assert {int(fd) for fd in held} <= {0, 1, 2, 255}  # 255 is bash's own


def test_the_arguments_of_the_sandbox_show_no_path_of_the_host(tmp_path: Path) -> None:
    with Bubblewrap(hidden=(tmp_path,)).open(tmp_path) as box:
        assert str(tmp_path) not in box.run("cat /proc/1/cmdline", timeout_s=LONG).output


def test_an_interpreter_is_there_and_its_packages_are_the_bases(tmp_path: Path) -> None:
    with Bubblewrap().open(tmp_path) as box:
        result = box.run(["python3", "-c", "import sys; print(sys.prefix == sys.base_prefix)"], timeout_s=LONG)
    assert result.output == "True\n"


def test_an_operators_tools_are_visible_and_on_the_path_and_read_only(tmp_path: Path) -> None:
    tool = tmp_path / "tool/bin/greet"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\necho hello\n")
    tool.chmod(0o755)
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    with Bubblewrap(tools=(tmp_path / "tool",)).open(workspace) as box:
        result = box.run(f"greet; echo changed > {tool}", timeout_s=LONG)
    assert result.output.startswith("hello\n")
    assert tool.read_text().endswith("hello\n")


def test_the_network_is_there_only_when_asked_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        attempt = f"exec 3<>/dev/tcp/127.0.0.1/{listener.getsockname()[1]} && echo reached"
        with Bubblewrap().open(tmp_path) as box:
            closed = box.run(["bash", "-c", attempt], timeout_s=LONG)
        with Bubblewrap().open(tmp_path, network=True) as box:
            opened = box.run(["bash", "-c", attempt], timeout_s=LONG)
    assert "reached" not in closed.output
    assert opened.output == "reached\n"


def without(*removed: str) -> object:
    """The box's real options less some of them."""
    real = mounts.options

    def options(view: mounts.View) -> list[list[str]]:
        return [[word for word in words if word not in removed] for words in real(view)]

    return options


@pytest.mark.parametrize(
    ("removed", "reason"),
    [
        (["--unshare-net"], "the net namespace is the server's"),
        (["--unshare-pid", "--as-pid-1"], "the pid namespace is the server's"),
    ],
)
def test_a_box_whose_isolation_is_broken_does_not_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: list[str], reason: str
) -> None:
    monkeypatch.setenv("PLANTED", "secret")
    monkeypatch.setattr(mounts, "options", without(*removed))
    with pytest.raises(AdapterError) as caught:
        Bubblewrap().open(tmp_path)
    assert caught.value.kind is Failure.PERMANENT
    assert reason in str(caught.value)


def test_a_visible_data_directory_does_not_open(tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    with pytest.raises(AdapterError, match=r"does not isolate: .* is visible"):
        Bubblewrap(tools=(tmp_path,), hidden=(tmp_path,)).open(tmp_path / "workspace")


def test_a_writable_system_does_not_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "_sealed", lambda: iter(()))
    with pytest.raises(AdapterError, match=r"/proc can be written"):
        Bubblewrap().open(tmp_path)


def judged(**parts: str) -> list[str]:
    """What the judge says of a healthy report with some parts replaced."""
    report = {
        "directory": mounts.WORKSPACE,
        "devices": "Inter-| Receive\n face |bytes\n    lo: 0 0\n  sit0: 0 0",
        "mounts": "1 0 0:1 / / ro - tmpfs t ro\n2 1 0:2 / /workspace rw - ext4 d rw",
        "variables": "HOME=/home/agent\ufffdPWD=/workspace\ufffd",
        "visible": "",
        "namespaces": "pid:[2]\nnet:[2]",
    } | parts
    text = "".join(f"{part}\n\nmark\n" for part in report.values())
    return isolation.breaches(
        text, "mark", allowed=["HOME"], network=False, read_only=False, outside=["pid:[1]", "net:[1]"]
    )


def test_a_healthy_report_has_no_breach() -> None:
    assert judged() == []


@pytest.mark.parametrize(
    ("part", "value", "breach"),
    [
        ("directory", "/", "it does not start in the workspace"),
        ("devices", "  eth0: 5 5", "there is a network device eth0"),
        ("variables", "HOME=/home/agent\ufffdAWS_SECRET=1\ufffd", "the environment has AWS_SECRET"),
        ("mounts", "1 0 0:1 / /usr rw - ext4 d rw", "/usr can be written"),
        ("visible", "/data", "/data is visible"),
        ("namespaces", "pid:[1]\nnet:[2]", "the pid namespace is the server's"),
        ("namespaces", "pid:[2]\nnet:[1]", "the net namespace is the server's"),
        ("namespaces", "", "its namespaces cannot be read"),
    ],
)
def test_each_breach_is_named(part: str, value: str, breach: str) -> None:
    assert judged(**{part: value}) == [breach]


def test_a_check_that_did_not_finish_is_a_breach() -> None:
    found = isolation.breaches("", "mark", allowed=[], network=False, read_only=False, outside=[])
    assert found == ["its check did not run to the end"]
