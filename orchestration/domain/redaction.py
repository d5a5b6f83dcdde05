"""Takes secrets out of what agents and models produced, plain or encoded, whatever it is part of."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

SHORTEST = 8  # characters: a shorter value stands in innocent texts by chance
SHORTEST_LINE = 24  # of a secret of many lines, such as a private key
REMOVED = "[secret removed]"
_LENIENT = json.JSONDecoder(strict=False)


@dataclass(frozen=True, slots=True)
class Redactor:
    """Knows every form of some secrets, and shows none of them."""

    _forms: tuple[str, ...]
    _bytes: tuple[bytes, ...]

    @classmethod
    def of(cls, values: Iterable[str]) -> Redactor:
        forms = {form for value in values for part in _parts(value) for form in _forms_of(part)}
        longest_first = tuple(sorted(forms, key=len, reverse=True))
        return cls(longest_first, tuple(form.encode("utf-8", "replace") for form in longest_first))

    def __repr__(self) -> str:
        return f"Redactor({len(self._forms)} forms)"

    def text(self, text: str) -> str:
        for form in self._forms:
            if form in text:
                text = text.replace(form, REMOVED)
        return text

    def beginning(self, text: str) -> str:
        """Of a text that goes on: nothing is shown that may yet turn out to be part of a secret."""
        cut = min((self._held(text, form) for form in self._forms), default=len(text))
        while (earlier := min((_around(text, form, cut) for form in self._forms), default=cut)) < cut:
            cut = earlier
        return self.text(text[:cut])

    def _held(self, text: str, form: str) -> int:
        """Where the longest end of the text begins with which this form begins; its length where there is none."""
        at = text.find(form[0], max(0, len(text) - len(form) + 1))
        while at >= 0 and not form.startswith(text[at:]):
            at = text.find(form[0], at + 1)
        return at if at >= 0 else len(text)

    def content(self, content: bytes) -> bytes:
        for form in self._bytes:
            if form in content:
                content = content.replace(form, REMOVED.encode())
        return content

    def value(self, value: Any) -> Any:
        """The same JSON value without them, its keys as well."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.value(key): self.value(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(one) for one in value]
        return value

    def arguments(self, text: str) -> str:
        """Of a tool call: JSON, in which any character may be written as an escape."""
        text = self.text(text)
        if "\\" not in text:
            return text
        try:
            value = _LENIENT.decode(text)
            clean = self.value(value)
        except (ValueError, RecursionError):
            return text
        return text if clean == value else json.dumps(clean)

    def is_in(self, content: bytes) -> bool:
        return any(form in content for form in self._bytes)


def _around(text: str, form: str, cut: int) -> int:
    """Where an occurrence begins that the cut would part; the cut itself where none is."""
    at = text.find(form, max(0, cut - len(form) + 1), cut + len(form) - 1)
    return at if at >= 0 else cut


def _parts(value: str) -> Iterator[str]:
    """The value, and the lines of a long one: each of them is worth hiding."""
    value = value.strip()
    lines = value.splitlines()
    if len(value) >= SHORTEST:
        yield value
    if len(lines) > 1:
        yield from (line.strip() for line in lines if len(line) >= SHORTEST_LINE and not line.startswith("-----"))


def _forms_of(value: str) -> Iterator[str]:
    raw = value.encode("utf-8", "replace")
    yield value
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield from (raw.hex(), raw.hex().upper())
    for quoted in (quote(raw, safe=""), quote_plus(raw), quote(raw), "".join(f"%{byte:02X}" for byte in raw)):
        yield quoted
        yield _lower_escapes(quoted)
    for alignment in range(3):
        standard = _base64(raw, alignment)
        yield standard
        yield standard.replace("+", "-").replace("/", "_")


def _base64(raw: bytes, alignment: int) -> str:
    """What of the encoding is the same whatever stands before and after it."""
    encoded = b64encode(bytes(alignment) + raw).decode()
    return encoded[-(-alignment * 8 // 6) : (alignment + len(raw)) * 8 // 6]


def _lower_escapes(quoted: str) -> str:
    head, *rest = quoted.split("%")
    return "%".join([head, *(part[:2].lower() + part[2:] for part in rest)])
