"""Limits bind the whole group of a command, as root and as an ordinary user, and after our own death."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.sandbox import Limits
from orchestration.adapters.sandbox.bubblewrap import Bubblewrap
from orchestration.adapters.sandbox.cgroups import Groups
from orchestration.adapters.sandbox.launch import NICE
from orchestration.adapters.sandbox.unconfined import Unconfined
from orchestration.domain.errors import AdapterError
from tests.adapters.test_sandbox import LONG, processes_with, until

pytestmark = pytest.mark.sandbox
NOBODY = 65534
SOURCE = Path(__file__).resolve().parents[2]

FORKS = """
import os, sys, time
children = 0
try:
    while children < int(sys.argv[1]):
        if os.fork() == 0:
            time.sleep(600)
        children += 1
except OSError as error:
    print(error.strerror)
print("children", children)
"""
MEMORY = "data = bytearray(int(__import__('sys').argv[1]) * 1024 * 1024); print('had it')"

HOLDING = MEMORY + "; __import__('pathlib').Path('had').open('a').write('x'); __import__('time').sleep(600)"
UNTIL_MET = "until [ $(jobs -r | wc -l) -lt 4 ] || [ $(wc -c <had) = 4 ]; do sleep 0.05; done"


def python(text: str, *arguments: object) -> list[str]:
    return ["python3", "-c", text, *map(str, arguments)]


def bounded(controller: str) -> bool:
    """Whether this machine can limit it for a group; where not, the description must say so."""
    return Groups.here().bounds(controller) or (controller == "pids" and os.geteuid() != 0)


def test_the_number_of_processes_is_limited_for_the_group(tmp_path: Path) -> None:
    sandbox = Bubblewrap()
    with sandbox.open(tmp_path, limits=Limits(processes=20)) as box:
        result = box.run(python(FORKS, 100), timeout_s=LONG)
    if not bounded("pids"):
        assert "processes are limited by nothing" in sandbox.describe()
        return
    assert "Resource temporarily unavailable" in result.output
    assert "children 19" in result.output


def test_a_fork_bomb_in_one_box_disturbs_no_other(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("bomb", "calm")]
    for place in places:
        place.mkdir()
    mark = f"bomb-{secrets.token_hex(8)}"
    sandbox, limits, cancellation = Bubblewrap(), Limits(processes=40), Cancellation()
    if not bounded("pids"):
        assert "processes are limited by nothing" in sandbox.describe()
        return
    bomb = f"bomb() {{ bomb {mark} | bomb {mark} & }}; bomb 2>/dev/null; while :; do :; done 2>/dev/null"
    with sandbox.open(places[0], limits=limits) as box, sandbox.open(places[1], limits=limits) as calm:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:
            exploded = pool.submit(box.run, f"touch lit; {bomb}", timeout_s=LONG, cancellation=cancellation)
            until((places[0] / "lit").exists, "the bomb never went off")
            until(lambda: len(processes_with(mark)) > 10, "the bomb never spread")
            forked = calm.run(python(FORKS, 30), timeout_s=LONG)
            cancellation.cancel("enough")
            with pytest.raises(AdapterError, match="enough"):
                exploded.result(LONG)
    assert "children 30" in forked.output
    assert processes_with(mark) == []


def test_without_a_limit_the_same_command_forks_on(tmp_path: Path) -> None:
    """The control."""
    with Unconfined().open(tmp_path, limits=Limits(processes=20)) as box:
        result = box.run([sys.executable, "-c", FORKS, "60"], timeout_s=LONG)
    assert result.output == "children 60\n"


def test_memory_is_limited_for_the_group(tmp_path: Path) -> None:
    sandbox = Bubblewrap()
    each = f"python3 -c {shlex.quote(HOLDING)} 40 &"
    with sandbox.open(tmp_path, limits=Limits(memory_mb=100)) as box:
        result = box.run(f"touch had; {each * 4} {UNTIL_MET}", timeout_s=LONG)
        within = box.run(python(MEMORY, 40), timeout_s=LONG)
    assert ("100 MB of memory" in result.limit) == bounded("memory")
    assert ("not for their sum" in sandbox.describe()) != bounded("memory")
    assert (within.exit_code, within.output, within.limit) == (0, "had it\n", "")


def test_private_temporary_files_count_as_memory(tmp_path: Path) -> None:
    with Bubblewrap().open(tmp_path, limits=Limits(memory_mb=50)) as box:
        result = box.run("head -c 150000000 /dev/zero > /tmp/file; echo $?", timeout_s=LONG)
    assert ("50 MB of memory" in result.limit) == bounded("memory")


def test_without_a_control_group_memory_is_limited_for_each_process(tmp_path: Path) -> None:
    sandbox = Bubblewrap(groups=Groups([]))
    with sandbox.open(tmp_path, limits=Limits(memory_mb=100)) as box:
        assert "MemoryError" in box.run(python(MEMORY, 300), timeout_s=LONG).output
        assert box.run(python(MEMORY, 30), timeout_s=LONG).output == "had it\n"
    assert "not for their sum" in sandbox.describe()


@pytest.mark.parametrize("confined", [True, False])
def test_the_size_of_a_file_is_limited(tmp_path: Path, confined: bool) -> None:
    sandbox = Bubblewrap() if confined else Unconfined()
    with sandbox.open(tmp_path, limits=Limits(file_size_mb=1)) as box:
        result = box.run("head -c 3000000 /dev/zero > file", timeout_s=LONG)
        fits = box.run("head -c 1000000 /dev/zero > fits", timeout_s=LONG)
    assert result.exit_code == 153
    assert (tmp_path / "file").stat().st_size == 1024 * 1024
    assert result.limit == "The command wrote a file larger than 1 MB."
    assert (fits.exit_code, fits.limit) == (0, "")


@pytest.mark.parametrize("confined", [True, False])
def test_open_files_are_limited(tmp_path: Path, confined: bool) -> None:
    sandbox = Bubblewrap() if confined else Unconfined()
    with sandbox.open(tmp_path, limits=Limits(open_files=50)) as box:
        assert box.run("ulimit -n; ulimit -c", timeout_s=LONG).output == "50\n0\n"


def test_what_binds_nothing_is_said(tmp_path: Path) -> None:
    described = Bubblewrap(groups=Groups([])).describe()
    assert ("by nothing (the server is root)" in described) == (os.geteuid() == 0)


# --- an ordinary user -------------------------------------------------------------------------------------------

ORDINARY = """
import json, os, sys
from pathlib import Path
from concurrent.futures import ThreadPoolExecutor
from orchestration.adapters.sandbox import Limits, choose_sandbox
from orchestration.adapters.sandbox.bubblewrap import Bubblewrap
import encodings.idna, tempfile

