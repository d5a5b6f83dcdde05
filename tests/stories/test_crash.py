"""Killed with -9 at any moment and continued: the same changes, none lost, none twice, nothing left behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from tests.stories import twelve
from tests.stories.rig import Finished, Installation, finish

pytestmark = [pytest.mark.sandbox, pytest.mark.long]

STEPS = [
    ("before", "merge", 3),
    ("before", "commit", 4),
    ("after", "commit", 2),
    ("before", "swap", 1),
    ("after", "swap", 1),
    ("before", "unpin", 1),
    ("before", "publish", 1),
    ("after", "publish", 1),
]
SEEDS = int(os.environ.get("TEST_CRASH_SEEDS", "2"))
KILLS_PER_SEED = 4


def begin(installation: Installation, repository: Path, program: tuple[str, ...]) -> tuple[str, subprocess.Popen[str]]:
    arguments = ("swarm", "run", "--repository", str(repository), "--task", "Do twelve things", "--wait", "--json")
    process = installation.start(*arguments, program=program)
    return json.loads(process.stdout.readline())["id"], process


def assert_whole(installation: Installation, repository: Path, swarm_id: str, done: Finished) -> None:
    assert done.code == 0, done.err
    result = done.last
    assert (result["status"], result["landed"], result["failed"]) == ("succeeded", 12, 0)
    twelve.assert_landed(repository, result["base_sha"], f"swarm/{swarm_id}")
    entries = installation.swarm("show", swarm_id, "--json").last["merge_entries"]
    assert [entry["status"] for entry in entries] == ["landed"] * 12


@pytest.mark.parametrize(("when", "step", "count"), STEPS, ids=str)
def test_killed_at_a_step_of_landing_and_continued(install, repository, when, step, count):
    installation = install(twelve.script())
    swarm_id, process = begin(installation, repository, ("tests/stories/crashing.py", when, step, str(count)))
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, "the step was never reached"

    done = installation.swarm("wait", swarm_id, "--json")

    assert_whole(installation, repository, swarm_id, done)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_killed_at_random_moments_and_continued(install, repository, seed):
    moments = random.Random(seed)
    installation = install(twelve.script(delay_s=0.1))
    swarm_id, process = begin(installation, repository, ("manage.py",))
    for _ in range(KILLS_PER_SEED):
        try:
            process.communicate(timeout=moments.uniform(0.5, 4.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate(timeout=60)
        process = installation.start("swarm", "wait", swarm_id, "--json")

    done = finish(process)

    assert_whole(installation, repository, swarm_id, done)


def test_stopped_kindly_gives_its_work_back_and_ends_at_once(install, repository):
    installation = install(twelve.script(delay_s=0.3))
    swarm_id, process = begin(installation, repository, ("manage.py",))
    installation.service.wait_for(lambda: installation.service.total > 6, timeout=60)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    done = installation.swarm("wait", swarm_id, "--json")

    assert_whole(installation, repository, swarm_id, done)
