"""Agents with a command line, run to their end in a real sandbox."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from orchestration.agents.conversation import OutOfTime
from orchestration.domain.agents import AgentKind, AgentSpec
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.handoffs import Claim
from tests.adapters.test_sandbox import lingering, marker, processes_with
from tests.agents.outside import OutsideDesk
from tests.agents.rig import TASK, until

pytestmark = pytest.mark.sandbox


@pytest.fixture
def desk(tmp_path: Path) -> OutsideDesk:
    (tmp_path / "work").mkdir()
    return OutsideDesk(tmp_path / "work")


def shell(desk: OutsideDesk, text: str, *words: str, **fields: object) -> AgentSpec:
    return desk.spec("/bin/sh", "-c", text, *words, kind=AgentKind.COMMAND, **fields)


def test_it_reads_its_task_from_its_input(desk: OutsideDesk):
    handoff = desk.employ(shell(desk, "cat > told.txt; echo I wrote it."))
    assert (handoff.status, handoff.summary) == (Claim.COMPLETE, "I wrote it.")
    assert (desk.root / "told.txt").read_text() == TASK


@pytest.mark.parametrize(
    ("text", "word"),
    [('printf %s "$1" > told.txt; cat >> told.txt', "{prompt}"), ('cat "$1" > told.txt', "{prompt_file}")],
)
def test_it_may_take_its_task_as_an_argument_or_from_a_file(desk: OutsideDesk, text: str, word: str):
    desk.employ(shell(desk, text, "sh", word))
    assert (desk.root / "told.txt").read_text() == TASK


def test_its_templates_are_filled_in(desk: OutsideDesk):
    spec = shell(
        desk,
        'echo "$BASE $1"; cat ~/.agent.json',
        "sh",
        "{model}",
        environment={"BASE": "{openai_url}"},
        files={".agent.json": '{"key": "{token}"}'},
    )
    assert desk.employ(spec).summary == 'http://127.0.0.1:8787/openai/v1 m-1\n{"key": "token-1"}'


def test_what_it_printed_is_kept(desk: OutsideDesk):
    desk.employ(shell(desk, "echo working; echo warning >&2; echo done"))
    assert desk.report.artifacts == [("transcript", "output.txt", "text/plain", b"working\nwarning\ndone\n")]
    assert desk.steps("command") == [({"command": "/bin/sh"}, "working\nwarning\ndone\n(exit code 0)", True)]


def test_another_exit_code_is_a_failure_with_its_last_words(desk: OutsideDesk):
    handoff = desk.employ(shell(desk, "printf '\\033[31mno model for you\\033[0m'; exit 9"))
    assert handoff.status is Claim.FAILED
    assert handoff.summary == "It ended with exit code 9. no model for you"
    assert desk.report.claims == []


def test_a_claim_that_is_not_believed_is_told_to_its_next_run(desk: OutsideDesk):
    desk.report.refuses = [["Nothing was changed."]]
    assert desk.employ(shell(desk, "cat >> told.txt")).status is Claim.COMPLETE
    told = (desk.root / "told.txt").read_text()
    assert told.count(TASK) == 2
    assert told.endswith("it is not complete yet.\nNothing was changed.")


def test_a_hundred_megabytes_fill_no_memory(desk: OutsideDesk):
    handoff = desk.employ(shell(desk, "head -c 100000000 /dev/zero | tr '\\0' x; echo; echo the end"))
    assert handoff.summary.endswith("the end")
    assert len(handoff.summary) <= 4000
    assert len(desk.report.artifacts[0][3]) < 5_000_000


def test_its_time_is_limited(desk: OutsideDesk):
    mark = marker()
    with pytest.raises(OutOfTime):
        desk.employ(shell(desk, f"{lingering(mark)} & {lingering(mark)}"), timeout_s=1)
    assert not processes_with(mark)


def test_a_cancel_ends_it(desk: OutsideDesk):
    def stop() -> None:
        until((desk.root / "started").exists)
        desk.cancellation.cancel("Ada stopped it.")

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(AdapterError, match="Ada stopped it") as caught:
        desk.employ(shell(desk, "touch started; sleep 600"))
    thread.join()
    assert caught.value.kind is Failure.CANCELLED


def test_a_program_that_cannot_be_started_is_no_failure_of_the_work(desk: OutsideDesk):
    with pytest.raises(AdapterError, match="scripted could not be started") as caught:
        desk.employ(shell(desk, "no-such-program"))
    assert caught.value.kind is Failure.PERMANENT


def test_what_people_said_is_told_to_its_next_run_as_well(desk: OutsideDesk):
    """The next run has no memory of the first one."""
    desk.report.inbox.waiting = ["Use tabs."]
    desk.report.refuses = [["Nothing was changed."]]
    desk.employ(shell(desk, "cat >> told.txt; echo; echo END >> told.txt"))
    first, second, _ = (desk.root / "told.txt").read_text().split("END\n")
    assert first.endswith("Use tabs.")
    assert second.count("Use tabs.") == 1
    assert desk.report.inbox.log == ["took Use tabs.", "sent", "answered", "sent", "answered"]
