"""Agents that misbehave, in real sandboxes, beside others that work: each ends within its limit, with its reason, and
leaves nothing behind."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters.sandbox.cgroups import Groups
from orchestration.demo.service import Answer, Request
from orchestration.models import Artifact, Attempt, Handoff, MergeEntry, Step, Swarm
from orchestration.stages import execute as stage
from orchestration.stages.execute import execute
from orchestration.stages.rows import config_of, store_of
from tests.adapters.test_sandbox_limits import processes_with, until
from tests.stages.world import Model, World, at_once, bash, call, hand_off, says, write

pytestmark = pytest.mark.sandbox

MARK = f"0.{secrets.randbelow(10**9):09d}"  # seconds that only our own children sleep
TURNS = 12
SECONDS = 5.0  # of the fork bomb
NEIGHBOURS = ("good-one", "good-two", "good-three")
FORK = f"touch lit; bomb() {{ bomb {MARK} | bomb {MARK} & }}; bomb 2>/dev/null; while :; do :; done 2>/dev/null"
DETACHED = f"for i in 1 2 3; do setsid nohup sh -c 'while :; do sleep {MARK}; done' >/dev/null 2>&1 & done"

BAD = {
    "repeats": [bash("ls")],
    "prints": [bash("yes no news | head -c 100000000"), hand_off()],
    "forks": [bash(FORK)],
    "does-nothing": [hand_off(summary="It is all done.")],
    "detaches": [bash(DETACHED), hand_off("blocked")],
}
REASONS = {
    "repeats": "The agent made the same call of bash 8 times in a row.",
    "never-stops": f"The agent did not hand off within {TURNS} turns.",
    "prints": "Nothing was changed although the subtask asks for a change.",
    "forks": f"The time limit of {SECONDS:g} s is used up.",
    "does-nothing": "Nothing was changed although the subtask asks for a change.",
    "detaches": "The agent handed off as blocked.",
}
STATUS = {"forks": "timed_out", "detaches": "blocked"}


class Mixed(Model):
    """Each worker by its name; the neighbours do real work, a command among it."""

    def __call__(self, request: Request) -> Answer:
        lines = self._lines(request.subtask, request.turns)
        return lines[min(request.turns, len(lines) - 1)]

    def _lines(self, name: str, turn: int) -> Sequence[Answer]:
        made = f"seq 1000 | sort -n > {name}.txt"
        works = [write(f"{name}.txt", "draft\n"), bash(made), says(call("read_file", path=f"{name}.txt")), hand_off()]
        never_stops = [bash(f"echo {turn} >> log.txt")] * (turn + 1)
        return never_stops if name == "never-stops" else BAD.get(name, works)


@pytest.fixture
def model() -> Model:
    return Mixed()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The swarms whose attempts have SECONDS; all others have time enough on any machine."""
    found: set[int] = set()

    def config(swarm: Swarm) -> Any:
        whole = config_of(swarm)
        return whole.model_copy(update={"subagent_timeout_secs": SECONDS}) if swarm.pk in found else whole

    monkeypatch.setattr(stage, "config_of", config)
    return found


def groups() -> set[Path]:
    """Control groups of this process."""
    mine = f"swarmsite-*-{os.getpid()}-*"
    return {found for place in Groups.here().places for found in place.directory.glob(mine)}


def test_each_ends_within_its_limit_and_the_others_work_on(
    world: World, hurried: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    before = groups()
    terms = {"max_retries": 0, "max_steps_per_subagent": TURNS}
    bad, forking, good = world.running(**terms), world.running(**terms), world.running()
    hurried.add(forking.pk)
    attempts = [world.assigned(forking if name == "forks" else bad, name) for name in REASONS]
    attempts += [world.assigned(good, name) for name in NEIGHBOURS]

    assert at_once(*(lambda pk=one.pk: execute(pk) for one in attempts)) == [None] * len(attempts)

    ended = {one.subtask.name: one for one in Attempt.objects.select_related("subtask__swarm")}
    assert {name: ended[name].status_reason for name in REASONS} == REASONS
    assert {name: ended[name].status for name in REASONS} == dict.fromkeys(REASONS, "failed") | STATUS
    for name in NEIGHBOURS:
        assert (ended[name].status, ended[name].status_reason) == ("complete", "")
        content = store_of(good).read_file(ended[name].head_sha, f"{name}.txt")
        assert content == "".join(f"{number}\n" for number in range(1, 1001)).encode()
    assert set(MergeEntry.objects.values_list("subtask__name", flat=True)) == set(NEIGHBOURS)
    assert "complete. Nothing was changed" in Handoff.objects.get(attempt=ended["does-nothing"]).suspicious
    assert max(map(len, Step.objects.values_list("text", flat=True))) < 32_000
    assert max(Artifact.objects.values_list("size", flat=True)) < 21_000_000

    until(lambda: not processes_with(MARK), "a process is left")
    assert groups() <= before
    assert list(temporary.iterdir()) == []
    fresh = world.assigned(good, "next")
    execute(fresh.pk)
    fresh.refresh_from_db()
    assert fresh.status == "complete"
    changed = store_of(good).changed_paths(fresh.base_sha, fresh.head_sha)
    assert [one.path for one in changed] == ["next.txt"], (
        "nothing of an earlier attempt is in a workspace that is used again"
    )