workspaces, forks, NOBODY = [Path(p) for p in sys.argv[1:3]], sys.argv[3], int(sys.argv[4])
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(NOBODY); os.setuid(NOBODY)
sandbox = choose_sandbox("bubblewrap")
limits = Limits(processes=30)
with sandbox.open(workspaces[0], limits=limits) as one, sandbox.open(workspaces[1], limits=limits) as two:
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(box.run, ["python3", "-c", forks, "25"], timeout_s=60) for box in (one, two)]
        both = [run.result().output for run in runs]
    print(json.dumps({
        "uid": os.geteuid(), "both": both, "described": sandbox.describe(),
        "beyond": one.run(["python3", "-c", forks, "100"], timeout_s=60).output,
        "wrote": one.run("echo x > file; cat file; id -u; test -w /proc/sys/kernel/core_pattern", timeout_s=60).output,
    }))
"""


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that other users may enter, which tmp_path is not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_an_ordinary_user_has_boxes_whose_process_limits_are_their_own(reachable: Path) -> None:
    """Each box of one user counts its own processes: the limit is set inside its user namespace."""
    workspaces = [reachable / "one", reachable / "two"]
    for workspace in workspaces:
        workspace.mkdir()
        if os.geteuid() == 0:
            os.chown(workspace, NOBODY, NOBODY)
    done = subprocess.run(
        [sys.executable, "-c", ORDINARY, *map(str, workspaces), FORKS, str(NOBODY)],
        env={"PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["uid"] != 0
    assert found["both"] == ["children 25\n", "children 25\n"]
    assert "Resource temporarily unavailable" in found["beyond"]
    assert found["wrote"] == "x\n1000\n"
    assert "by resource limit" in found["described"] or "by control group" in found["described"]


# --- our own death ----------------------------------------------------------------------------------------------

SERVER = """
import sys
from pathlib import Path
from orchestration.adapters.sandbox.bubblewrap import Bubblewrap
with Bubblewrap().open(Path(sys.argv[1])) as box:
    box.run(sys.argv[2], timeout_s=600)
