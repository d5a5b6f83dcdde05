"""Merges that nobody keeps, and what a workspace has changed so far: for telling conflicts before they happen."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from orchestration.adapters.git.directory import GitDirectory
from orchestration.adapters.git.files import Workspace
from orchestration.adapters.git.merging import read_merges
from orchestration.adapters.git.objects import Objects
from orchestration.adapters.git.runner import check_sha, run_git, shown
from orchestration.adapters.git.trees import all_differences
from orchestration.adapters.git.values import MergeConflict
from orchestration.domain.errors import AdapterError, Failure

MOST_PATHS = 500  # names of one workspace that are told
MOST_KEPT = 2048
_NAMES = ("-r", "-z", "--name-only", "--no-renames", "--no-ext-diff")
_LOOSELY = ("core.fsync=none", "core.looseCompression=0")  # what is thrown away need not reach the disk
_lock = threading.Lock()
_differing: dict[tuple[Path, str, str], frozenset[str]] = {}  # how two commits differ never changes


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
        raw = store.run(*command, stdin=lines.encode(), env=apart, timeout_s=timeout_s, config=_LOOSELY).stdout
    found = read_merges(raw.split(b"\0"))
    if len(found) != len(merges):
        raise AdapterError(Failure.TRANSIENT, "An answer of git about many merges was cut off.")
    return [one.conflict if one.conflicted else None for one in found]


def landed_since(store: Objects, bases: Iterable[str], tip: str) -> dict[str, frozenset[str]]:
    """By base: the files in which the tip differs from it. Whatever was not asked before is worked out."""
    wanted = set(bases)
    new = sorted(base for base in wanted if (store.path, base, tip) not in _differing)
    if new:
        with _lock:
            if len(_differing) + len(new) > MOST_KEPT:
                _differing.clear()
            told = all_differences(store, [(base, tip) for base in new])
            names = (frozenset(shown(one.path) for one in entries) for entries in told)
            _differing.update({(store.path, base, tip): paths for base, paths in zip(new, names, strict=True)})
    return {base: _differing.get((store.path, base, tip), frozenset()) for base in wanted}


def touched(store: GitDirectory, workspace: Workspace, base: str) -> list[str]:
    """Files that may differ from the base, hidden ones excepted. Reads only: whoever works there is not disturbed."""
    git = partial(run_git, git_dir=store.path, work_tree=workspace.path, index=workspace.index)
    if workspace.index_is_of(check_sha(base)):
        listing = git("ls-files", "-z", "--others", "--modified", "--exclude-standard").stdout
    else:
        changed = git("diff-index", *_NAMES, "--ignore-submodules=all", base).stdout
        listing = changed + git("ls-files", "-z", "--others", "--exclude-standard").stdout
    names = {shown(name) for name in listing.split(b"\0") if name and not name.endswith(b"/")}
    return sorted(names)[:MOST_PATHS]
