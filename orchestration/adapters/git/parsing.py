"""Git's NUL-separated listings as tuples of bytes."""

from __future__ import annotations

from collections.abc import Iterator


def name_status(raw: bytes) -> Iterator[tuple[str, bytes, bytes]]:
    """(letter, path, old path) of `--name-status -z`; the old path is empty unless it was renamed or copied."""
    fields = iter(raw.split(b"\0"))
    for status in fields:
        if not status:
            continue
        first = next(fields)
        if status[:1] in b"RC":
            yield status[:1].decode(), next(fields), first
        else:
            yield status[:1].decode(), first, b""


def numstat(raw: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(insertions, deletions, path) of `--numstat -z`; the counts of a binary file are dashes."""
    fields = iter(raw.split(b"\0"))
    for head in fields:
        if not head:
            continue
        insertions, deletions, path = head.split(b"\t", 2)
        if not path:  # a rename: the old path and the new one follow
            next(fields)
            path = next(fields)
        yield insertions, deletions, path
