"""What a command in a box sees, prints and leaves, with real bubblewrap and without it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.sandbox import Box, Limits, Sandbox, Unavailable, choose_sandbox
from orchestration.adapters.sandbox.output import BoundedOutput
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from tests.deadlines import in_time_for

pytestmark = pytest.mark.sandbox
LONG = 60.0


def processes_with(marker: str) -> list[int]:
    """The processes of this machine whose arguments contain `marker`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def marker() -> str:
    return f"marker-{secrets.token_hex(8)}"


def lingering(mark: str) -> str:
    """A shell's text that starts a process which can be found by `mark` and does not end by itself."""
    return f"python3 -c 'import time; time.sleep(600)' {mark}"


def test_a_text_goes_to_a_shell_in_the_workspace(box: Box, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("from outside")
    result = box.run("cat given && echo written > made && exit 7", timeout_s=LONG)
    assert (result.exit_code, result.output) == (7, "from outside")
    assert (tmp_path / "made").read_text() == "written\n"
    assert not result.timed_out
    assert not result.truncated
    assert result.limit == ""


def test_a_sequence_is_run_without_a_shell(box: Box) -> None:
    result = box.run(["printf", "%s|", "$HOME", "a b", "*"], timeout_s=LONG)
    assert result.output == "$HOME|a b|*|"


def test_a_program_that_does_not_exist_is_the_commands_failure(box: Box) -> None:
    assert box.run(["no-such-program"], timeout_s=LONG).exit_code == 127


def test_a_sequence_never_means_a_builtin_of_a_shell(box: Box) -> None:
    assert box.run(["exit", "3"], timeout_s=LONG).exit_code == 127
    assert box.run(["sh", "-c", "exit 3"], timeout_s=LONG).exit_code == 3


def test_nothing_is_left_for_others_to_reap(tmp_path: Path) -> None:
    """Every process that bwrap makes is reaped by its parent: a subreaper above it inherits none."""
    script = f"""if True:
        import ctypes, os, sys
        from pathlib import Path
        from orchestration.adapters.sandbox.bubblewrap import Bubblewrap
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
        with Bubblewrap().open(Path({str(tmp_path)!r})) as box:
            for _ in range(20):
                box.run("sleep 600 & sleep 600 & true", timeout_s=60)
            box.run("sleep 600", timeout_s=0.1)
        try:
            print("inherited", os.waitpid(-1, os.WNOHANG))
        except ChildProcessError:
            print("nothing")
    """
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("nothing\n", "")


def test_output_and_errors_come_in_the_order_in_which_they_were_printed(box: Box) -> None:
    assert box.run("echo 1; echo 2 >&2; echo 3", timeout_s=LONG).output == "1\n2\n3\n"


def test_standard_input_is_empty(box: Box) -> None:
    assert box.run("cat; echo end", timeout_s=LONG).output == "end\n"


def test_a_signal_is_reported_as_a_shell_does(box: Box) -> None:
    assert box.run("sh -c 'kill -9 $$'; exit $?", timeout_s=LONG).exit_code == 137


def test_output_that_is_no_text_becomes_text(box: Box) -> None:
    assert box.run(r"printf 'a\000b\377c'", timeout_s=LONG).output == "a\ufffdb\ufffdc"


def test_a_command_longer_than_the_kernel_takes_is_run_by_the_box(tmp_path: Path) -> None:
    with choose_sandbox("bubblewrap").open(tmp_path) as box:
        result = box.run("echo " + "x" * 300_000 + "; echo last", timeout_s=LONG)
    assert result.exit_code == 0
    assert result.output.endswith("x\nlast\n")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("echo \0", "NUL"),
        ("echo \ud800", "no valid text"),
        ([], "no command"),
        ([""], "no command"),
        (["echo", "x" * 300_000], "too long"),
    ],
)
def test_what_no_kernel_would_run_is_refused_with_a_sentence(box: Box, command: str | list[str], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        box.run(command, timeout_s=LONG)


def test_much_output_is_cut_in_the_middle(sandbox: Sandbox, tmp_path: Path) -> None:
    with sandbox.open(tmp_path, limits=Limits(output_bytes=10_000)) as box:
        result = box.run("echo first; seq 1 200000; echo last", timeout_s=LONG)
    assert result.exit_code == 0
    assert result.truncated
    assert result.output.startswith("first\n1\n2\n")
    assert result.output.endswith("199999\n200000\nlast\n")
    assert "bytes cut ...]" in result.output
    assert len(result.output) < 10_100


def test_a_command_that_prints_for_ever_is_ended_in_time(sandbox: Sandbox, tmp_path: Path) -> None:
    with sandbox.open(tmp_path, limits=Limits(output_bytes=1000)) as box:
        result = box.run("yes", timeout_s=0.3)
    assert result.timed_out
    assert result.exit_code is None
    assert result.limit == "The command was ended after 0.3 s."
    assert len(result.output) < 1100


def test_the_bounded_output_never_holds_more_than_its_limit() -> None:
    output = BoundedOutput(100)
    for _ in range(1000):
        output.feed(b"0123456789" * 10)
    assert len(output._head) + len(output._tail) == 100
    assert output.text().count("0123456789") == 10
    assert "[... 99900 bytes cut ...]" in output.text()


def test_output_as_long_as_the_limit_is_whole() -> None:
    output = BoundedOutput(10)
    for piece in (b"0123", b"456789"):
        output.feed(piece)
    assert (output.text(), output.truncated) == ("0123456789", False)


def test_a_command_that_closed_its_output_is_still_timed(box: Box) -> None:
    result = box.run("exec >&- 2>&-; exec sleep 600", timeout_s=0.3)
    assert result.timed_out


@pytest.mark.parametrize("start", ["{} &", "nohup {} & disown", "({} &) &", "sh -c '{} & exit'"])
def test_what_stays_in_the_background_is_dead_when_the_command_is_over(box: Box, start: str) -> None:
    mark = marker()
    background = start.format(f"sh -c 'sleep 600; : {mark}'".replace("'", '"'))
    result = box.run(f"{background}\necho started", timeout_s=LONG)
    assert (result.exit_code, result.output) == (0, "started\n")
    assert processes_with(mark) == []


def test_a_daemon_of_its_own_session_dies_too(tmp_path: Path) -> None:
    mark = marker()
    with choose_sandbox("bubblewrap").open(tmp_path) as box:
        daemon = f"setsid -f {lingering(mark)} >/dev/null 2>&1"
        box.run(f"{daemon}; until grep -q {mark} /proc/[0-9]*/cmdline; do :; done", timeout_s=LONG)
    assert processes_with(mark) == []


def test_a_timeout_kills_the_whole_tree(box: Box, tmp_path: Path) -> None:
    mark = marker()
    command = f"{lingering(mark)} & touch began; {lingering(mark)}"
    _, result = in_time_for(lambda limit: box.run(command, timeout_s=limit), lambda _: (tmp_path / "began").exists())
    assert result.timed_out
    assert (tmp_path / "began").exists()
    assert processes_with(mark) == []


def test_a_cancel_kills_the_whole_tree_and_raises_its_reason(box: Box) -> None:
    mark, cancellation = marker(), Cancellation()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            box.run, f"{lingering(mark)} & {lingering(mark)}", timeout_s=LONG, cancellation=cancellation
        )
        until(lambda: len(processes_with(mark)) > 1, "the command never started")
        cancellation.cancel("somebody pressed the button")
        with pytest.raises(AdapterError, match="pressed the button") as caught:
            running.result(LONG)
    assert caught.value.kind is Failure.CANCELLED
    assert processes_with(mark) == []


