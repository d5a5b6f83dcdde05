"""A repository's files in so many lines: a directory that has no room for its files tells how many there are."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

LEAST = 3  # of a directory with more files than fit: so many are named


@dataclass(slots=True)
class _Directory:
    path: str
    files: list[str] = field(default_factory=list)
    below: dict[str, _Directory] = field(default_factory=dict)
    count: int = 0
    open: bool = False

    @property
    def entries(self) -> int:
        return len(self.files) + len(self.below)

    def lines(self, most: int) -> Iterator[str]:
        """Its directories and files, in the order of their names; of files at most `most`."""
        found: dict[str, _Directory | None] = dict.fromkeys(self.files[:most])
        found |= {one.path: one for one in self.below.values()}
        for path, directory in sorted(found.items(), key=itemgetter(0)):
            if directory is None:
                yield path
            elif directory.open:
                yield from directory.lines(len(directory.files))
            else:
                yield f"{path}/ ({_files(directory.count)})"
        if len(self.files) > most:
            yield f"{self.path}/... and {_files(len(self.files) - most)} more here".removeprefix("/")


def tree(paths: Sequence[str], most: int) -> list[str]:
    """All paths where they fit into `most` lines; otherwise the directories that take most room are folded. Only a
    root with more than `most` entries of its own is cut, and says so."""
    if len(paths) <= most:
        return list(paths)
    root = _grown(paths)
    room = most - root.entries
    if room < 0:
        directories = len(root.below)
        named = list(root.lines(max(LEAST, most - directories - 1)))
        return named if len(named) <= most else [*named[: most - 1], f"... and {_files(len(paths))} in all"]
    _open_what_fits(root, room)
    return list(root.lines(len(root.files)))


def _grown(paths: Sequence[str]) -> _Directory:
    root = _Directory("")
    for path in paths:
        here = root
        *above, _ = path.split("/")
        for name in above:
            here.count += 1
            where = f"{here.path}/{name}" if here.path else name
            here = here.below.setdefault(name, _Directory(where))
        here.count += 1
        here.files.append(path)
    return root


def _open_what_fits(root: _Directory, room: int) -> None:
    """The smallest first, so that as many directories as possible are seen whole."""
    waiting = [(one.entries, one.path, one) for one in root.below.values()]
    heapq.heapify(waiting)
    while waiting:
        entries, _, one = heapq.heappop(waiting)
        if entries - 1 > room:  # its own line goes; those that wait are larger still
            return
        room -= entries - 1
        one.open = True
        for child in one.below.values():
            heapq.heappush(waiting, (child.entries, child.path, child))


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"
