"""`manage.py bench crash`: the queue is killed for real; and what its audit would say if something were wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters.git.runner import end_git, start_git
from orchestration.adapters.git.store import BareRepository
from orchestration.domain.merging import TRAILER
from orchestration.management.bench import crash, killing, settling
from orchestration.management.bench.crash import LEFT, SETTLED, audit, edits
from orchestration.management.bench.killing import STEPS
from orchestration.management.bench.merging import Bench
from orchestration.models import Event, MergeEntry, Subtask, Swarm
from orchestration.stages import leases
from orchestration.stages.merge import merge
from tests.adapters.git.conftest import AGENT, QUEUE, WHEN
from tests.management.test_bench import bench as command

ROUNDS = int(os.environ.get("TEST_CRASH_ROUNDS", "24"))


@pytest.mark.long
@pytest.mark.timeout(660)  # a hundred processes
def test_the_queue_survives_a_kill_at_every_step_and_at_random_moments(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    done = command(tmp_path, "crash", "--rounds", str(ROUNDS), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    with capsys.disabled():
        sys.stdout.write(f"\n{json.dumps(report)}\n")
    assert report["rounds"] == 2 * len(STEPS) + len(settling.STEPS) + ROUNDS
    assert all(report["at"][step] >= 2 for step in STEPS), "with git's children alive, and killed"
    assert settling.STEPS.keys() <= report["at"].keys()
    assert report["at"]["a random moment"] > ROUNDS / 3
    assert report["locks_planted"] > 0
    assert [report[what] for what in ("lost", "twice", "disagree", "otherwise_wrong")] == [0, 0, 0, 0]


# What the audit is worth: each of these is something that a queue without recovery would leave.


@pytest.fixture
def landed(
    transactional_db: None, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Bench, Swarm]:
    settings.DATA_DIR = tmp_path
    made = Bench(crash.FILES)
    swarm = made.queue(made.heads(edits("x")))
    with monkeypatch.context() as quick:
        quick.setattr(leases, "POLL_SECONDS", 0.02)
        merge(swarm.pk)
        if thread := leases.heartbeat._thread:  # it must not live on in the middle of a fork
            thread.join(60)
    swarm.refresh_from_db()
    return made, swarm


def wrong(landed: tuple[Bench, Swarm], expected: Any = LEFT) -> list[str]:
    return audit(landed[1], landed[0].store, edits("x"), expected)


@pytest.fixture
def settled(landed: tuple[Bench, Swarm]) -> tuple[Bench, Swarm]:
    """By a process of its own, which leaves ours as it is."""
    assert killing.ended(killing.start(landed[1].pk, landed[0].store.path, work=settling.land_and_settle)) == 0
    return landed


def extended(landed: tuple[Bench, Swarm], message: str) -> str:
    """One more commit on the branch, with the same files."""
    made, swarm = landed
    tip = made.store.tip(swarm.branch) or ""
    sha = made.store.commit(made.store.tree(tip), [tip], message, author=AGENT, committer=QUEUE, when=WHEN)
    assert made.store.swap(swarm.branch, sha, tip)
    Swarm.objects.filter(pk=swarm.pk).update(head_sha=sha)
    return sha


def test_nothing_is_wrong_where_nothing_happened(landed: Any):
    assert wrong(landed) == []


def test_a_conflict_that_was_settled_has_landed_in_its_own_place(settled: Any):
    assert wrong(settled, SETTLED) == []
    assert any(one.startswith("lost: the entries ended as") for one in wrong(settled)), "and that is seen"


def test_a_resolution_without_one_of_the_sides_is_found(settled: Any):
    """As if the one that lost had wanted something else."""
    made, swarm = settled
    other = [*edits("x")[:6], edits("y")[6], edits("x")[7]]
    found = audit(swarm, made.store, other, SETTLED)
    path = next(iter(other[6]))
    assert found == [f"lost work-{number:03d}: {path} is not as it was written" for number in (0, 6)]


def test_a_landing_that_the_branch_has_lost_is_found(landed: Any):
    made, swarm = landed
    before = made.store.run("rev-parse", f"{swarm.head_sha}~1").text.strip()
    made.store.run("update-ref", f"refs/heads/{swarm.branch}", before)
    Swarm.objects.update(head_sha=before)
    assert {one.split()[0].rstrip(":") for one in wrong(landed)} == {"lost", "disagree"}


def test_an_entry_that_was_evicted_is_found(landed: Any):
    MergeEntry.objects.filter(pk=MergeEntry.objects.earliest("pk").pk).update(status="rejected")
    assert any(one.startswith("lost: the entries ended as") for one in wrong(landed))


def test_a_landing_that_is_there_twice_is_found(landed: Any):
    entry = MergeEntry.objects.earliest("pk")
    sha = extended(landed, f"Land it again\n\n{TRAILER}: {entry.public_id}\n")
    MergeEntry.objects.filter(pk=entry.pk).update(landed_sha=sha)
    assert f"twice in the history: {entry.public_id}" in wrong(landed)


def test_a_landing_that_was_told_twice_is_found(landed: Any):
    event = Event.objects.filter(kind="merge_entry.landed").earliest("pk")
    Event.objects.create(swarm=landed[1], seq=10_000, kind=event.kind, facts=event.facts)
    assert wrong(landed) == [f"twice in the log: {event.facts['id']}"]


def test_a_commit_that_nobody_landed_is_found(landed: Any):
    extended(landed, "Smuggled in")
    assert wrong(landed) == ["disagree: there are commits on the branch that are no landing"]


def test_a_record_that_is_missing_is_found(landed: Any):
    Subtask.objects.filter(name="work-000").update(status="handed_off")
    assert wrong(landed) == ["disagree: work-000 is handed_off and its entry landed"]


def test_a_branch_that_moved_without_a_record_is_found(landed: Any):
    _, swarm = landed
    Swarm.objects.update(head_sha=swarm.base_sha)
    assert any("the branch is at" in one for one in wrong(landed))


def test_a_process_that_ends_by_itself_was_not_killed(tmp_path: Path):
    """The rig's own word, on processes that do nothing."""
    with subprocess.Popen(["true"]) as ends, subprocess.Popen(["sleep", "60"]) as sleeps:
        assert killing.kill_after(sleeps.pid, 0, tmp_path, git_dies=False) == (True, 0)
        assert killing.ended(ends.pid) == 0


def test_git_children_of_a_repository_are_found_and_those_of_others_are_not(tmp_path: Path):
    BareRepository(tmp_path).create()
    with start_git("cat-file", "--batch", git_dir=tmp_path) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(b"0\n")
        child.stdin.flush()
        assert child.stdout.readline(), "it has become git"
        assert list(killing.git_children(tmp_path)) == [child.pid]
        assert list(killing.git_children(tmp_path / "other")) == []
        end_git(child)
    assert list(killing.git_children(tmp_path)) == []
