"""A person's request: what is refused at once, and the title that pages show."""

from __future__ import annotations

import re

from orchestration.domain.errors import InvalidInput
from orchestration.domain.texts import first_line

MAX_CHARACTERS = 100_000
_HEADING_MARKS = re.compile(r"^#{1,6}(\s+|$)")


def check_request(text: str) -> str:
    """The request as it will be stored; raises InvalidInput with what to do."""
    cleaned = text.replace("\r\n", "\n").strip()
    if not cleaned:
        raise InvalidInput("The request is empty. Write what should be done, in your own words.")
    if len(cleaned) > MAX_CHARACTERS:
        raise InvalidInput(
            f"The request has {len(cleaned):,} characters; at most {MAX_CHARACTERS:,} are taken. "
            "Put long material into the repository and refer to it."
        )
    if "\x00" in cleaned or any("\ud800" <= char <= "\udfff" for char in cleaned):
        raise InvalidInput("The request contains a NUL or bytes that are no text; paste it as plain UTF-8 text.")
    return cleaned


def title_of(request: str) -> str:
    """Its first line without Markdown's heading marks, at most 120 characters."""
    return first_line(_HEADING_MARKS.sub("", request.strip(), count=1), 120) or "Untitled"
