"""Pooled plain directories that agents work in. None holds a .git; git's index lies outside of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from orchestration.adapters.git.files import Workspace, remove, sweep
from orchestration.adapters.git.runner import check_sha, run_git
from orchestration.adapters.git.snapshots import Snapshot, snapshot
from orchestration.adapters.git.store import BareRepository
from orchestration.domain.errors import AdapterError, Failure

__all__ = ["Snapshot", "Workspace", "WorkspacePool", "snapshot"]


class WorkspacePool:
    """Slots under one directory. A lock on a slot's file says that it is in use, and dies with its process."""

    def __init__(self, root: Path, repository: BareRepository) -> None:
        self._root = root.absolute()
        self._repository = repository
        self._held: dict[str, tuple[Workspace, int]] = {}
        self._resting: dict[str, str] = {}  # slots that we gave back, the latest last, with the commit they stood on
        self._root.mkdir(parents=True, exist_ok=True)
        for trash in self._root.glob(".trash-*"):
            remove(trash)

    def acquire(self, sha: str, *, timeout_s: float = 300) -> Workspace:
        """A directory with exactly that commit's files: an idle slot reset, or a fresh one where that fails."""
        check_sha(sha)
        for slot in self._idle(sha):
            workspace = self._take(slot)
            if workspace is not None:
                try:
                    return self._reset(workspace, sha, timeout_s)
                except (AdapterError, OSError):
                    self.discard(workspace)  # whatever was done to it, a fresh one does not have it
                break
        workspace = self._fresh()
        try:
            return self._reset(workspace, sha, timeout_s)
        except OSError as error:
            self.discard(workspace)
            raise AdapterError(Failure.TRANSIENT, f"A workspace could not be prepared: {error.strerror}.") from error
        except AdapterError:
            self.discard(workspace)
            raise

    def release(self, workspace: Workspace) -> None:
        """Back to the pool as it is; it is reset when it is taken again. A second release does nothing."""
        held, descriptor = self._held.get(workspace.slot, (None, -1))
        if held is workspace:
            self._resting[workspace.slot] = next(iter(workspace.commits), "")
            del self._held[workspace.slot]
            os.close(descriptor)

    def discard(self, workspace: Workspace) -> None:
        """Delete it for good."""
        directory = self._root / workspace.slot
        trash = self._root / f".trash-{secrets.token_hex(8)}"
        with contextlib.suppress(FileNotFoundError):
            directory.rename(trash)
        self.release(workspace)
        self._resting.pop(workspace.slot, None)
        remove(trash)

    def discard_unused(self, older_than_s: float) -> int:
        """Delete the slots that nobody has used for so long, and say how many."""
        unused = [directory.name for directory in self._root.glob("slot-*") if _age_s(directory) > older_than_s]
        found = [workspace for slot in unused if slot not in self._held and (workspace := self._take(slot))]
        for workspace in found:
            self.discard(workspace)
        return len(found)

    def _idle(self, sha: str) -> Iterator[str]:
        """Slots that are not ours at the moment: first those last at this commit, then the latest used. The disk is
        searched only for what this process has not had yet.
        """
        resting = list(self._resting.items())[::-1]
        yield from (slot for slot, commit in resting if commit == sha)
        yield from (slot for slot, commit in resting if commit != sha)
        yield from self._unknown(sha)

    def _unknown(self, sha: str) -> list[str]:
        found: list[tuple[bool, float, str]] = []
        for directory in self._root.glob("slot-*"):
            if directory.name in self._held or directory.name in self._resting:
                continue
            with contextlib.suppress(FileNotFoundError):
                commits = self._workspace(directory.name).commits
                found.append((commits[:1] == [sha], directory.stat().st_mtime, directory.name))
        return [name for *_, name in sorted(found, reverse=True)]

    def _fresh(self) -> Workspace:
        """Made under a name that is swept up at the next start, and a slot only once it is whole."""
        while True:
            token = secrets.token_hex(8)
            made, slot = self._root / f".trash-{token}", f"slot-{token}"
            with contextlib.suppress(FileNotFoundError):  # another process that starts may sweep it up
                (made / "files").mkdir(parents=True)
                made.rename(self._root / slot)
            workspace = self._take(slot)
            if workspace is not None:  # another thread may have seen it first
                return workspace

    def _take(self, slot: str) -> Workspace | None:
        """The slot, once nobody else can have it; None where somebody has."""
        path = self._root / slot / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            still_there = path.stat().st_ino == os.fstat(descriptor).st_ino
        except (BlockingIOError, FileNotFoundError):
            still_there = False
        if not still_there:
            os.close(descriptor)
            return None
        workspace = self._workspace(slot)
        self._held[slot] = (workspace, descriptor)
        self._resting.pop(slot, None)
        return workspace

    def _workspace(self, slot: str) -> Workspace:
        return Workspace(self._root / slot / "files", self._root / slot / "index", slot)

    def _reset(self, workspace: Workspace, sha: str, timeout_s: float) -> Workspace:
        """Untracked things go first, so that nothing of an agent's stands where a file will be written."""
        workspace.forget_commits()
        workspace.unlock_index()
        git = partial(
            run_git,
            git_dir=self._repository.path,
            work_tree=workspace.path,
            index=workspace.index,
            timeout_s=timeout_s,
        )
        if sweep(workspace.path):
            git("clean", "-ffdxq")
        git("read-tree", "--reset", "-u", "--end-of-options", sha)
        workspace.add_commit(sha)
        return workspace


def _age_s(slot: Path) -> float:
    """Since its last reset; of a slot that is just being made, none."""
    try:
        return time.time() - (slot / "index").stat().st_mtime
    except FileNotFoundError:
        return 0.0
