"""The bare repository as the merge queue uses it: the same answers from children that stay, one for each kind."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from typing_extensions import override

from orchestration.adapters.git.children import Child, ChildFailed
from orchestration.adapters.git.runner import check_sha
from orchestration.adapters.git.store import BareRepository

logger = logging.getLogger(__name__)
T = TypeVar("T")
_DIFF = ("diff-tree", "--stdin", "--always", "-r", "-z", "--no-ext-diff", "--no-renames")
_TREE = re.compile(rb"tree ([0-9a-f]{40})$", re.MULTILINE)
_PARENT = re.compile(rb"^parent ([0-9a-f]{40})$", re.MULTILINE)


class Session(BareRepository):
    """For one thread, inside `with`. Where a child fails, git is run anew: its result or its error counts.

    Merges have a child each: `merge-tree --stdin` of git 2.39 gives no answer before its input ends.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._diffing = Child(self.path, *_DIFF)
        self._reading = Child(self.path, "cat-file", "--batch")
        self._tip, self._history = "", set[str]()

    @property
    def stands_on(self) -> str:
        return self._tip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for child in (self._diffing, self._reading):
            child.close()

    def stand_on(self, tip: str, since: str) -> None:
        """Learn the history from `since` to `tip`, so that questions about `tip` need no child of their own."""
        self._tip, self._history = "", set()
        if super().is_ancestor(since, tip):
            between = self.run("rev-list", check_sha(tip), f"^{since}").text.split()
            self._tip, self._history = tip, {since, *between}

    def step_to(self, merge: str, head: str) -> None:
        """From the tip that we stand on to `merge`, which was made of it and `head`."""
        if self._tip:
            simple = self._new_child_of(head)
            between = [] if simple else self.run("rev-list", check_sha(head), f"^{self._tip}").text.split()
            self._history |= {merge, head, *between}
            self._tip = merge

    @override
    def is_ancestor(self, a: str, b: str) -> bool:
        if b == self._tip and a in self._history:
            return True
        if b == self._tip and self._new_child_of(a):
            return False
        return super().is_ancestor(a, b)

    @override
    def merge_bases(self, a: str, b: str) -> list[str]:
        parent = self._new_child_of(b) if a == self._tip else None
        return [parent] if parent else super().merge_bases(a, b)

    @override
    def tree(self, commit: str) -> str:
        found = _TREE.match(self._head(commit))
        return found[1].decode() if found else super().tree(commit)

    @override
    def _diffs(self, renames: str, *pairs: tuple[str, str]) -> list[bytes]:
        if renames != _DIFF[-1]:
            return super()._diffs(renames, *pairs)
        end = f"{secrets.token_hex(8)}-is-no-object\n".encode()  # what is no object comes back as it is
        lines = "".join(f"{check_sha(commit)} {check_sha(parent)}\n" for commit, parent in pairs)
        raw = self._asked(self._diffing, lines.encode() + end, lambda raw: raw if raw.endswith(end) else None)
        if raw is None:
            return super()._diffs(renames, *pairs)
        return [token for token in raw.removesuffix(end).split(b"\0") if token]

    def _new_child_of(self, sha: str) -> str | None:
        """The one parent of a commit outside of the history that we know, while its parent is in it.

        That parent is then the only merge base with the tip, and the commit itself is not contained in the tip.
        """
        if sha in self._history:
            return None
        parents = [found.decode() for found in _PARENT.findall(self._head(sha))]
        return parents[0] if len(parents) == 1 and parents[0] in self._history else None

    def _head(self, sha: str) -> bytes:
        """The lines of a commit before its message; none where the child failed."""
        commit = self._asked(self._reading, f"{check_sha(sha)}\n".encode(), _commit) or b""
        return commit.partition(b"\n\n")[0]

    def _asked(self, child: Child, question: bytes, read: Callable[[bytes], T | None]) -> T | None:
        try:
            return child.ask(question, read)
        except ChildFailed as error:
            logger.warning("A git child of the merge queue failed, so git is run anew: %s", error)
            return None


def _commit(raw: bytes) -> bytes | None:
    """The content of `<id> commit <size>`, content, newline."""
    head, newline, content = raw.partition(b"\n")
    if not newline:
        return None
    words = head.split()
    if words[1] != b"commit":
        raise ValueError(f"{head[:80]!r} is no commit")
    return content[: int(words[2])] if len(content) > int(words[2]) else None
