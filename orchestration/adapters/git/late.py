"""A workspace that is taken from its pool when it is first needed: an attempt asks its model sooner."""

from __future__ import annotations

from threading import Lock
from types import TracebackType
from typing import Self

from orchestration.adapters.git.workspaces import Workspace, WorkspacePool


class LateWorkspace:
    """The same at every call, from any thread. A call raises what taking it raises, and the next one tries again."""

    def __init__(self, pool: WorkspacePool, sha: str) -> None:
        self._pool = pool
        self._sha = sha
        self._taken: Workspace | None = None
        self._taking = Lock()

    def __call__(self) -> Workspace:
        with self._taking:
            if self._taken is None:
                self._taken = self._pool.acquire(self._sha)
            return self._taken

    @property
    def is_taken(self) -> bool:
        return self._taken is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._taken:
            self._pool.release(self._taken)
