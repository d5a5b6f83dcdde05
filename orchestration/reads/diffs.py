"""What an attempt changed, read from git objects by id and taken apart for the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestration.adapters import storage
from orchestration.domain.errors import AdapterError
from orchestration.models import Attempt

MOST_BYTES = 600_000
FOLD_ABOVE = 200  # lines of one file
_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@(.*)")
_GENERATED = re.compile(
    r"(^|/)(package-lock\.json|yarn\.lock|pnpm-lock\.yaml|poetry\.lock|uv\.lock|Cargo\.lock|go\.sum)$"
)


@dataclass(frozen=True, slots=True)
class Row:
    """`kind` is add, del, same or hunk."""

    kind: str
    old: int | None
    new: int | None
    text: str


@dataclass(slots=True)
class FileDiff:
    path: str
    note: str = ""
    insertions: int = 0
    deletions: int = 0
    rows: list[Row] = field(default_factory=list)

    @property
    def folded(self) -> bool:
        return len(self.rows) > FOLD_ABOVE or _GENERATED.search(self.path) is not None


@dataclass(frozen=True, slots=True)
class Diff:
    files: tuple[FileDiff, ...] = ()
    problem: str = ""

    @property
    def insertions(self) -> int:
        return sum(file.insertions for file in self.files)

    @property
    def deletions(self) -> int:
        return sum(file.deletions for file in self.files)


def diff_of(attempt: Attempt) -> Diff | None:
    """None where the attempt has left no commit yet; a diff that cannot be read says why."""
    if not attempt.base_sha or not attempt.head_sha:
        return None
    store = storage.bare_repository(attempt.subtask.swarm.repository.public_id)
    try:
        return Diff(tuple(parse(store.diff(attempt.base_sha, attempt.head_sha, max_bytes=MOST_BYTES))))
    except AdapterError as error:
        return Diff(problem=str(error))


def parse(text: str) -> Iterator[FileDiff]:
    """The files of a unified diff, as git writes it."""
    current: FileDiff | None = None
    old = new = 0
    in_hunk = False
    for line in text.split("\n"):
        if line.startswith("diff --git "):
            if current:
                yield current
            current, in_hunk = FileDiff(_path(line)), False
        elif current is None:
            continue
        elif hunk := _HUNK.match(line):
            old, new, in_hunk = int(hunk[1]), int(hunk[2]), True
            current.rows.append(Row("hunk", None, None, hunk[3].strip()))
        elif in_hunk:
            old, new = _line(current, line, old, new)
        else:
            _header(current, line)
    if current:
        yield current


def _line(file: FileDiff, line: str, old: int, new: int) -> tuple[int, int]:
    match line[:1]:
        case "+":
            file.rows.append(Row("add", None, new, line[1:]))
            file.insertions += 1
            return old, new + 1
        case "-":
            file.rows.append(Row("del", old, None, line[1:]))
            file.deletions += 1
            return old + 1, new
        case " ":
            file.rows.append(Row("same", old, new, line[1:]))
            return old + 1, new + 1
        case "\\" | ".":
            file.rows.append(Row("hunk", None, None, line.lstrip("\\ .")))
    return old, new


def _header(file: FileDiff, line: str) -> None:
    if line.startswith("new file"):
        file.note = "new"
    elif line.startswith("deleted file"):
        file.note = "deleted"
    elif line.startswith("rename from "):
        file.note = f"renamed from {line.removeprefix('rename from ')}"
    elif line.startswith("Binary files"):
        file.note = f"{file.note}, binary".strip(", ")
    elif line.startswith(("+++ b/", "rename to ")):
        file.path = line.removeprefix("+++ b/").removeprefix("rename to ").removesuffix("\t")
    elif line.startswith("new mode"):
        file.note = f"mode {line.removeprefix('new mode ')}"


def _path(line: str) -> str:
    """From `diff --git a/x b/x`; a line with +++ or rename tells it more exactly where there is one."""
    names = line.removeprefix("diff --git ")
    half = len(names) // 2
    return names[half + 1 :].removeprefix("b/").strip('"')
