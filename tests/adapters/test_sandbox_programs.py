"""Programs that are given a home of their own, and talked to while they run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.sandbox import Box, Limits, Program, Sandbox, choose_sandbox
from orchestration.adapters.sandbox.child import MOST_UNREAD, Child
from orchestration.domain.errors import AdapterError, Failure
from tests.adapters.test_sandbox import LONG, lingering, marker, open_descriptors, processes_with, until

pytestmark = pytest.mark.sandbox


@contextmanager
def shell(box: Box, text: str, cancellation: Cancellation | None = None) -> Iterator[Child]:
    with box.start(Program(["sh", "-c", text]), cancellation=cancellation or Cancellation()) as child:
        yield child


def printed(child: Child, enough: Callable[[bytes], bool] = lambda _: False) -> bytes:
    """What it prints until that is enough, or to its end."""
    said, deadline = b"", time.monotonic() + LONG
    while not enough(said):
        assert time.monotonic() < deadline, f"it only said {said!r}"
        data = child.read(LONG)
        assert data is not None, "it fell silent"
        if not data:
            break
        said += data
    return said


def test_a_program_is_given_a_home_with_files_and_variables(box: Box) -> None:
    program = Program(
        [
            "sh",
            "-c",
            'cat "$HOME/.config/it/settings"; printf "%s" "$COLOUR"; echo more >> "$HOME/.config/it/settings"',
        ],
        environment={"COLOUR": "green"},
        files={".config/it/settings": "loud\n"},
    )
    for _ in range(2):  # what the first wrote into its home is not there for the second
        assert box.run(program, timeout_s=LONG).output == "loud\ngreen"


def test_a_program_reads_what_it_is_given(box: Box) -> None:
    given = b"line\n" * 50_000
    assert box.run(Program(["wc", "-c"], input=given), timeout_s=LONG).output.strip() == str(len(given))
    assert box.run(Program(["wc", "-c"]), timeout_s=LONG).output.strip() == "0"


def test_a_command_that_is_no_program_sees_neither_its_files_nor_its_variables(tmp_path: Path) -> None:
    with choose_sandbox("bubblewrap").open(tmp_path) as box:
        box.run(Program(["true"], environment={"COLOUR": "green"}, files={"secret": "x"}), timeout_s=LONG)
        assert box.run('cd; cat secret 2>/dev/null; echo "$COLOUR"', timeout_s=LONG).output == "\n"


def test_a_box_says_where_its_workspace_and_its_home_are(box: Box, tmp_path: Path) -> None:
    (tmp_path / "mark").touch()
    ran = box.run(Program(["ls", box.workspace, box.home], files={"settings": ""}), timeout_s=LONG)
    assert {"mark", "settings"} <= set(ran.output.split())


def test_the_programs_of_a_directory_that_is_shown_are_found(sandbox: Sandbox, tmp_path: Path) -> None:
    for place in ("app/bin", "app/.bin"):
        program = tmp_path / place / f"greet-{place[4:].strip('.')}{len(place)}"
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\necho hello\n")
        program.chmod(0o755)
    (tmp_path / "work").mkdir()
    with sandbox.open(tmp_path / "work", shown=(tmp_path / "app",)) as box:
        assert box.run("greet-bin7 && greet-bin8", timeout_s=LONG).output == "hello\nhello\n"


def test_it_answers_while_it_runs(box: Box) -> None:
    with shell(box, 'while read line; do echo "you said $line"; done; exit 3') as child:
        for word in ("one", "two"):
            child.send(f"{word}\n".encode())
            assert printed(child, lambda said: said.endswith(b"\n")) == f"you said {word}\n".encode()
            assert child.exit_code is None
        child.close_input()
        assert printed(child) == b""
        until(lambda: child.exit_code == 3, "it did not end")


def test_neither_waits_for_the_other_when_much_is_said_at_once(box: Box) -> None:
    much = b"x" * 3_000_000
    with shell(box, "cat") as child:
        child.send(much)
        child.close_input()
        assert printed(child) == much


def test_its_errors_are_kept_apart_and_bounded(box: Box) -> None:
    with shell(box, "yes complaint | head -c 3000000 >&2; echo result") as child:
        assert printed(child) == b"result\n"
        assert child.errors.truncated
        assert len(child.errors.text()) < 250_000


def test_silence_is_told(box: Box) -> None:
    with shell(box, "read line; echo $line") as child:
        assert child.read(0.05) is None
        child.send(b"hello\n")
        assert printed(child) == b"hello\n"


def test_an_input_that_nobody_reads_has_a_limit(box: Box) -> None:
    with shell(box, "sleep 600") as child:
        child.send(b"x" * MOST_UNREAD)
        with pytest.raises(AdapterError, match="unread"):
            child.send(b"x")


def test_a_program_that_reads_no_more_does_not_stop_us(box: Box) -> None:
    with shell(box, "exec 0<&-; echo closed; sleep 0.05; echo end") as child:
        assert printed(child, lambda said: b"closed" in said)
        child.send(b"x" * 1_000_000)
        assert printed(child).endswith(b"end\n")


def test_a_cancel_is_told_once_so_that_goodbye_can_be_said(box: Box) -> None:
    cancellation = Cancellation()
    with shell(box, "read line; echo last words", cancellation) as child:
        timer = threading.Timer(0.05, cancellation.cancel, ("Stop it.",))
        timer.start()
        with pytest.raises(AdapterError, match="Stop it") as caught:
            child.read(LONG)
        timer.join()
        assert caught.value.kind is Failure.CANCELLED
        child.send(b"bye\n")
        assert printed(child) == b"last words\n"


def test_nothing_of_it_lives_on(box: Box) -> None:
    mark, before = marker(), open_descriptors()
    with shell(box, f"{lingering(mark)} & echo started; {lingering(mark)}") as child:
        assert printed(child, lambda said: said == b"started\n")
        assert processes_with(mark), "the control: it can be found while it runs"
    assert not processes_with(mark)
    assert open_descriptors() == before


def fail_in(box: Box, mark: str) -> None:
    with shell(box, lingering(mark)):
        until(lambda: bool(processes_with(mark)), "it did not start")
        raise ZeroDivisionError


def test_nothing_of_it_lives_on_where_the_caller_fails(box: Box) -> None:
    mark = marker()
    with pytest.raises(ZeroDivisionError):
        fail_in(box, mark)
    assert not processes_with(mark)


def test_a_program_that_is_not_there_says_so(box: Box) -> None:
    with box.start(Program(["no-such-program"]), cancellation=Cancellation()) as child:
        assert printed(child) == b""
        until(lambda: child.exit_code == 127, "it did not end")
        assert "no-such-program" in child.errors.text()


def test_a_closed_box_starts_nothing(tmp_path: Path) -> None:
    box = choose_sandbox("bubblewrap").open(tmp_path)
    box.close()
    with pytest.raises(AdapterError, match="closed"), shell(box, "true"):
        pass


def test_it_has_the_limits_and_the_walls_of_a_box(tmp_path: Path) -> None:
    with (
        choose_sandbox("bubblewrap").open(tmp_path, limits=Limits(file_size_mb=1)) as box,
        shell(box, "head -c 3000000 /dev/zero > big; echo $?; cat /proc/net/dev | wc -l; id -u") as child,
    ):
        ending, devices, user = printed(child).decode().split()
    assert ending != "0"
    assert (tmp_path / "big").stat().st_size <= 1024 * 1024
    assert int(devices) <= 3 + 9  # two lines of heading, the loopback, and the kernel's fallback tunnels
    assert user == "1000"


def test_a_meal_too_large_is_told(tmp_path: Path) -> None:
    eater = "python3 -c 'x = bytearray(400 * 1024 * 1024)' 2>/dev/null; echo ended"
    with (
        choose_sandbox("bubblewrap").open(tmp_path, limits=Limits(memory_mb=64)) as box,
        shell(box, eater) as child,
    ):
        assert b"ended" in printed(child)
        ended = box.run("true", timeout_s=LONG)
        assert ended.exit_code == 0
        groups = "control group" in choose_sandbox("bubblewrap").describe().rpartition("memory")[2]
        assert ("64 MB" in child.limit) == groups
