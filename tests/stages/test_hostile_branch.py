"""A branch that means harm: nothing of it runs on the host, and nothing lands that the rules do not allow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters import storage
from orchestration.adapters.git.snapshots import MAX_FILE_BYTES, snapshot
from orchestration.adapters.git.store import BareRepository
from orchestration.domain.errors import AdapterError
from orchestration.models import MergeEntry
from orchestration.stages.merge import merge
from orchestration.stages.rows import store_of
from tests.adapters.git.conftest import AGENT, QUEUE, WHEN
from tests.adapters.git.test_snapshots import Trap, plain_git
from tests.stages.test_execute import file_of, run
from tests.stages.test_merge import content, entries
from tests.stages.world import Model, World, bash, hand_off

pytestmark = pytest.mark.any_database
NESTED = "mkdir -p lib/.git/refs lib/.git/objects && echo 'ref: refs/heads/x' > lib/.git/HEAD && echo x > lib/a"
REFUSED = {
    "link out of the tree": ("ln -s /etc/passwd leak", "leak is a link that leaves the repository"),
    "link above": ("ln -s ../../outside leak", "leak is a link that leaves the repository"),
    "nested repository": (NESTED, "lib/.git is a repository of its own"),
    "name that is not UTF-8": (r"touch $'caf\xe9.txt'", r"caf\xe9.txt has a name that is not UTF-8"),
    "big file": ("truncate -s 150000000 big.bin", "big.bin has 150,000,000 bytes, more than the 50,000,000 accepted"),
}


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    made = Trap(tmp_path)
    assert not made.sprung()
    return made


@pytest.mark.sandbox
@pytest.mark.parametrize(("command", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_the_rules_do_not_allow_never_reaches_the_queue(world: World, model: Model, command: str, sentence: str):
    attempt = run(world, model, bash(f"bash -c {_quoted(command)}"), hand_off())
    assert attempt.status != "complete"
    assert sentence in attempt.status_reason
    assert not MergeEntry.objects.exists()
    assert store_of(attempt.subtask.swarm).tip(attempt.subtask.swarm.branch) == attempt.base_sha


def _quoted(command: str) -> str:
    return "'" + command.replace("'", "'\\''") + "'"


@pytest.mark.sandbox
def test_names_that_look_like_options_are_data_and_land(world: World, model: Model, trap: Trap):
    names = [
        f"--upload-pack={trap.script.name}",
        "-n",
        "--output=landed",
        "HEAD",
        "refs/heads/main",
        "@{-1}",
        ":(top)x",
    ]
    command = "mkdir -p -- refs/heads; " + "; ".join(f"echo data > ./{_quoted(name)}" for name in names)
    attempt = run(world, model, bash(command), hand_off())
    swarm = attempt.subtask.swarm
    assert attempt.status == "complete", attempt.status_reason
    merge(swarm.pk)
    assert entries() == {"one": "landed"}
    assert [content(swarm, name) for name in names] == ["data\n"] * len(names)
    assert [file_of(attempt, name) for name in names] == ["data\n"] * len(names)
    assert not trap.sprung()


ATTRIBUTES = "* merge=trap diff=trap filter=trap\n"


def _set_trap(git_dir: Path, script: Path) -> None:
    """What an attacker would want in the configuration of whoever merges the branch."""
    drivers = "".join(f'[{kind} "trap"]\n\t{key} = {script}\n' for kind, key in _KEYS)
    with (git_dir / "config").open("a") as file:
        file.write(f"{drivers}[core]\n\tfsmonitor = {script}\n")
    for name in ("reference-transaction", "post-merge", "post-update", "post-checkout", "pre-commit", "post-commit"):
        hook = git_dir / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\nexec {script}\n")
        hook.chmod(0o755)


_KEYS = [("merge", "driver"), ("filter", "clean"), ("filter", "smudge"), ("diff", "textconv"), ("diff", "command")]


@pytest.mark.parametrize("armed", ["the branch's attributes", "hooks and configuration of the store too"])
def test_nothing_of_a_branch_runs_while_it_lands(world: World, trap: Trap, armed: str):
    """Both change one file in different places, so that its merge would ask a driver."""
    swarm = world.running()
    world.queued(swarm, "first", {"a.txt": "ONE\ntwo\nthree\n", ".gitattributes": ATTRIBUTES})
    world.queued(swarm, "second", {"a.txt": "one\ntwo\nTHREE\n"})
    world.queued(swarm, "rival", {"src/b.py": "b = 2\n"})
    world.queued(swarm, "loser", {"src/b.py": "b = 3\n"})
    if armed != "the branch's attributes":
        _set_trap(store_of(swarm).path, trap.script)
    merge(swarm.pk)
    assert entries() == {"first": "landed", "second": "landed", "rival": "landed", "loser": "conflict"}
    assert content(swarm, "a.txt") == "ONE\ntwo\nTHREE\n"
    store = store_of(swarm)
    store.diff(swarm.base_sha, store.tip(swarm.branch) or "")
    store.pack()
    assert not trap.sprung()


def test_the_same_branch_runs_code_where_plain_git_merges_it(world: World, trap: Trap):
    """The control of the test above."""
    top = world.clone.path
    world.clone.git("checkout", "-q", "-b", "first")
    world.clone.commit({"a.txt": "ONE\ntwo\nthree\n", ".gitattributes": ATTRIBUTES})
    world.clone.git("checkout", "-q", "-b", "second", "main")
    world.clone.commit({"a.txt": "one\ntwo\nTHREE\n"})
    _set_trap(top / ".git", trap.script)
    plain_git(top, "merge", "--no-edit", "first")
    assert trap.sprung()


def test_a_hook_of_the_store_runs_where_plain_git_moves_a_ref(world: World, trap: Trap):
    """The control for the store's own hooks."""
    swarm = world.running()
    store = store_of(swarm)
    _set_trap(store.path, trap.script)
    store.create_branch("ours", swarm.base_sha)
    assert not trap.sprung()
    plain_git(store.path, "update-ref", "refs/heads/theirs", swarm.base_sha)
    assert trap.sprung()


