"""Killed with -9 around a push: what arrived is landed once, what did not is pushed, and nothing is said too early."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.stories.rig import Call, git, handoff, plan, task, team

pytestmark = pytest.mark.sandbox


def calls(name: str) -> list[Call]:
    return [("write_file", {"path": f"{name}.txt", "content": f"{name}\n"}), handoff()]


@pytest.mark.parametrize(("when", "arrived"), [("before", False), ("after", True)])
def test_killed_around_the_push_and_continued(install, repository: Path, tmp_path: Path, when: str, arrived: bool):
    remote = tmp_path / "remote.git"
    git(repository, "clone", "-q", "--bare", ".", str(remote))
    installation = install(team([plan(task("one"))], calls))
    process = installation.start(
        "swarm", "run", "--repository", str(remote), "--task", "Do one thing", "--wait", "--json",
        "--config", '{"landing": "direct"}',
        program=("tests/stories/crashing.py", when, "push", "1"),
    )  # fmt: skip
    out, _ = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, "the push was never reached"
    branch = git(remote, "symbolic-ref", "--short", "HEAD").strip()
    there = git(remote, "log", "--format=%s", branch)
    assert ("Land one" in there) == arrived

    done = installation.swarm("wait", out.split('"')[3], "--json")

    assert done.code == 0, done.err
    assert done.last["status"] == "succeeded"
    assert git(remote, "rev-parse", branch).strip() == done.last["head_sha"]
    shown = installation.swarm("show", done.last["id"], "--json").last["landing"]
    assert (shown["status"], shown["landed_sha"]) == ("landed", done.last["head_sha"])
    assert git(remote, "log", "--format=%s", branch).count("Land one") == 1
