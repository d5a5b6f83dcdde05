"""Turns what a caller wants to run into an argument vector, and refuses what no kernel would take."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from orchestration.domain.errors import InvalidInput

LONGEST_ARGUMENT = 120_000  # Linux takes 128 KiB in one argument
LONGEST_VECTOR = 1_000_000


@cache
def shell() -> str:
    return "/usr/bin/bash" if Path("/usr/bin/bash").exists() else "/bin/sh"


def arguments(command: str | Sequence[str]) -> list[bytes]:
    """The vector of `command`; a shell's text is its last element. Raises InvalidInput."""
    words = [shell(), "-c", command] if isinstance(command, str) else list(command)
    if not words or not words[0]:
        raise InvalidInput("There is no command to run.")
    return [_encoded(word) for word in words]


def require_short(vector: Sequence[bytes]) -> None:
    """Raises InvalidInput where the kernel would refuse the vector."""
    if any(len(word) > LONGEST_ARGUMENT for word in vector) or sum(map(len, vector)) > LONGEST_VECTOR:
        raise InvalidInput(
            f"The command is too long: at most {LONGEST_ARGUMENT} bytes an argument. Write a file and run that."
        )


def _encoded(word: str) -> bytes:
    try:
        data = word.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInput("The command contains characters that are no valid text.") from error
    if b"\0" in data:
        raise InvalidInput("The command contains a NUL character.")
    return data
