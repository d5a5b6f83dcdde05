"""What a merge and a change really did, read from the objects: the content check, markers, trailers."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from orchestration.adapters.git.merging import Merging
from orchestration.adapters.git.parsing import name_status
from orchestration.adapters.git.runner import check_sha, shown
from orchestration.domain.errors import AdapterError, Failure, InvalidInput

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}")
_MARKER = re.compile(rb"\+(?:(<{7})(?: .*)?|(={7})|(>{7})(?: .*)?)\r?")
_MARKERS_ANYWHERE = r"^(<<<<<<<|=======|>>>>>>>)( |$|" + "\r)"

_Entry = tuple[bytes, bytes]  # mode and blob; zeros where the path is not there


@dataclass(slots=True)
class _Side:
    """Paths that differ between two commits, with the entry before and after."""

    before: dict[bytes, _Entry] = field(default_factory=dict)
    after: dict[bytes, _Entry] = field(default_factory=dict)


class Content(Merging):
    """Checks that look at content and do not trust what anybody said about it."""

    def merge_is_faithful(
        self, base: str, ours: str, theirs: str, merged: str, *, declared: Collection[bytes] = ()
    ) -> tuple[str, ...]:
        """Paths of the commit `merged` that are not what a merge of `ours` and `theirs` must have; empty is good.

        A path that one side changed must have that side's entry; one that both changed must have what git
        merges from them, unless that conflicts and it is `declared` that somebody settled it. The base is
        computed here: `base` only chooses between several real ones.
        """
        bases = self.merge_bases(ours, theirs)
        real = base if base in bases else next(iter(bases), None)
        if real is None:
            return tuple(sorted(shown(path) for path in self._sides((merged, ours))[0].after))
        right, result = self._sides((theirs, real), (merged, ours))
        if right == result:  # exactly their change and nothing else, on what we had unchanged since the base
            return ()
        (left,) = self._sides((ours, real))
        suspects = {path for path in {*right.after, *result.after} if _breaks(path, left, right, result)}
        if not suspects:
            return ()
        excused = self._excused(suspects, left, right, ours=ours, theirs=theirs, merged=merged, base=real)
        return tuple(sorted(shown(path) for path in suspects - excused - _settled(suspects, declared, left, right)))

    def conflict_markers(self, base: str, head: str) -> tuple[str, ...]:
        """Changed paths whose added lines hold a whole set of conflict markers, in order."""
        command = ("diff-tree", "-r", "-M", "--no-ext-diff", "--no-textconv", "--no-color")
        commits = (check_sha(base), check_sha(head))
        listing = self.run(*command, "-z", "--name-status", "-G", _MARKERS_ANYWHERE, *commits).stdout
        # A change of type (a link that became a file) is shown as a deletion and a creation.
        candidates = [path for letter, path, _ in name_status(listing) for _ in range(1 + (letter == "T"))]
        if not candidates:
            return ()
        patch = self.run(*command, "-p", "-U0", "-G", _MARKERS_ANYWHERE, *commits).stdout
        sections = re.split(rb"^diff --git ", patch, flags=re.MULTILINE)[1:]
        pairs = zip(candidates, sections, strict=True)
        return tuple(shown(path) for path, section in pairs if _has_markers(section))

    def trailers(self, base: str | None, tip: str, key: str, paths: Collection[str] = ()) -> list[tuple[str, str]]:
        """(commit, value) of the trailer on the first-parent history after `base`, newest first; with `paths` only of
        commits that changed one of these.
        """
        if not _KEY.fullmatch(key):
            raise InvalidInput(f"{key[:80]!r} is not the name of a trailer.")
        values = f"%(trailers:key={key},valueonly,unfold,separator=%x01)"
        span = [check_sha(tip), *([f"^{check_sha(base)}"] if base else [])]
        text = self.run("log", "--first-parent", "-z", f"--format=%H%x02{values}", *span, "--", *paths).text
        return [
            (sha, value)
            for record in text.split("\0")
            if record
            for sha, _, found in [record.partition("\x02")]
            for value in found.split("\x01")
            if value
        ]

    def _excused(
        self,
        suspects: set[bytes],
        left: _Side,
        right: _Side,
        *,
        ours: str,
        theirs: str,
        merged: str,
        base: str,
    ) -> set[bytes]:
        """Suspects that are as git merges them, where both sides changed the path or one of them renamed it."""
        git = self._merge_tree(ours, theirs)
        command = ("diff-tree", "-r", "-z", "--name-only", "--no-renames")
        trees = (git.tree, f"{check_sha(merged)}^{{tree}}")
        differing = set(self.run(*command, *trees).stdout.split(b"\0"))
        both = {path for path in suspects if path in left.after and path in right.after}
        renamed = self._renamed((ours, base), (theirs, base)) if suspects - both else set()
        return {path for path in suspects & (both | renamed) if path not in differing}

    def _sides(self, *pairs: tuple[str, str]) -> list[_Side]:
        """What each commit changed against the other one of its pair, in one child."""
        raw = self._diffs("--no-renames", *pairs)
        try:
            sides = self._read_sides(raw)
        except (ValueError, IndexError):
            sides = []
        if len(sides) != len(pairs):
            raise AdapterError(Failure.TRANSIENT, "An answer of git about what a merge changed was cut off.")
        return sides

    @staticmethod
    def _read_sides(raw: list[bytes]) -> list[_Side]:
        sides: list[_Side] = []
        position = 0
        while position < len(raw):
            token = raw[position]
            if not token.startswith(b":"):
                sides.append(_Side())
                position += 1
                continue
            mode_before, mode_after, before, after, _status = token[1:].split(b" ")
            path = raw[position + 1]
            sides[-1].before[path] = (mode_before, before)
            sides[-1].after[path] = (mode_after, after)
            position += 2
        return sides

    def _renamed(self, *pairs: tuple[str, str]) -> set[bytes]:
        raw = self._diffs("-M", *pairs)
        return {
            path
            for position, token in enumerate(raw)
            if token.startswith(b":") and token.split(b" ")[4].startswith(b"R")
            for path in raw[position + 1 : position + 3]
        }

    def _diffs(self, renames: str, *pairs: tuple[str, str]) -> list[bytes]:
        lines = "".join(f"{check_sha(commit)} {check_sha(parent)}\n" for commit, parent in pairs)
        command = ("diff-tree", "--stdin", "--always", "-r", "-z", "--no-ext-diff", renames)
        raw = self.run(*command, stdin=lines.encode()).stdout
        return [token for token in raw.split(b"\0") if token]


def _settled(suspects: set[bytes], declared: Collection[bytes], left: _Side, right: _Side) -> set[bytes]:
    """Only what both sides changed can have needed settling."""
    return {path for path in suspects if path in declared and path in left.after and path in right.after}


def _breaks(path: bytes, left: _Side, right: _Side, result: _Side) -> bool:
    """Whether the merged entry is not the one that a side's change, or its absence, asks for."""
    if path not in right.after:
        return path in result.after
    if path in left.after and left.after[path] == right.after[path]:
        return path in result.after
    if path in left.after:
        return True  # both changed it, differently: only git's own merge can tell
    return result.after.get(path, right.before[path]) != right.after[path]


def _has_markers(section: bytes) -> bool:
    wanted = 0
    for line in section.split(b"\n"):
        marker = _MARKER.fullmatch(line)
        if marker is None:
            continue
        if marker[1]:
            wanted = 2
        elif marker[wanted or 1]:
            if wanted == 3:
                return True
            wanted += 1
    return False
