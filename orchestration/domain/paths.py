"""Paths inside a repository, as people and models write them, judged by their text alone."""

from __future__ import annotations


def parts(path: str) -> tuple[str, ...] | None:
    """The names from the repository's root down; None where the path is absolute or leaves the repository."""
    names = [name for name in path.split("/") if name not in {"", "."}]
    return None if path.startswith("/") or ".." in names else tuple(names)
