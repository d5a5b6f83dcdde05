"""What pages and planners read: changes, files, history, search. Everything comes from objects by id."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice

from git import Blob, Commit, Repo, Tree
from git.exc import ODBError

from orchestration.adapters.git.directory import GitDirectory
from orchestration.adapters.git.parsing import name_status, numstat
from orchestration.adapters.git.runner import ENVIRONMENT, check_sha, shown
from orchestration.adapters.git.values import Change, DiffStat, FileStat, GrepHit, LogEntry
from orchestration.domain.errors import AdapterError, Failure, InvalidInput

_DIFF = ("--no-ext-diff", "--no-textconv", "--no-color", "-M")
_MAX_GREP_BYTES = 4_000_000


class Reading(GitDirectory):
    """Questions about commits. Names and content that are not UTF-8 come out with backslash escapes."""

    def changed_paths(self, a: str, b: str) -> list[Change]:
        raw = self.run("diff-tree", "-r", "-z", "--name-status", *_DIFF, check_sha(a), check_sha(b)).stdout
        return [Change(shown(path), letter, shown(old)) for letter, path, old in name_status(raw)]

    def diffstat(self, a: str, b: str) -> DiffStat:
        raw = self.run("diff-tree", "-r", "-z", "--numstat", *_DIFF, check_sha(a), check_sha(b)).stdout
        files = tuple(
            FileStat(shown(path), 0, 0, binary=True) if plus == b"-" else FileStat(shown(path), int(plus), int(minus))
            for plus, minus, path in numstat(raw)
        )
        return DiffStat(files, sum(file.insertions for file in files), sum(file.deletions for file in files))

    def diff(self, a: str, b: str, *, path: str | None = None, max_bytes: int = 1_000_000) -> str:
        """Unified diff with renames. One that is longer than `max_bytes` ends with a line that says so."""
        where = ["--", *([check_path(path)] if path else [])]
        command = ("diff-tree", "-r", "-p", *_DIFF, check_sha(a), check_sha(b), *where)
        result = self.run(*command, max_bytes=max_bytes)
        if not result.cut:
            return result.text
        whole_lines = result.stdout[: result.stdout.rfind(b"\n") + 1]
        return f"{shown(whole_lines)}... the rest is not shown: the diff is longer than {max_bytes:,} bytes\n"

    def log(self, sha: str, limit: int = 50) -> list[LogEntry]:
        command = ("log", "-z", f"--max-count={int(limit)}", "--format=%H%x01%ct%x01%an%x01%s")
        records = self.run(*command, check_sha(sha), "--").text.split("\0")
        return [_log_entry(record) for record in records if record]

    def grep(self, sha: str, pattern: str, *, under: str = "", limit: int = 200) -> list[GrepHit]:
        """Lines of text files that match the extended regular expression."""
        where = ["--", *([check_path(under)] if under else [])]
        command = ("grep", "-n", "-I", "-z", "-E", "--no-color", "--no-textconv", f"--max-count={int(limit)}")
        _check_pattern(pattern)
        result = self.run(*command, "-e", pattern, check_sha(sha), *where, ok=(0, 1, 128), max_bytes=_MAX_GREP_BYTES)
        if result.code == 128:
            raise _grep_error(pattern, result.stderr)
        # A path may hold a newline, so records are told by the commit that each begins with.
        record = re.compile(sha.encode() + rb":([^\0]*)\0(\d+)\0([^\n]*)\n")
        found = islice(record.finditer(result.stdout), limit)
        return [GrepHit(shown(hit[1]), int(hit[2]), shown(hit[3])) for hit in found]

    def list_files(self, sha: str, *, under: str = "", limit: int = 10_000) -> list[str]:
        """At most `limit` paths of files beneath the directory `under`, sorted as git sorts them."""
        with self._tree(sha) as root:
            directory = _entry(root, under) if under.strip("/.") else root
            if not isinstance(directory, Tree):
                return []
            return list(islice(_files(directory), limit))

    def ids_at(self, sha: str, paths: Sequence[str]) -> dict[str, str]:
        """The object's id of each path, a directory's as well; empty where there is nothing."""
        plain = {check_path(path).encode(): path for path in paths}
        raw = self.run("ls-tree", "-z", "--full-tree", check_sha(sha), "--", *(name.decode() for name in plain)).stdout
        found = dict.fromkeys(paths, "")
        for record in raw.split(b"\0")[:-1]:
            about, _, name = record.partition(b"\t")
            if name in plain:
                found[plain[name]] = about.split()[2].decode()
        return found

    def read_file(self, sha: str, path: str, *, max_bytes: int = 1_000_000) -> bytes | None:
        """The first `max_bytes` of a file at that commit (of a link: its target); None when it is not there."""
        with self._tree(sha) as root:
            blob = _entry(root, path)
            return bytes(blob.data_stream.read(max_bytes)) if isinstance(blob, Blob) else None

    @contextmanager
    def _tree(self, sha: str) -> Iterator[Tree]:
        """The commit's root. GitPython reads everything below it through one cat-file child."""
        binary = bytes.fromhex(check_sha(sha))
        with Repo(self.path, search_parent_directories=False, expand_vars=False) as repo:
            repo.git.update_environment(**ENVIRONMENT, GIT_DIR=str(self.path))
            try:
                yield Commit(repo, binary).tree
            except (ODBError, ValueError, OSError) as error:
                raise AdapterError(Failure.PERMANENT, f"The commit {sha[:12]} cannot be read.") from error


def check_path(path: str) -> str:
    """The path inside the tree in its plain form, or InvalidInput."""
    plain = posixpath.normpath(path)
    if path.startswith("/") or plain == ".." or plain.startswith("../") or "\0" in path:
        raise InvalidInput(f"{path[:200]!r} is not a path inside the repository.")
    return plain


def _entry(root: Tree, path: str) -> Tree | Blob | None:
    try:
        found = root.join(check_path(path))
    except (KeyError, UnicodeEncodeError):
        return None
    return found if isinstance(found, Tree | Blob) else None


def _files(tree: Tree) -> Iterator[str]:
    """Depth first, one directory at a time, so that a limit also limits what is read."""
    for entry in tree:
        if isinstance(entry, Tree):
            yield from _files(entry)
        elif isinstance(entry, Blob):
            yield shown(str(entry.path).encode("utf-8", "surrogateescape"))


def _log_entry(record: str) -> LogEntry:
    sha, stamp, author, subject = record.split("\x01", 3)
    return LogEntry(sha, author, subject, datetime.fromtimestamp(int(stamp), UTC))


def _check_pattern(pattern: str) -> None:
    if not pattern or len(pattern) > 1_000 or re.search(r"[\0\n]", pattern):
        raise InvalidInput("A search needs a pattern of one line and at most 1,000 characters.")


def _grep_error(pattern: str, stderr: str) -> Exception:
    reason = stderr.strip().rsplit(": ", 1)[-1]
    if re.search(r"-e option|command line", stderr):
        return InvalidInput(f"{pattern!r} is not a regular expression that git understands: {reason}.")
    return AdapterError(Failure.PERMANENT, f"git grep failed: {reason}.")
