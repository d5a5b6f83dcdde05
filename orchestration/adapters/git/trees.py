"""How commits differ. Loose trees are read without a child, packed ones by one for all of a level, and kept."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from orchestration.adapters.git.objects import Objects
from orchestration.adapters.git.runner import check_sha
from orchestration.domain.errors import AdapterError, Failure

MOST_KEPT = 1024
LONGEST_KEPT = 65_536
_DIRECTORY = b"40000"
_USUAL = {_DIRECTORY, b"100644", b"100755", b"120000", b"160000"}
_NOWHERE = (b"000000", b"\0" * 20)
_ENTRY = re.compile(rb"([0-7]+) ([^\0]+)\0(.{20})", re.DOTALL)

_Tree = dict[bytes, tuple[bytes, bytes]]  # by name: mode and id, in binary
_packed: dict[str, bytes] = {}  # by the id of a tree or of its commit: what it holds never changes


@dataclass(frozen=True, slots=True)
class Entry:
    """One path whose file differs, as it is afterwards. `status` is git's letter: A, D, M or T."""

    path: bytes
    mode: bytes
    blob: bytes
    status: bytes


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two directories in one place; an empty id where there is none."""

    number: int
    under: bytes
    before: str
    after: str


def differences(store: Objects, a: str, b: str) -> list[Entry]:
    """From one commit or tree to another, sorted by path. Renames are not looked for."""
    return all_differences(store, [(a, b)])[0]


def all_differences(store: Objects, pairs: Sequence[tuple[str, str]]) -> list[list[Entry]]:
    """The same for many, one level of directories after another."""
    found: list[list[Entry]] = [[] for _ in pairs]
    level = [_Pair(number, b"", check_sha(a), check_sha(b)) for number, (a, b) in enumerate(pairs)]
    while level:
        trees = _read(store, {sha for pair in level for sha in (pair.before, pair.after)})
        deeper = []
        for pair in level:
            for one in _differing(pair, trees[pair.before], trees[pair.after]):
                if isinstance(one, Entry):
                    found[pair.number].append(one)
                else:
                    deeper.append(one)
        level = deeper
    return [sorted(entries, key=lambda entry: entry.path) for entries in found]


def _differing(pair: _Pair, before: _Tree, after: _Tree) -> Iterator[Entry | _Pair]:
    for name in {name for name, _ in before.items() ^ after.items()}:
        (old_mode, old), (mode, new) = _found(before, name), _found(after, name)
        if (old_mode, old) == (mode, new):
            continue
        was_directory, is_directory = old_mode == _DIRECTORY, mode == _DIRECTORY
        path = pair.under + name
        if was_directory or is_directory:
            directories = old.hex() if was_directory else "", new.hex() if is_directory else ""
            yield _Pair(pair.number, path + b"/", *directories)
        was_file, is_file = not was_directory and name in before, not is_directory and name in after
        if is_file:
            kind = b"M" if old_mode[:3] == mode[:3] else b"T"
            yield Entry(path, mode, new.hex().encode(), kind if was_file else b"A")
        elif was_file:
            yield Entry(path, _NOWHERE[0], _NOWHERE[1].hex().encode(), b"D")


def _found(tree: _Tree, name: bytes) -> tuple[bytes, bytes]:
    if name not in tree:
        return _NOWHERE
    mode, binary = tree[name]
    return _as_git_reads(mode), binary


def _as_git_reads(mode: bytes) -> bytes:
    """Old tools wrote zeros before a mode, and permissions that git does not keep."""
    if mode in _USUAL:
        return mode
    bits = int(mode, 8) & 0o177777
    if stat.S_ISREG(bits):
        return b"100755" if bits & stat.S_IXUSR else b"100644"
    return _DIRECTORY if stat.S_ISDIR(bits) else b"120000" if stat.S_ISLNK(bits) else b"160000"


def _read(store: Objects, shas: Iterable[str]) -> dict[str, _Tree]:
    found = {sha: _packed.get(sha) or _loose(store, sha) for sha in shas}
    missing = [sha for sha, raw in found.items() if raw is None]
    if missing:
        asked = _ask(store, missing)
        found |= asked
        if len(_packed) + len(asked) > MOST_KEPT:
            _packed.clear()
        short = ((sha, raw) for sha, raw in asked.items() if len(raw) <= LONGEST_KEPT)
        _packed.update(islice(short, MOST_KEPT))
    return {sha: _parsed(raw or b"") for sha, raw in found.items()}


def _loose(store: Objects, sha: str) -> bytes | None:
    if not sha:
        return b""
    raw = store.read_loose("tree", sha)
    if raw is None and (commit := store.read_loose("commit", sha)) is not None:
        raw = store.read_loose("tree", commit[5:45].decode())
    return raw


def _ask(store: Objects, shas: Sequence[str]) -> dict[str, bytes]:
    raw = store.run("cat-file", "--batch", stdin="".join(f"{sha}^{{tree}}\n" for sha in shas).encode()).stdout
    found = {}
    for sha in shas:
        head, _, raw = raw.partition(b"\n")
        words = head.split()
        if len(words) != 3:
            raise AdapterError(Failure.PERMANENT, f"The commit {sha[:12]} cannot be read.")
        size = int(words[2])
        found[sha], raw = raw[:size], raw[size + 1 :]
    return found


def _parsed(raw: bytes) -> _Tree:
    return {name: (mode, binary) for mode, name, binary in _ENTRY.findall(raw)}
