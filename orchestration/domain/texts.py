"""Text from outside that every database can store and every page can show."""

from __future__ import annotations

from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def storable(value: Any) -> Any:
    """The same JSON value without NUL characters and lone surrogates, which PostgreSQL and UTF-8 refuse."""
    if isinstance(value, str):
        value = value.replace("\x00", REPLACEMENT)
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {storable(key): storable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [storable(one) for one in value]
    return value


def bytes_of(text: str) -> int:
    """In UTF-8. Most texts that are measured are long and plain: these are not copied for it."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def size_in_words(count: int) -> str:
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.0f} kB" if count < 1024 * 1024 else f"{count / 1024 / 1024:.1f} MB"


def first_line(text: str, most: int) -> str:
    """The first line that says something, cut at `most` characters."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
