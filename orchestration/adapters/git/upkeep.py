"""Keeping the bare repository fast: packs, the commit graph, and what killed children left. Nothing is ever pruned.

Objects that no ref reaches stay: others may share them, and a merge that is under way may be about to use them.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from glob import iglob
from pathlib import Path

from orchestration.adapters.git.directory import GitDirectory

LOCK_S = 120.0  # no child holds a ref's lock for so long
REST_S = 3600.0  # longer than any child may run
_LOCKS = ("packed-refs.lock", "HEAD.lock", "config.lock", "refs/**/*.lock")
_REST = (
    "packed-refs.new",
    "shallow.lock",
    "objects/??/tmp_obj_*",
    "objects/??/*.lock",
    "objects/pack/tmp_*",
    "objects/pack/.tmp-*",
    "objects/tmp_objdir-*",
    "objects/info/*.lock",
    "objects/info/commit-graphs/*.lock",
    "objects/info/commit-graphs/tmp_*",
)


class Upkeep(GitDirectory):
    """Each call may be repeated, killed at any moment, and run beside everything else that uses the repository."""

    def loose_objects(self) -> int:
        return sum(1 for _ in self.matching("objects/[0-9a-f][0-9a-f]/*"))

    def packs(self) -> int:
        return sum(1 for _ in self.matching("objects/pack/pack-*.pack"))

    def pack(self, *, timeout_s: float = 600) -> None:
        """Put loose objects into packs whose sizes form a geometric row, reachable or not."""
        quietly = ("pack.threads=1",)  # the other cores are for those that somebody waits for
        self.run("repack", "-d", "-l", "-q", "--geometric=2", timeout_s=timeout_s, config=quietly)
        self.run("commit-graph", "write", "--reachable", "--split", "--no-progress", timeout_s=timeout_s)
        self.run("pack-refs", "--all", timeout_s=LOCK_S / 2)

    def remove_stale(self) -> list[str]:
        """What children that were killed have left and nobody can still be writing."""
        found = [(path, LOCK_S) for path in self.matching(*_LOCKS)] + [(path, REST_S) for path in self.matching(*_REST)]
        return [str(path.relative_to(self.path)) for path, age_s in found if _removed(path, age_s)]

    def matching(self, *patterns: str) -> Iterator[Path]:
        """Files of the repository. Directories come and go meanwhile: pathlib's own glob would raise there."""
        for pattern in patterns:
            for name in iglob(pattern, root_dir=self.path, recursive=True):  # noqa: PTH207 - see above
                yield self.path / name


def _removed(path: Path, older_than_s: float) -> bool:
    with suppress(FileNotFoundError):
        if time.time() - path.lstat().st_mtime <= older_than_s:
            return False
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        return True
    return False
