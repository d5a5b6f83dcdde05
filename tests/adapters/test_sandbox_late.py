"""A late box is made by its first command, once, and closed with what it made."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.sandbox import Box, LateBox, Unavailable
from orchestration.adapters.sandbox.bubblewrap import Bubblewrap
from orchestration.adapters.sandbox.unconfined import Unconfined
from orchestration.domain.errors import AdapterError, Failure

LONG = 60.0


class Maker:
    def __init__(self, workspace: Path) -> None:
        self.made: list[Box] = []
        self._workspace = workspace

    def __call__(self) -> Box:
        self.made.append(Unconfined().open(self._workspace))
        return self.made[-1]


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def test_nothing_is_made_for_whoever_runs_nothing(maker: Maker):
    with LateBox(maker):
        pass
    assert maker.made == []


def test_all_commands_run_in_the_same_box(maker: Maker, tmp_path: Path):
    with LateBox(maker) as box:
        assert box.run("pwd", timeout_s=LONG).output.strip() == str(tmp_path)
        assert box.run("exit 3", timeout_s=LONG).exit_code == 3
    assert len(maker.made) == 1


def test_a_cancel_reaches_the_command(maker: Maker):
    cancellation = Cancellation()
    cancellation.cancel("Enough.")
    with LateBox(maker) as box, pytest.raises(AdapterError, match="Enough") as caught:
        box.run("true", timeout_s=LONG, cancellation=cancellation)
    assert caught.value.kind is Failure.CANCELLED


def test_a_closed_box_makes_nothing_any_more(maker: Maker):
    box = LateBox(maker)
    box.close()
    box.close()
    with pytest.raises(AdapterError, match="closed"):
        box.run("true", timeout_s=LONG)
    assert maker.made == []


def test_a_sandbox_that_does_not_work_is_told_by_the_first_command(tmp_path: Path):
    with LateBox(lambda: Unavailable("bubblewrap is gone.").open(tmp_path)) as box:
        for _ in range(2):
            with pytest.raises(AdapterError, match="bubblewrap is gone") as caught:
                box.run("true", timeout_s=LONG)
            assert caught.value.kind is Failure.PERMANENT


@pytest.mark.sandbox
def test_no_command_runs_before_the_isolation_was_looked_at(tmp_path: Path):
    """What must be hidden is not, so the command that would have told is never run."""
    secret = tmp_path / "hidden"
    secret.mkdir()
    (tmp_path / "workspace").mkdir()
    careless = Bubblewrap(tools=(secret,), hidden=(secret,))
    with (
        LateBox(lambda: careless.open(tmp_path / "workspace")) as box,
        pytest.raises(AdapterError, match="does not isolate"),
    ):
        box.run("touch was-run", timeout_s=LONG)
    assert not (tmp_path / "workspace" / "was-run").exists()
