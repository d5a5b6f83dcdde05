"""Turning what an agent left in a workspace into a commit, or saying what in it cannot be taken."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from orchestration.adapters.git.files import Workspace, is_dot_git, odd_entries
from orchestration.adapters.git.modules import is_modules_file, objection
from orchestration.adapters.git.runner import GitResult, check_sha, run_git, shown
from orchestration.adapters.git.store import BareRepository, Person
from orchestration.adapters.git.trees import Entry, differences
from orchestration.domain.errors import AdapterError, Failure

MAX_FILE_BYTES = 50_000_000
MAX_FILES = 20_000
FEW = 4  # files of which each is brought to the disk by itself sooner than all together

_LINK, _SUBMODULE = b"120000", b"160000"
_LEFT_OUT = re.compile(r"^Ignoring path (.*)$", re.MULTILINE)
# Controls, line separators and the marks that make a name read differently from what it is.
_MISLEADING = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`sha` is the parent's where nothing changed, unless it is a merge. `written`: paths that are new or changed, with
    their blobs."""

    sha: str
    tree: str
    changed: bool
    written: tuple[tuple[bytes, str], ...] = ()


def snapshot(
    repository: BareRepository,
    workspace: Workspace,
    *,
    parent: str,
    others: Sequence[str] = (),
    message: str,
    author: Person,
    committer: Person,
    when: datetime,
    max_file_bytes: int = MAX_FILE_BYTES,
    max_files: int = MAX_FILES,
    timeout_s: float = 300,
    before_writing: Callable[[Sequence[bytes]], object] = bool,
) -> Snapshot:
    """Commit on `parent` everything the agent made that .gitignore does not hide; with `others` it is a merge of them.
    `before_writing` is told the paths that may have changed before the repository holds anything of them; it may raise.

    Sizes and kinds of files are checked before git reads them, names, links and submodules on what it read.
    """
    if check_sha(parent) not in workspace.commits:
        raise AdapterError(
            Failure.PERMANENT,
            f"The workspace does not stand on {parent[:12]}: a commit there would undo other work.",
        )
    git = _Git(repository.path, workspace, timeout_s)
    workspace.unlock_index()
    try:
        _refuse_odd_files(git, workspace.path)
        changes = _changes(git)
        _refuse_big_ones(workspace.path, changes, max_file_bytes, max_files)
        before_writing([path for _, path in changes])
    except OSError as error:
        raise AdapterError(
            Failure.PERMANENT, f"The workspace cannot be read: {error.strerror} ({error.filename!r})."
        ) from error
    if changes:
        workspace.staged = True  # also where it is refused or fails after this
        _stage(git, [path for _, path in sorted(changes)])  # what made room comes first
    tree = check_sha(git("write-tree").text.strip())
    entries = differences(repository, parent, tree)
    _refuse_entries(repository, entries)
    if not entries and not others:
        return Snapshot(parent, tree, changed=False)
    sha = repository.commit(tree, [parent, *others], message, author=author, committer=committer, when=when)
    workspace.add_commit(sha)
    written = tuple((entry.path, entry.blob.decode()) for entry in entries if entry.status != b"D")
    return Snapshot(sha, tree, changed=bool(entries), written=written)


@dataclass(frozen=True, slots=True)
class _Git:
    """Git with our repository and index on the agent's files, whose own .git is never looked at."""

    git_dir: Path
    workspace: Workspace
    timeout_s: float

    def __call__(
        self,
        *args: str,
        stdin: bytes | None = None,
        ok: tuple[int, ...] = (0,),
        config: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
    ) -> GitResult:
        return run_git(
            *args,
            git_dir=self.git_dir,
            work_tree=self.workspace.path,
            index=self.workspace.index,
            stdin=stdin,
            timeout_s=self.timeout_s,
            env=env,
            ok=ok,
            config=config,
        )


def _refuse_odd_files(git: _Git, top: Path) -> None:
    """Nested repositories and files that are not files, unless .gitignore hides them."""
    odd = {where: (path, why) for where, path, why in _odd_files(top)}
    if not odd:
        return
    # This command knows no literal paths, and ./ keeps a name from being read as a pattern.
    asked = b"".join(b"./" + where + b"\0" for where in odd)
    answer = git("check-ignore", "-z", "--stdin", stdin=asked, ok=(0, 1), env={"GIT_LITERAL_PATHSPECS": "0"})
    left = odd.keys() - {where.removeprefix(b"./") for where in answer.stdout.split(b"\0")}
    if left:
        path, why = odd[min(left)]
        raise _refused(path, why)


