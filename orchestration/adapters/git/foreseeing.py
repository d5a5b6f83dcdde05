"""Merges that nobody keeps, and what a workspace has changed so far: for telling conflicts before they happen."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from pathlib import Path

from orchestration.adapters.git.directory import GitDirectory
from orchestration.adapters.git.files import Workspace
from orchestration.adapters.git.merging import read_merges
from orchestration.adapters.git.runner import check_sha, run_git, shown
from orchestration.adapters.git.values import MergeConflict
from orchestration.domain.errors import AdapterError, Failure

MOST_PATHS = 500  # names of one workspace that are told
_NAMES = ("-r", "-z", "--name-only", "--no-renames", "--no-ext-diff")


def merge_all(
    store: GitDirectory, merges: Sequence[tuple[str, str]], *, timeout_s: float
) -> list[MergeConflict | None]:
    """Each pair of commits merged, by one child; None where git could. What it writes is thrown away: a store from
    which nothing is ever pruned would grow with every look.
    """
    if not merges:
        return []
    lines = "".join(f"{check_sha(ours)} {check_sha(theirs)}\n" for ours, theirs in merges)
    with tempfile.TemporaryDirectory(prefix="swarmsite-forecast-") as scratch:
        apart = {"GIT_OBJECT_DIRECTORY": scratch, "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(store.path / "objects")}
        command = ("merge-tree", "--write-tree", "-z", "--messages", "--stdin")
        raw = store.run(*command, stdin=lines.encode(), env=apart, timeout_s=timeout_s).stdout
    found = read_merges(raw.split(b"\0"))
    if len(found) != len(merges):
        raise AdapterError(Failure.TRANSIENT, "An answer of git about many merges was cut off.")
    return [one.conflict if one.conflicted else None for one in found]


def landed_since(store: GitDirectory, bases: Iterable[str], tip: str) -> dict[str, frozenset[str]]:
    """By base: the files in which the tip differs from it."""
    return {base: _differing(store.path, check_sha(base), check_sha(tip)) for base in set(bases)}


@lru_cache(maxsize=1024)
def _differing(path: Path, base: str, tip: str) -> frozenset[str]:
    if base == tip:
        return frozenset()
    raw = GitDirectory(path).run("diff-tree", *_NAMES, base, tip).stdout
    return frozenset(shown(name) for name in raw.split(b"\0") if name)


def touched(store: GitDirectory, workspace: Workspace, base: str) -> list[str]:
    """Files that may differ from the base, hidden ones excepted. Reads only: whoever works there is not disturbed."""
    git = partial(run_git, git_dir=store.path, work_tree=workspace.path, index=workspace.index)
    changed = git("diff-index", *_NAMES, "--ignore-submodules=all", check_sha(base)).stdout
    new = git("ls-files", "-z", "--others", "--exclude-standard").stdout
    names = {shown(name) for name in (changed + new).split(b"\0") if name and not name.endswith(b"/")}
    return sorted(names)[:MOST_PATHS]
