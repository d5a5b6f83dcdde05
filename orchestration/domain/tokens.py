"""API tokens: what they look like, what they may be called, and what is stored of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

from orchestration.domain.errors import InvalidInput

PREFIX = "swarmsite_"  # by which people and scanners know what they found
MAX_TOKENS = 50  # of one person
MAX_NAME = 80
_TOKEN = re.compile(PREFIX + r"[A-Za-z0-9_-]{40,80}")


def looks_like_token(text: str) -> bool:
    return bool(_TOKEN.fullmatch(text))


def digest_of(token: str) -> str:
    """All that is stored of it. It is random and long: no salt and no slow hash could add anything."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def check_name(name: str, taken: Collection[str]) -> str:
    """Raises InvalidInput with one sentence."""
    name = name.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidInput(f"Give the token a name of 1 to {MAX_NAME} characters, such as the program that uses it.")
    if name in taken:
        raise InvalidInput("You have a token of this name already; choose another, or revoke that one first.")
    if len(taken) >= MAX_TOKENS:
        raise InvalidInput(f"You have {MAX_TOKENS} tokens; revoke one that is not used any more.")
    return name