def test_a_cancelled_box_starts_nothing(box: Box, tmp_path: Path) -> None:
    cancellation = Cancellation()
    cancellation.cancel("too late")
    with pytest.raises(AdapterError, match="too late"):
        box.run("touch made", timeout_s=LONG, cancellation=cancellation)
    assert not (tmp_path / "made").exists()


def test_a_hundred_threads_run_commands_at_once_and_leave_no_descriptor(sandbox: Sandbox, tmp_path: Path) -> None:
    with sandbox.open(tmp_path) as box, ThreadPoolExecutor(100) as pool:
        barrier = threading.Barrier(100)

        def one(number: int) -> str:
            barrier.wait()
            return box.run(f"echo {number}", timeout_s=LONG).output

        outputs = list(pool.map(one, range(100)))
        before = open_descriptors()
        box.run("true", timeout_s=LONG)
        assert open_descriptors() == before
    assert outputs == [f"{number}\n" for number in range(100)]


def test_a_workspace_that_does_not_exist_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="No such file"):
        sandbox.open(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(AdapterError, match="no directory"):
        sandbox.open(tmp_path / "file")


def test_a_box_may_be_closed_twice_and_runs_nothing_afterwards(tmp_path: Path) -> None:
    box = choose_sandbox("bubblewrap").open(tmp_path)
    box.close()
    box.close()
    with pytest.raises(AdapterError, match="was closed"):
        box.run("true", timeout_s=LONG)


def test_auto_takes_bubblewrap_where_it_works() -> None:
    chosen = choose_sandbox("auto")
    assert (chosen.name, chosen.isolated) == ("bubblewrap", True)
    assert "bubblewrap" in chosen.describe()


def test_auto_never_falls_to_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    chosen = choose_sandbox("auto")
    assert isinstance(chosen, Unavailable)
    assert not chosen.isolated
    assert "bubblewrap is not installed" in chosen.describe()
    with pytest.raises(AdapterError, match="apt install bubblewrap") as caught:
        chosen.open(tmp_path)
    assert caught.value.kind is Failure.PERMANENT


def test_bubblewrap_by_name_is_refused_where_it_does_not_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AdapterError, match=r"No permissions.*apt install bubblewrap"):
        choose_sandbox("bubblewrap")


@pytest.mark.parametrize(("setting", "reason"), [("container", "not there yet"), ("docker", "must be auto")])
def test_other_settings_are_refused_with_a_sentence(setting: str, reason: str) -> None:
    with pytest.raises(AdapterError, match=reason):
        choose_sandbox(setting)


def test_none_is_shown_as_no_isolation() -> None:
    chosen = choose_sandbox("none")
    assert not chosen.isolated
    assert chosen.describe().startswith("No sandbox")
