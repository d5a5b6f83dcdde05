"""Agents that misbehave: each comes to its end within its limit, with a sentence, and leaves nothing behind."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from orchestration.adapters.sandbox import choose_sandbox
from orchestration.agents import acp, rpc
from orchestration.agents.conversation import OutOfTime
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.handoffs import Claim
from tests.adapters.test_sandbox import open_descriptors, processes_with
from tests.agents.outside import PYTHON, SCRIPT, OutsideDesk
from tests.agents.rig import until
from tests.deadlines import clock_from

pytestmark = pytest.mark.sandbox


@pytest.fixture
def desk(tmp_path: Path) -> OutsideDesk:
    (tmp_path / "work").mkdir()
    return OutsideDesk(tmp_path / "work")


@pytest.mark.parametrize(
    ("behaviour", "kind", "sentence"),
    [
        ("old", Failure.PERMANENT, "speaks version 7"),
        ("broken-at-once", Failure.PERMANENT, "exit code 4 before it answered initialize.  It last said: no settings"),
        ("new-reason", Failure.PERMANENT, "no proper PromptResponse"),
        ("fails", Failure.TRANSIENT, "The model said 500."),
        ("exits", Failure.TRANSIENT, "exit code 3 before it answered session/prompt.  It last said: cannot go on"),
        ("dies", Failure.TRANSIENT, "exit code 137"),
        ("prints-garbage", Failure.PERMANENT, "no messages of the protocol: no protocol at all"),
        ("prints-no-line", Failure.PERMANENT, "a line of more than 16 MB"),
    ],
)
def test_each_failure_has_its_sentence_and_its_kind(
    desk: OutsideDesk, behaviour: str, kind: Failure, sentence: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(acp, "GOODBYE_S", 0.2)
    error = desk.fails(behaviour)
    assert sentence.replace("  ", " ") in str(error).replace("  ", " ")
    assert error.kind is kind


def test_an_agent_that_does_not_start_in_time_is_ended(desk: OutsideDesk):
    assert "did not answer initialize in time" in str(desk.fails("mute", start_timeout_s=1))


@pytest.mark.parametrize("behaviour", ["never-ends", "asks-without-end", "is-silent"])
def test_its_time_is_limited(desk: OutsideDesk, behaviour: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(acp, "GOODBYE_S", 0.1)
    monkeypatch.setattr(acp, "Clock", clock_from((desk.root / "prompt-1.txt").exists))
    assert isinstance(desk.fails(behaviour, timeout_s=0.7), OutOfTime)


def test_silence_is_an_end_unless_a_model_is_asked(desk: OutsideDesk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(acp, "GOODBYE_S", 0.1)
    error = desk.fails("is-silent", silence_timeout_s=0.3)
    assert "has said nothing and asked no model for 0.3 s" in str(error)
    assert error.kind is Failure.TRANSIENT
    assert "asked no model" in str(desk.fails("closes-its-output", silence_timeout_s=0.3))
    desk.idle = 0.0  # a model call is in flight: only the time limit ends it
    monkeypatch.setattr(acp, "Clock", clock_from((desk.root / "prompt-1.txt").exists))
    assert isinstance(desk.fails("is-silent", silence_timeout_s=0.3, timeout_s=1.2), OutOfTime)


def test_a_cancel_lets_it_put_its_files_in_order(desk: OutsideDesk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(acp, "GOODBYE_S", 60)

    def stop() -> None:
        until((desk.root / "started.txt").exists)
        desk.cancellation.cancel("Ada stopped it.")

    thread = threading.Thread(target=stop)
    thread.start()
    error = desk.fails("waits-for-goodbye")
    thread.join()
    assert (str(error), error.kind) == ("Ada stopped it.", Failure.CANCELLED)
    assert (desk.root / "goodbye.txt").read_text() == "cancelled", "a permission asked for now is not granted"


def test_an_agent_that_does_not_heed_a_cancel_is_killed(desk: OutsideDesk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(acp, "GOODBYE_S", 0.2)

    def stop() -> None:
        until((desk.root / "prompt-1.txt").exists)
        desk.cancellation.cancel("Ada stopped it.")

    thread = threading.Thread(target=stop)
    thread.start()
    assert desk.fails("is-silent").kind is Failure.CANCELLED
    thread.join()
    assert not processes_with(SCRIPT)


def test_a_greeting_on_the_wrong_stream_is_passed_over(desk: OutsideDesk):
    assert desk.run("greets-first").summary == "I wrote done.txt."


def test_a_flood_of_errors_fills_no_memory(desk: OutsideDesk):
    assert desk.run("floods-errors").status is Claim.COMPLETE
    ((_, name, _, content),) = desk.report.artifacts
    assert name == "agent-errors.txt"
    assert 100_000 < len(content) < 250_000


def test_a_flood_of_updates_is_bounded(desk: OutsideDesk):
    handoff = desk.run("floods-updates")
    assert len(handoff.summary) == 20_000
    assert len(desk.report.calls) == 2000
    assert desk.report.calls[-1][2].startswith("The agent told of more steps than are kept")


def test_what_is_nested_deeply_harms_nobody(desk: OutsideDesk):
    assert desk.run("nests-deeply").summary == "I wrote done.txt."


def test_answers_to_nothing_are_passed_over(desk: OutsideDesk):
    assert desk.run("answers-strangely").summary == "I wrote done.txt."


def test_nothing_of_it_is_left(desk: OutsideDesk):
    before = open_descriptors()
    desk.run("leaves-children")
    assert not processes_with(SCRIPT)
    assert open_descriptors() == before


def test_a_message_has_no_room_for_more_than_a_line_may_have():
    assert rpc.MOST_LINE < 64 * 1024 * 1024


def test_a_program_that_is_not_there_is_a_sentence(desk: OutsideDesk):
    with pytest.raises(InvalidInput, match="The program /nowhere/agent is not at that path"):
        desk.employ(desk.spec("/nowhere/agent"))


def test_the_data_directory_is_never_shown(desk: OutsideDesk, tmp_path: Path):
    """The control: without being hidden, the same mount is no problem."""
    (tmp_path / "data").mkdir()
    spec = desk.spec(PYTHON, SCRIPT, "write", mounts=(str(tmp_path / "data"),))
    assert desk.employ(spec).status is Claim.COMPLETE
    desk.sandbox = choose_sandbox("bubblewrap", hidden=(tmp_path / "data",))
    with pytest.raises(AdapterError, match="data is visible"):
        desk.employ(spec)
