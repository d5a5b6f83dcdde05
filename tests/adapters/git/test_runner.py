"""One way to start git: nothing inherited, everything ended, every failure a typed sentence."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.git import spawning
from orchestration.adapters.git.runner import run_git
from orchestration.adapters.git.store import BareRepository
from orchestration.domain.errors import AdapterError, Failure
from tests.deadlines import in_time_for


@pytest.fixture
def fake_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a script in git's place."""

    def install(script: str) -> Path:
        program = tmp_path / "bin" / "git"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        return program

    return install


def gone(pid: int) -> bool:
    """Ended, or only waiting to be reaped by somebody else."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while not gone(pid):
        assert time.monotonic() < deadline
        os.sched_yield()


def test_the_servers_environment_does_not_reach_git(monkeypatch: pytest.MonkeyPatch, fake_git: Any):
    fake_git("env")
    monkeypatch.setenv("GIT_DIR", "/somewhere")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("SECRET_KEY", "hush")
    lines = run_git("anything").text.splitlines()
    assert "GIT_TERMINAL_PROMPT=0" in lines
    assert not [line for line in lines if line.startswith(("GIT_DIR=", "GIT_CONFIG_COUNT=", "SECRET_KEY="))]


def test_a_repository_in_the_current_directory_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clone: Any
):
    monkeypatch.chdir(clone.path)
    with pytest.raises(AdapterError, match="not a git repository") as caught:
        run_git("status")
    assert caught.value.kind is Failure.PERMANENT


def test_big_input_and_output_pass_through(store: BareRepository):
    content = os.urandom(3_000_000)
    sha = store.run("hash-object", "-w", "--stdin", stdin=content).text.strip()
    assert store.run("cat-file", "blob", sha).stdout == content
    cut = store.run("cat-file", "blob", sha, max_bytes=1000)
    assert cut.cut
    assert cut.stdout == content[:1000]


def test_a_child_that_does_not_read_is_no_error(fake_git: Any):
    fake_git("exit 0")
    assert run_git("x", stdin=b"x" * 1_000_000).code == 0


def test_a_timeout_kills_the_whole_group(fake_git: Any, tmp_path: Path):
    fake_git(f"sleep 600 & echo $! > {tmp_path}/pid; wait")

    def run(limit: float) -> AdapterError:
        with pytest.raises(AdapterError) as caught:
            run_git("slow", timeout_s=limit)
        return caught.value

    limit, error = in_time_for(run, lambda _: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
    assert f"did not end within {limit:g} seconds" in str(error)
    assert error.transient
    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_nothing_that_a_child_left_in_its_group_goes_on(fake_git: Any, tmp_path: Path):
    fake_git(f"sleep 600 >/dev/null 2>&1 & echo $! > {tmp_path}/pid")
    assert run_git("x").code == 0
    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_a_child_that_has_said_all_may_still_listen(fake_git: Any, tmp_path: Path):
    fake_git(f"exec >&- 2>&-; cat > {tmp_path}/heard")
    assert run_git("x", stdin=b"x" * 1_000_000).code == 0
    assert (tmp_path / "heard").stat().st_size == 1_000_000


def test_a_cancel_ends_the_child_at_once(fake_git: Any, tmp_path: Path):
    os.mkfifo(tmp_path / "started")
    fake_git(f"echo $$ > {tmp_path}/started; exec sleep 600")
    cancellation = Cancellation()
    pids: list[int] = []

    def cancel_when_started() -> None:
        pids.append(int((tmp_path / "started").read_text()))
        cancellation.cancel("the swarm was cancelled")

    thread = threading.Thread(target=cancel_when_started)
    thread.start()
    with pytest.raises(AdapterError, match="the swarm was cancelled") as caught:
        run_git("slow", cancellation=cancellation)
    thread.join()
    assert caught.value.kind is Failure.CANCELLED
    assert gone(pids[0])


def test_nothing_starts_after_a_cancel(fake_git: Any, tmp_path: Path):
    fake_git(f"touch {tmp_path}/ran")
    cancellation = Cancellation()
    cancellation.cancel("stop")
    with pytest.raises(AdapterError, match="stop"):
        run_git("x", cancellation=cancellation)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("stderr", "transient"),
    [
        ("fatal: Unable to create '/r/index.lock': File exists.", True),
        ("error: file write error: No space left on device", True),
        ("fatal: unable to access 'https://h/': Could not resolve host: h", True),
        ("fatal: unable to access 'https://h/': The requested URL returned error: 503", True),
        ("fatal: unable to access 'https://h/': The requested URL returned error: 403", False),
        ("fatal: bad object 1234", False),
        ("", False),
    ],
)
def test_what_may_work_later_is_told_from_what_will_not(fake_git: Any, stderr: str, transient: bool):
    fake_git(f'echo first >&2; echo "{stderr}" >&2; exit 128')
    with pytest.raises(AdapterError) as caught:
        run_git("fetch")
    assert caught.value.transient is transient
    assert "git fetch failed with exit code 128" in str(caught.value)


def test_a_killed_git_may_work_later(fake_git: Any):
    fake_git("kill -9 $$")
    with pytest.raises(AdapterError, match="killed by signal 9") as caught:
        run_git("x")
    assert caught.value.transient


def test_a_missing_git_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AdapterError, match="git is not installed or not on PATH"):
        run_git("version")


def test_a_missing_work_tree_says_so(tmp_path: Path):
    with pytest.raises(AdapterError, match="does not exist"):
        run_git("version", work_tree=tmp_path / "none")


def test_no_descriptor_is_left_open(store: BareRepository):
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        store.tip("main")
        with pytest.raises(AdapterError):
            store.run("no-such-command")
        with pytest.raises(ValueError, match="null"):
            store.run("version\0")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_git_gets_three_descriptors_and_dies_when_nobody_reads(fake_git: Any):
    """The server ignores SIGPIPE as every Python does, and whoever started it may have left it a descriptor."""
    fake_git("readlink /proc/self/fd/*; grep SigIgn /proc/self/status")
    inherited = os.open("/dev/zero", os.O_RDONLY)
    try:
        os.set_inheritable(inherited, True)
        spawning._keep_what_we_inherited.cache_clear()
        *open_there, ignored = run_git("anything").text.splitlines()
    finally:
        os.close(inherited)
    assert open_there[0] == "/dev/null"
    assert [one.partition(":")[0] for one in open_there[1:]] == ["pipe", "pipe"]
    assert not int(ignored.split()[1], 16) & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)