def _odd_files(top: Path) -> Iterator[tuple[bytes, bytes, str]]:
    """(path that .gitignore would have to hide, path, why)."""
    for entry in odd_entries(top):
        path = os.fsencode(os.path.relpath(entry.path, top))
        if not is_dot_git(entry.name):
            yield path, path, "is a device, a pipe or a socket: remove it"
        elif path != b".git":
            holder = os.path.dirname(path)  # noqa: PTH120  # bytes
            yield holder or path, path, "is a repository of its own: remove its .git"


def _changes(git: _Git) -> list[tuple[bool, bytes]]:
    """(is new, path) of what may differ from the index."""
    listing = git("ls-files", "-z", "-t", "--others", "--modified", "--exclude-standard").stdout
    return [(line.startswith(b"?"), line[2:]) for line in listing.split(b"\0") if line]


def _stage(git: _Git, paths: list[bytes]) -> None:
    """Exactly these paths, as they are now or are no more: nothing else of the tree is looked at again."""
    config = ("core.fsyncMethod=batch",) if len(paths) > FEW else ()
    command = ("update-index", "--add", "--remove", "--replace", "-z", "--stdin")
    said = git(*command, stdin=b"".join(path + b"\0" for path in paths), config=config).stderr
    if left_out := _LEFT_OUT.search(said):  # git leaves it out without an error, and the work would be lost
        raise _refused(left_out[1].encode(), "is nothing that git takes: rename it, or remove it")


def _refuse_big_ones(top: Path, changes: list[tuple[bool, bytes]], max_file_bytes: int, max_files: int) -> None:
    new = sum(is_new for is_new, _ in changes)
    if new > max_files:
        raise AdapterError(
            Failure.PERMANENT,
            f"There are {new:,} new files, more than the {max_files:,} accepted: add the made ones to .gitignore.",
        )
    for _, path in changes:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            _check_file(Path(os.fsdecode(os.path.join(os.fsencode(top), path))), path, max_file_bytes)  # noqa: PTH118


def _check_file(file: Path, path: bytes, max_file_bytes: int) -> None:
    status = file.lstat()
    if not stat.S_ISREG(status.st_mode):
        return
    if status.st_size > max_file_bytes:
        raise _refused(path, f"has {status.st_size:,} bytes, more than the {max_file_bytes:,} accepted")
    if not status.st_mode & stat.S_IRUSR:
        file.chmod(stat.S_IMODE(status.st_mode) | stat.S_IRUSR)


def _refuse_entries(repository: BareRepository, entries: list[Entry]) -> None:
    for entry in entries:
        if entry.mode == _SUBMODULE:
            raise _refused(entry.path, "is a submodule, and those cannot be changed here")
        if entry.status == b"A":
            _check_name(entry.path)
        if entry.status != b"D" and is_modules_file(entry.path):
            _check_modules(repository, entry)
    links = [entry for entry in entries if entry.mode == _LINK]
    for entry, target in zip(links, _targets(repository, links), strict=True):
        if _leaves(entry.path, target):
            raise _refused(entry.path, f"is a link that leaves the repository, to {shown(target)[:200]}")


def _check_name(path: bytes) -> None:
    try:
        text = path.decode()
    except UnicodeDecodeError:
        raise _refused(path, "has a name that is not UTF-8: rename it") from None
    if _MISLEADING.search(text):
        raise _refused(path, "has control or direction characters in its name: rename it")


def _check_modules(repository: BareRepository, entry: Entry) -> None:
    if why := objection(repository, entry.blob.decode()):
        raise _refused(entry.path, f"{why}: take it out")


def _targets(repository: BareRepository, links: list[Entry]) -> Iterator[bytes]:
    """What the links point to, all through one child."""
    if not links:
        return
    raw = repository.run("cat-file", "--batch", stdin=b"".join(link.blob + b"\n" for link in links)).stdout
    for _ in links:
        head, _, raw = raw.partition(b"\n")
        size = int(head.split()[2])
        yield raw[:size]
        raw = raw[size + 1 :]


def _leaves(path: bytes, target: bytes) -> bool:
    """Whether a link could lead outside: only dots at its start can be counted, later ones may pass other links."""
    parts = [part for part in target.split(b"/") if part not in {b"", b"."}]
    ups = next((number for number, part in enumerate(parts) if part != b".."), len(parts))
    hidden = any(part == b".." or is_dot_git(shown(part)) for part in parts[ups:])
    return target.startswith(b"/") or ups > path.count(b"/") or hidden


def _refused(path: bytes, why: str) -> AdapterError:
    """With the name written so that a reader sees what it really is."""
    name = _MISLEADING.sub(lambda found: found[0].encode("unicode_escape").decode(), shown(path))
    return AdapterError(Failure.PERMANENT, f"{name[:300]} {why}.")