def test_200_mb_are_refused_before_anything_reads_them(world: World):
    swarm = world.running()
    pool = storage.workspace_pool(swarm.repository.public_id)
    workspace = pool.acquire(swarm.base_sha)
    with (workspace.path / "huge.bin").open("wb") as file:
        os.truncate(file.fileno(), 200_000_000)
    taken: dict[str, Any] = {
        "parent": swarm.base_sha,
        "message": "m",
        "author": AGENT,
        "committer": QUEUE,
        "when": WHEN,
    }
    with pytest.raises(AdapterError, match=r"huge.bin has 200,000,000 bytes, more than the 50,000,000 accepted"):
        snapshot(store_of(swarm), workspace, **taken)
    assert MAX_FILE_BYTES == 50_000_000
    pool.discard(workspace)


def test_a_submodule_in_a_commit_of_somebody_elses_fetches_nothing(world: World, trap: Trap):
    """Agents cannot commit one; where the base has one it is a line of the tree and nothing else."""
    swarm = world.running()
    store: BareRepository = store_of(swarm)
    rows = store.run("ls-tree", swarm.base_sha).text + f"160000 commit {'1' * 40}\tvendor\n"
    tree = store.run("mktree", "--missing", stdin=rows.encode()).text.strip()
    entry = world.queued(swarm, "one", {"new.txt": "x\n"})
    head = store.commit(tree, [swarm.base_sha], "m", author=AGENT, committer=QUEUE, when=entry.enqueued_at)
    MergeEntry.objects.update(head_sha=head)
    merge(swarm.pk)
    assert entries() == {"one": "landed"}
    assert not (store.path / "modules").exists()
    assert not trap.sprung()