"""


def server(workspace: Path, command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", SERVER, str(workspace), command],
        env={"PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"]},
        cwd="/",
    )


def test_everything_dies_with_the_server_and_its_groups_are_swept(tmp_path: Path) -> None:
    mark = f"orphan-{secrets.token_hex(8)}"
    lingering = f"python3 -c 'import time; time.sleep(600)' {mark}"
    ours = server(tmp_path, f"setsid -f {lingering} > /dev/null 2>&1; {lingering}")
    try:
        until(lambda: len(processes_with(f"time.sleep(600)\0{mark}")) == 2, "the command never started")
    finally:
        ours.send_signal(signal.SIGKILL)
        ours.wait()
    until(lambda: processes_with(f"time.sleep(600)\0{mark}") == [], "the command outlived the server")
    groups = Groups.here()
    left = [found for place in groups.places for found in place.directory.glob(f"swarmsite-*-{ours.pid}-*")]
    assert left == []


def test_a_live_servers_groups_are_not_swept(tmp_path: Path) -> None:
    mark = f"alive-{secrets.token_hex(8)}"
    ours = server(tmp_path, f"python3 -c 'import time; time.sleep(600)' {mark}")
    try:
        until(lambda: len(processes_with(f"time.sleep(600)\0{mark}")) == 1, "the command never started")
        groups = Groups.here()
        held = [found for place in groups.places for found in place.directory.glob(f"swarmsite-*-{ours.pid}-*")]
        assert len(held) == len(groups.places)
        assert len(processes_with(f"time.sleep(600)\0{mark}")) == 1
    finally:
        ours.send_signal(signal.SIGKILL)
        ours.wait()
    Groups.here()


def test_a_closed_box_leaves_no_group(tmp_path: Path) -> None:
    groups = Groups.here()
    mine = f"swarmsite-*-{os.getpid()}-*"
    before = {found for place in groups.places for found in place.directory.glob(mine)}
    with Bubblewrap(groups=groups).open(tmp_path) as box:
        box.run("sleep 600 & true", timeout_s=LONG)
        during = {found for place in groups.places for found in place.directory.glob(mine)}
    assert len(during - before) == len(groups.places)
    assert {found for place in groups.places for found in place.directory.glob(mine)} == before


def test_a_group_that_takes_no_process_stops_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Bubblewrap().open(tmp_path)
    with box:

        def refuse(_: int) -> None:
            raise PermissionError("no")

        monkeypatch.setattr(box._group, "add", refuse)
        with pytest.raises(AdapterError, match="took no process"):
            box.run("touch made", timeout_s=LONG)
    assert not (tmp_path / "made").exists()


def test_what_runs_inside_leaves_the_processor_to_the_engine_and_cannot_take_it_back(tmp_path: Path) -> None:
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    with Bubblewrap().open(tmp_path, limits=Limits()) as box:
        own = box.run("nice; (nice) & wait", timeout_s=LONG)
        raised = box.run("nice -n -10 nice 2>&1", timeout_s=LONG)
    assert own.output.split() == [str(min(19, ours + NICE))] * 2
    assert str(min(19, ours + NICE)) in raised.output.split()
    assert os.getpriority(os.PRIO_PROCESS, 0) == ours
