"""A file about submodules lands only where everybody's git takes it: what fsck refuses, no host accepts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters.git.modules import is_modules_file
from orchestration.adapters.git.snapshots import snapshot
from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.git.workspaces import WorkspacePool
from orchestration.domain.errors import AdapterError
from tests.adapters.git.conftest import AGENT, QUEUE, WHEN, Clone

GOOD = '[submodule "lib"]\n\tpath = vendor/lib\n\turl = https://example.org/lib.git\n\tupdate = rebase\n'
REFUSED = {
    "a url that is an option": '[submodule "x"]\n\tpath = x\n\turl = -u./payload\n',
    "a url with a line of its own": '[submodule "x"]\n\tpath = x\n\turl = https://example.org/%0ahost=evil/x\n',
    "a url that climbs to a host": '[submodule "x"]\n\tpath = x\n\turl = ../../:evil/x\n',
    "a path that is an option": '[submodule "x"]\n\tpath = -x\n\turl = https://example.org/x\n',
    "a name that climbs": '[submodule "../../x"]\n\tpath = x\n\turl = https://example.org/x\n',
    "a name that climbs on Windows": '[submodule "a\\\\..\\\\..\\\\x"]\n\tpath = x\n\turl = https://example.org/x\n',
    "a command": '[submodule "x"]\n\tpath = x\n\turl = https://example.org/x\n\tupdate = !touch pwned\n',
}


@pytest.fixture
def pool(store: BareRepository, tmp_path: Path) -> WorkspacePool:
    return WorkspacePool(tmp_path / "pool", store)


def taken(store: BareRepository, pool: WorkspacePool, base: str, make: Any) -> Any:
    workspace = pool.acquire(base)
    make(workspace.path)
    try:
        return snapshot(store, workspace, parent=base, message="m", author=AGENT, committer=QUEUE, when=WHEN)
    finally:
        pool.discard(workspace)


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_what_git_refuses_of_submodules_is_refused(
    store: BareRepository, pool: WorkspacePool, bring: Any, content: str
):
    with pytest.raises(AdapterError, match=r"^\.gitmodules says .* which git refuses: take it out\.$"):
        taken(store, pool, bring(), lambda top: (top / ".gitmodules").write_text(content))


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_a_host_that_checks_what_it_is_sent_refuses_it_with_all_that_came_along(
    clone: Clone, tmp_path: Path, content: str
):
    """The control: without the check above it would land, and the whole result could not be pushed."""
    host = tmp_path / "host.git"
    clone.git("clone", "-q", "--bare", ".", str(host))
    clone.git(f"--git-dir={host}", "config", "receive.fsckObjects", "true")
    environment = {"PATH": os.environ["PATH"], "HOME": "/dev/null"}
    push = ["git", "-C", str(clone.path), "push", "-q", str(host), "HEAD:refs/heads/landed"]
    for said, refused in ((content, True), (GOOD, False)):
        clone.commit({".gitmodules": said})
        pushed = subprocess.run(push, env=environment, capture_output=True, text=True, check=False)
        assert (pushed.returncode != 0) is refused
        assert ("gitmodules" in pushed.stderr) is refused
        clone.git("reset", "-q", "--hard", "HEAD~1")


def test_one_that_git_cannot_read_is_refused_and_so_is_a_link(store: BareRepository, pool: WorkspacePool, bring: Any):
    base = bring()
    with pytest.raises(AdapterError, match="cannot be read by git"):
        taken(store, pool, base, lambda top: (top / ".gitmodules").write_text("[submodule\n"))

    def link(top: Path) -> None:
        (top / ".gitmodules").symlink_to("a.txt")

    with pytest.raises(AdapterError, match=r"\.gitmodules is nothing that git takes: rename it, or remove it"):
        taken(store, pool, base, link)


def test_one_like_any_other_lands_wherever_it_lies_and_may_be_taken_away_again(
    store: BareRepository, pool: WorkspacePool, bring: Any
):
    def make(top: Path) -> None:
        (top / "vendor").mkdir()
        for path in (".gitmodules", "vendor/.gitmodules"):
            (top / path).write_text(GOOD)

    made = taken(store, pool, bring(), make)
    assert store.read_file(made.sha, "vendor/.gitmodules") == GOOD.encode()
    gone = taken(store, pool, made.sha, lambda top: (top / ".gitmodules").unlink())
    assert store.read_file(gone.sha, ".gitmodules") is None


@pytest.mark.parametrize(
    "name", [".gitmodules", ".GitModules", ".gitmodules. ", "GITMOD~1", "gi7eba~1", ".git\u200cmodules"]
)
def test_it_is_known_by_every_name_that_some_system_gives_it(name: str):
    assert is_modules_file(f"lib/{name}".encode())
    assert not is_modules_file(f"{name}/a.txt".encode())
    assert not is_modules_file(f"x{name}".encode())
