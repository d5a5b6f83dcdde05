"""Exactly the commit's files, whoever had the directory before and whatever they left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.git.workspaces import WorkspacePool
from orchestration.domain.errors import AdapterError


@pytest.fixture
def pool(tmp_path: Path, store: BareRepository):
    return WorkspacePool(tmp_path / "workspaces", store)


def contents(top: Path) -> dict[str, str]:
    """Every path beneath: what a file holds, where a link points."""
    found = {}
    for directory, _, files in os.walk(top):
        for name in [*files, *(d.name for d in Path(directory).iterdir() if d.is_symlink() and d.is_dir())]:
            path = Path(directory) / name
            found[str(path.relative_to(top))] = str(path.readlink()) if path.is_symlink() else _text(path)
    return found


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else "special"


FIRST = {"a.txt": "one\ntwo\nthree\n", "src/b.py": "b = 1\n", "src/deep/c.py": "c = 1\n"}


def test_a_fresh_workspace_holds_the_commits_files_and_no_git(pool: WorkspacePool, bring: Any):
    workspace = pool.acquire(bring())
    assert contents(workspace.path) == FIRST
    assert workspace.path not in workspace.index.parents


def test_links_stay_links_and_modes_stay(pool: WorkspacePool, bring: Any, clone: Any):
    clone.commit({"run.sh": "#!/bin/sh\n"})
    (clone.path / "run.sh").chmod(0o755)
    (clone.path / "link").symlink_to("src/b.py")
    clone.commit({})
    workspace = pool.acquire(bring())
    assert (workspace.path / "link").readlink() == Path("src/b.py")
    assert os.access(workspace.path / "run.sh", os.X_OK)


def test_a_released_slot_is_used_again_and_a_held_one_is_not(pool: WorkspacePool, bring: Any):
    sha = bring()
    first = pool.acquire(sha)
    second = pool.acquire(sha)
    assert first.slot != second.slot
    pool.release(first)
    assert pool.acquire(sha).slot == first.slot


def test_a_second_release_does_not_free_the_next_holders_slot(pool: WorkspacePool, bring: Any):
    sha = bring()
    first = pool.acquire(sha)
    pool.release(first)
    second = pool.acquire(sha)
    pool.release(first)
    assert pool.acquire(sha).slot != second.slot


def test_the_slot_that_was_last_at_the_commit_is_preferred(pool: WorkspacePool, bring: Any, clone: Any):
    old = bring()
    clone.commit({"d.txt": "d\n"})
    new = bring()
    at_old, at_new = pool.acquire(old), pool.acquire(new)
    pool.release(at_old)
    pool.release(at_new)
    assert pool.acquire(old).slot == at_old.slot


def test_without_one_the_slot_that_was_used_last_is_taken(pool: WorkspacePool, bring: Any, clone: Any):
    old = bring()
    clone.commit({"d.txt": "d\n"})
    first, second = pool.acquire(old), pool.acquire(old)
    pool.release(second)
    pool.release(first)
    assert pool.acquire(bring()).slot == first.slot
    assert pool.acquire(old).slot == second.slot


def test_a_slot_that_somebody_else_deleted_is_passed_over(pool: WorkspacePool, bring: Any):
    gone = pool.acquire(sha := bring())
    pool.release(gone)
    subprocess.run(["rm", "-rf", str(gone.path.parent)], check=True)
    taken = pool.acquire(sha)
    assert taken.slot != gone.slot
    assert (taken.path / "a.txt").is_file()


def test_a_slot_that_another_pool_has_taken_meanwhile_is_passed_over(pool: WorkspacePool, store: Any, bring: Any):
    ours = pool.acquire(sha := bring())
    pool.release(ours)
    other = WorkspacePool(ours.path.parent.parent, store)
    assert other.acquire(sha).slot == ours.slot
    assert pool.acquire(sha).slot != ours.slot


def _overwrite(top: Path) -> None:
    (top / "a.txt").write_text("changed\n")


def _same_size_and_time(top: Path) -> None:
    before = (top / "src/b.py").stat()
    (top / "src/b.py").write_text("b = 2\n")
    os.utime(top / "src/b.py", ns=(before.st_atime_ns, before.st_mtime_ns))


def _delete_all(top: Path) -> None:
    subprocess.run(["rm", "-rf", *map(str, top.iterdir())], check=True)


def _ignored_and_untracked(top: Path) -> None:
    (top / ".gitignore").write_text("*.log\nbuild/\n")
    (top / "x.log").write_text("x")
    (top / "build/deep").mkdir(parents=True)
    (top / "build/deep/o").write_text("o")
    (top / "empty/dirs/in/it").mkdir(parents=True)


def _repositories(top: Path) -> None:
    for place in (".", "src", "nested", "nested/again"):
        subprocess.run(["git", "init", "-q", str(top / place)], check=True)
    (top / "src/deep/.git").write_text("gitdir: /somewhere\n")


def _file_for_directory(top: Path) -> None:
    subprocess.run(["rm", "-r", str(top / "src")], check=True)
    (top / "src").write_text("a file")
    (top / "a.txt").unlink()
    (top / "a.txt").mkdir()
    (top / "a.txt/inner").write_text("inner")


def _link_to_moved(top: Path) -> None:
    (top / "src").rename(top / "moved")
    (top / "src").symlink_to("moved")


def _closed_directory(top: Path) -> None:
    (top / "closed").mkdir()
    (top / "closed/f").write_text("f")
    (top / "closed").chmod(0)
    (top / "src").chmod(0o500)


def _special(top: Path) -> None:
    os.mkfifo(top / "pipe")
    (top / "a.txt").unlink()
    os.mkfifo(top / "a.txt")


def _modes(top: Path) -> None:
    (top / "a.txt").chmod(0o777)


def _odd_names(top: Path) -> None:
    (top / os.fsdecode(b"caf\xe9\n\x1b[0m")).write_text("x")
    (top / "-rf").write_text("x")
    (top / ":(glob)**").write_text("x")


ABUSES = [
    _overwrite,
    _same_size_and_time,
    _delete_all,
    _ignored_and_untracked,
    _repositories,
    _file_for_directory,
    _link_to_moved,
    _closed_directory,
    _special,
    _modes,
    _odd_names,
]


@pytest.mark.parametrize("abuse", ABUSES, ids=lambda abuse: abuse.__name__)
@pytest.mark.parametrize("move", [False, True], ids=["same commit", "another commit"])
def test_a_reset_leaves_exactly_the_commits_files(pool: WorkspacePool, bring: Any, clone: Any, abuse: Any, move: bool):
    sha = bring()
    expected = dict(FIRST)
    workspace = pool.acquire(sha)
    slot = workspace.slot
    abuse(workspace.path)
    pool.release(workspace)
    if move:
        clone.commit({"a.txt": "four\n", "src/deep/c.py": None, "new/n.txt": "n\n"})
        sha = bring()
        expected |= {"a.txt": "four\n", "new/n.txt": "n\n"}
        del expected["src/deep/c.py"]
    again = pool.acquire(sha)
    assert again.slot == slot
    assert contents(again.path) == expected
    directories = {str(Path(d).relative_to(again.path)) for d, _, _ in os.walk(again.path)}
    assert directories == {str(parent) for name in expected for parent in Path(name).parents}
    assert not os.access(again.path / "a.txt", os.X_OK)


def test_a_link_in_a_directorys_place_is_not_followed(pool: WorkspacePool, bring: Any, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b.py").write_text("mine\n")
    (outside / "deep").mkdir()
    workspace = pool.acquire(bring())
    subprocess.run(["rm", "-r", str(workspace.path / "src")], check=True)
    (workspace.path / "src").symlink_to(outside)
    pool.release(workspace)
    again = pool.acquire(bring())
    assert contents(again.path) == FIRST
    assert contents(outside) == {"b.py": "mine\n"}
    assert not (again.path / "src").is_symlink()


@pytest.mark.parametrize("damage", ["index", "files", "deep"])
def test_a_slot_that_cannot_be_reset_is_replaced(pool: WorkspacePool, bring: Any, tmp_path: Path, damage: str):
    sha = bring()
    workspace = pool.acquire(sha)
    if damage == "index":
        workspace.index.write_bytes(b"DIRC" + b"\xff" * 200)
    elif damage == "files":
        workspace.path.rename(tmp_path / "elsewhere")
        workspace.path.symlink_to(tmp_path / "elsewhere")
    else:
        script = "d = 'd' * 200\nimport os\nfor _ in range(40):\n    os.mkdir(d)\n    os.chdir(d)\n"
        subprocess.run([sys.executable, "-c", script], cwd=workspace.path, check=True)
    pool.release(workspace)
    again = pool.acquire(sha)
    assert again.slot != workspace.slot
    assert contents(again.path) == FIRST
    assert not workspace.path.exists()
    assert not list((tmp_path / "workspaces").glob(".trash-*"))


def test_an_index_lock_that_a_kill_left_does_not_wedge_the_slot(pool: WorkspacePool, bring: Any):
    sha = bring()
    workspace = pool.acquire(sha)
    workspace.index.with_name("index.lock").touch()
    pool.release(workspace)
    assert pool.acquire(sha).slot == workspace.slot


def test_a_discarded_workspace_is_gone(pool: WorkspacePool, bring: Any, tmp_path: Path):
    workspace = pool.acquire(bring())
    pool.discard(workspace)
    assert not list((tmp_path / "workspaces").iterdir())


def test_an_unknown_commit_leaves_nothing_behind(pool: WorkspacePool, tmp_path: Path):
    with pytest.raises(AdapterError, match="read-tree"):
        pool.acquire("1" * 40)
    assert not list((tmp_path / "workspaces").iterdir())


def test_a_hundred_threads_get_a_hundred_different_workspaces(pool: WorkspacePool, bring: Any):
    sha = bring()
    with ThreadPoolExecutor(100) as threads:
        held = list(threads.map(lambda _: pool.acquire(sha), range(100)))
    assert len({workspace.path for workspace in held}) == 100
    assert all(contents(workspace.path) == FIRST for workspace in held)


def test_threads_that_take_and_give_back_never_share(pool: WorkspacePool, bring: Any):
    sha = bring()
    marks: set[str] = set()

    def work(number: int) -> bool:
        workspace = pool.acquire(sha)
        clean = contents(workspace.path) == FIRST and workspace.slot not in marks
        marks.add(workspace.slot)
        (workspace.path / f"mine-{number}").write_text("mine")
        alone = {name for name in contents(workspace.path) if name.startswith("mine")} == {f"mine-{number}"}
        marks.discard(workspace.slot)
        pool.release(workspace)
        return clean and alone

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(work, range(64)))


HOLDER = """
import sys
from pathlib import Path
from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.git.workspaces import WorkspacePool
pool = WorkspacePool(Path(sys.argv[1]), BareRepository(Path(sys.argv[2])))
held = pool.acquire(sys.argv[3])
(held.path / "left").write_text("by the dead")
print(held.slot, flush=True)
sys.stdin.read()
"""


def test_a_killed_process_leaves_its_slots_to_the_next_and_a_live_one_keeps_them(
    pool: WorkspacePool, store: BareRepository, bring: Any, tmp_path: Path
):
    sha = bring()
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "workspaces"), str(store.path), sha]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as holder:
        slot = holder.stdout.readline().strip()
        mine = pool.acquire(sha)
        assert mine.slot != slot
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    taken = pool.acquire(sha)
    assert taken.slot == slot
    assert contents(taken.path) == FIRST


def test_slots_that_nobody_has_used_for_long_are_deleted_and_those_in_use_are_not(pool: WorkspacePool, bring: Any):
    held, idle, young = (pool.acquire(bring()) for _ in range(3))
    pool.release(idle)
    pool.release(young)
    for workspace in (held, idle):
        os.utime(workspace.index, (1, 1))
    assert pool.discard_unused(3600) == 1
    assert [workspace.path.exists() for workspace in (held, idle, young)] == [True, False, True]
    assert pool.acquire(bring()).slot == young.slot


def test_a_slot_that_another_process_holds_is_not_deleted(pool: WorkspacePool, store: Any, bring: Any):
    workspace = pool.acquire(bring())
    os.utime(workspace.index, (1, 1))
    other = WorkspacePool(pool._root, store)
    assert other.discard_unused(3600) == 0
    assert workspace.path.exists()
