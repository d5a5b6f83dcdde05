"""What an agent made becomes a commit; what cannot be taken is refused by name; nothing of it runs."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters.git.store import BareRepository, Person
from orchestration.adapters.git.workspaces import Snapshot, Workspace, WorkspacePool, snapshot
from orchestration.domain.errors import AdapterError, Failure


@pytest.fixture
def pool(tmp_path: Path, store: BareRepository) -> WorkspacePool:
    return WorkspacePool(tmp_path / "workspaces", store)


@pytest.fixture
def workspace(pool: WorkspacePool, bring: Any) -> Workspace:
    return pool.acquire(bring())


@pytest.fixture
def take(store: BareRepository, workspace: Workspace, when: Any) -> Any:
    """Snapshot the workspace on the commit that it was reset to."""

    def take(of: Workspace = workspace, **options: Any) -> Snapshot:
        who = Person("Agent Seven", "agent@swarm.example")
        plain = {"parent": of.commits[0], "message": "work", "author": who, "committer": who, "when": when}
        return snapshot(store, of, **{**plain, **options})

    return take


def test_everything_made_is_committed_on_the_parent(store: BareRepository, workspace: Workspace, take: Any):
    (workspace.path / "a.txt").write_text("changed\n")
    (workspace.path / "src/b.py").unlink()
    (workspace.path / "new dir").mkdir()
    (workspace.path / "new dir/ümlaut 名.txt").write_text("new\n")
    taken = take()
    assert taken.changed
    changes = {(change.status, change.path) for change in store.changed_paths(workspace.commits[0], taken.sha)}
    assert changes == {("M", "a.txt"), ("D", "src/b.py"), ("A", "new dir/ümlaut 名.txt")}
    assert store.log(taken.sha, 5)[0].author == "Agent Seven"
    assert store.is_ancestor(workspace.commits[0], taken.sha)


def test_nothing_changed_gives_the_parent(workspace: Workspace, take: Any):
    (workspace.path / "a.txt").write_text("one\ntwo\nthree\n")
    (workspace.path / "empty").mkdir()
    taken = take()
    assert not taken.changed
    assert taken.sha == workspace.commits[0]


def test_a_merge_in_which_nothing_changed_is_a_commit_of_both(store: BareRepository, workspace: Workspace, take: Any):
    (workspace.path / "a.txt").write_text("theirs\n")
    theirs = take().sha
    (workspace.path / "a.txt").write_text("one\ntwo\nthree\n")
    taken = take(others=(theirs,))
    assert not taken.changed
    assert taken.tree == store.tree(workspace.commits[0])
    assert store.run("rev-parse", f"{taken.sha}^1", f"{taken.sha}^2").text.split() == [workspace.commits[0], theirs]


def test_the_same_work_gives_the_same_commit(workspace: Workspace, take: Any):
    (workspace.path / "n.txt").write_text("n")
    assert take() == take()


def test_a_second_snapshot_can_stand_on_the_first(store: BareRepository, workspace: Workspace, take: Any):
    (workspace.path / "n.txt").write_text("n")
    first = take()
    (workspace.path / "m.txt").write_text("m")
    second = take(parent=first.sha)
    assert [change.path for change in store.changed_paths(first.sha, second.sha)] == ["m.txt"]


def test_a_parent_with_other_work_is_refused(clone: Any, bring: Any, workspace: Workspace, take: Any):
    clone.commit({"others.txt": "work of others\n"})
    (workspace.path / "n.txt").write_text("n")
    with pytest.raises(AdapterError, match="would undo other work"):
        take(parent=bring())


def test_gitignore_is_respected_also_for_what_would_be_refused(store: BareRepository, workspace: Workspace, take: Any):
    (workspace.path / ".gitignore").write_text("build/\n*.sock\n")
    (workspace.path / "build/.git").mkdir(parents=True)
    os.mkfifo(workspace.path / "build/pipe")
    os.mkfifo(workspace.path / "x.sock")
    taken = take()
    assert [change.path for change in store.changed_paths(workspace.commits[0], taken.sha)] == [".gitignore"]


def test_a_file_and_a_directory_may_change_places(store: BareRepository, workspace: Workspace, take: Any):
    (workspace.path / "src/b.py").unlink()
    (workspace.path / "src/deep/c.py").unlink()
    (workspace.path / "src/deep").rmdir()
    (workspace.path / "src").rmdir()
    (workspace.path / "src").write_text("now a file")
    (workspace.path / "a.txt").unlink()
    (workspace.path / "a.txt").mkdir()
    (workspace.path / "a.txt/x").write_text("x")
    assert store.list_files(take().sha) == ["a.txt/x", "src"]


def test_an_index_lock_of_a_killed_child_does_not_wedge_it(workspace: Workspace, take: Any):
    workspace.index.with_name("index.lock").touch()
    (workspace.path / "n.txt").write_text("n")
    assert take().changed


def _link(target: str, at: str = "link") -> Any:
    def make(top: Path) -> None:
        (top / at).parent.mkdir(parents=True, exist_ok=True)
        (top / at).symlink_to(target)

    return make


def _nested(top: Path) -> None:
    subprocess.run(["git", "init", "-q", str(top / "vendor/lib")], check=True)


def _nested_with_commit(top: Path) -> None:
    _nested(top)
    identity = ["-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run(
        ["git", "-C", str(top / "vendor/lib"), *identity, "commit", "-q", "--allow-empty", "-m", "x"], check=True
    )


def _dot_git_file(top: Path) -> None:
    (top / "src/.git").write_text("gitdir: ../elsewhere\n")


def _upper_dot_git(top: Path) -> None:
    (top / "src/.GIT").mkdir()
    (top / "src/.GIT/config").write_text("[core]\n")


def _pipe(top: Path) -> None:
    os.mkfifo(top / "src/pipe")


def _socket(top: Path) -> None:
    here = os.open(top, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{here}/sock")
    os.close(here)


def _device(top: Path) -> None:
    try:
        os.mknod(top / "null", 0o020666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")


def _named(name: bytes) -> Any:
    return lambda top: (top / os.fsdecode(name)).write_text("x")


def _in(path: str, content: str = "x\n") -> Any:
    def make(top: Path) -> None:
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(content)

    return make


REFUSED = {
    "absolute link": (_link("/etc/passwd"), "link is a link that leaves the repository, to /etc/passwd"),
    "link above": (_link("../outside"), "leaves the repository"),
    "deep link above": (_link("../../../x", "p/q/link"), "p/q/link is a link"),
    "link that turns": (_link("src/../../x"), "leaves the repository"),
    "link over links": (_link("src/deep/../b.py"), "leaves the repository"),
    "link into .git": (_link(".git/config"), "leaves the repository"),
    "nested repository": (_nested, "vendor/lib/.git is a repository of its own"),
    "nested with a commit": (_nested_with_commit, "vendor/lib/.git is a repository of its own"),
    ".git file": (_dot_git_file, "src/.git is a repository of its own"),
    ".GIT": (_upper_dot_git, "src/.GIT is a repository of its own"),
    ".git of macOS": (_in(".g\u200cit/config"), "it is a repository of its own"),
    ".git of Windows": (_in(".git. /config"), r"\.git\.  is a repository of its own"),
    ".git and a stream": (_in(".git::$INDEX_ALLOCATION/config"), "is a repository of its own"),
    ".git behind a backslash": (_in("a\\.git\\config"), "is a repository of its own"),
    "pipe": (_pipe, "src/pipe is a device, a pipe or a socket"),
    "socket": (_socket, "sock is a device, a pipe or a socket"),
    "device": (_device, "null is a device, a pipe or a socket"),
    "newline": (_named(b"a\nb"), r"a\\nb has control"),
    "escape": (_named(b"a\x1b[31mb"), r"a\\x1b\[31mb has control"),
    "bidi": (_named("a\u202etxt.exe".encode()), r"a\\u202etxt.exe has control"),
    "not UTF-8": (_named(b"caf\xe9.txt"), r"caf\\xe9.txt has a name that is not UTF-8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_taken_is_refused_by_name(workspace: Workspace, take: Any, case: str):
    make, sentence = REFUSED[case]
    make(workspace.path)
    with pytest.raises(AdapterError, match=sentence) as caught:
        take()
    assert caught.value.kind is Failure.PERMANENT
    with pytest.raises(AdapterError, match=sentence):
        take()


@pytest.mark.parametrize("target", ["a.txt", "./a.txt", "src/deep", "not-there"])
def test_links_inside_the_repository_are_taken(store: BareRepository, workspace: Workspace, take: Any, target: str):
    (workspace.path / "p").mkdir()
    (workspace.path / "link").symlink_to(target)
    (workspace.path / "p/link").symlink_to("../" + target)
    assert store.read_file(take().sha, "link") == target.encode()


def test_a_link_that_was_there_before_does_not_block(
    clone: Any, bring: Any, pool: WorkspacePool, store: Any, take: Any
):
    (clone.path / "old").symlink_to("/etc/hostname")
    clone.commit({os.fsdecode(b"caf\xe9"): "x"})
    workspace = pool.acquire(bring())
    (workspace.path / "n.txt").write_text("n")
    taken = take(workspace)
    assert [change.path for change in store.changed_paths(workspace.commits[0], taken.sha)] == ["n.txt"]


def test_a_file_that_is_too_big_is_refused_before_git_reads_it(store: Any, workspace: Workspace, take: Any):
    before = sorted(store.path.glob("objects/??/*"))
    (workspace.path / "big.bin").write_bytes(b"x" * 2_001)
    with pytest.raises(AdapterError, match=r"big.bin has 2,001 bytes, more than the 2,000 accepted"):
        take(max_file_bytes=2_000)
    assert sorted(store.path.glob("objects/??/*")) == before
    assert take(max_file_bytes=2_001).changed


def test_too_many_new_files_are_refused(workspace: Workspace, take: Any):
    for number in range(4):
        (workspace.path / f"n{number}").write_text("n")
    with pytest.raises(AdapterError, match="There are 4 new files, more than the 3 accepted"):
        take(max_files=3)
    assert take(max_files=4).changed


def test_submodules_cannot_be_added_and_an_old_one_does_not_block(
    clone: Any, bring: Any, pool: WorkspacePool, store: Any, take: Any
):
    clone.git("update-index", "--add", "--cacheinfo", f"160000,{clone.git('rev-parse', 'HEAD')},sub")
    clone.git("commit", "-q", "-m", "submodule")
    workspace = pool.acquire(bring())
    (workspace.path / "n.txt").write_text("n")
    taken = take(workspace)
    assert [change.path for change in store.changed_paths(workspace.commits[0], taken.sha)] == ["n.txt"]
    entry = f"160000 {'1' * 40}\tsub2"
    store.run("update-index", "--index-info", index=workspace.index, stdin=f"{entry}\n".encode())
    (workspace.path / "sub2").mkdir()
    with pytest.raises(AdapterError, match="sub2 is a submodule"):
        take(workspace, parent=taken.sha)


class Trap:
    """A program that leaves a mark when somebody runs it."""

    def __init__(self, directory: Path) -> None:
        self.mark = directory / "mark"
        self.script = directory / "trap.sh"
        self.script.write_text(f"#!/bin/sh\ntouch {self.mark}\ncat 2>/dev/null\nexit 0\n")
        self.script.chmod(0o755)

    def sprung(self) -> bool:
        found = self.mark.exists()
        self.mark.unlink(missing_ok=True)
        return found


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    (tmp_path / "trap").mkdir()
    return Trap(tmp_path / "trap")


def plain_git(top: Path, *args: str) -> None:
    """Git as somebody would run it inside the tree: the control."""
    env = {"PATH": os.environ["PATH"], "HOME": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ["-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run(["git", *identity, *args], cwd=top, env=env, capture_output=True, check=False)


def _fsmonitor(top: Path, script: Path) -> tuple[str, ...]:
    plain_git(top, "config", "core.fsmonitor", str(script))
    return ("status",)


def _hook(top: Path, script: Path) -> tuple[str, ...]:
    for name in ("post-index-change", "pre-commit", "reference-transaction", "post-checkout"):
        (top / ".git/hooks").mkdir(exist_ok=True)
        (top / ".git/hooks" / name).symlink_to(script)
    return ("add", "-A")


def _hooks_path(top: Path, script: Path) -> tuple[str, ...]:
    (top / "hooks").mkdir()
    (top / "hooks/post-index-change").write_bytes(script.read_bytes())
    (top / "hooks/post-index-change").chmod(0o755)
    plain_git(top, "config", "core.hooksPath", "hooks")
    return ("add", "-A")


def _clean_filter(top: Path, script: Path) -> tuple[str, ...]:
    plain_git(top, "config", "filter.trap.clean", str(script))
    plain_git(top, "config", "filter.trap.smudge", str(script))
    (top / ".gitattributes").write_text("* filter=trap\n")
    return ("add", "-A")


def _textconv(top: Path, script: Path) -> tuple[str, ...]:
    plain_git(top, "add", "-A")
    plain_git(top, "commit", "-q", "-m", "x")
    plain_git(top, "config", "diff.trap.textconv", str(script))
    plain_git(top, "config", "diff.trap.command", str(script))
    (top / ".gitattributes").write_text("* diff=trap\n")
    return ("diff",)


@pytest.mark.parametrize("attack", [_fsmonitor, _hook, _hooks_path, _clean_filter, _textconv])
def test_nothing_in_the_tree_runs_on_the_host(
    attack: Any, pool: WorkspacePool, workspace: Workspace, take: Any, trap: Trap
):
    top = workspace.path
    plain_git(top, "init", "-q")
    command = attack(top, trap.script)
    (top / "a.txt").write_text("changed by the agent\n")
    plain_git(top, *command)
    assert trap.sprung(), "the control must show that the attack works"

    taken = take()
    store = pool._repository
    store.diff(workspace.commits[0], taken.sha)
    store.conflict_markers(workspace.commits[0], taken.sha)
    store.grep(taken.sha, "agent")
    pool.release(workspace)
    again = pool.acquire(taken.sha)
    assert again.slot == workspace.slot
    assert (again.path / "a.txt").read_text() == "changed by the agent\n"
    assert not (again.path / ".git").exists()
    assert not trap.sprung()


def test_a_git_of_the_agents_is_neither_read_nor_taken(store: Any, workspace: Workspace, take: Any):
    plain_git(workspace.path, "init", "-q")
    plain_git(workspace.path, "add", "-A")
    plain_git(workspace.path, "commit", "-q", "-m", "the agent's own")
    (workspace.path / ".git/info/exclude").write_text("*\n")
    (workspace.path / "n.txt").write_text("n")
    taken = take()
    assert [change.path for change in store.changed_paths(workspace.commits[0], taken.sha)] == ["n.txt"]
    assert len(store.log(taken.sha, 9)) == 2


def test_a_git_that_points_at_our_repository_does_nothing(store: Any, workspace: Workspace, take: Any):
    (workspace.path / ".git").write_text(f"gitdir: {store.path}\n")
    assert not take().changed
