"""One line of a recipe: how much of what, and how it is prepared."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from larder.errors import LarderError
from larder.quantities import AMOUNT, Quantity
from larder.units import ALIASES, UNITS

WORD = re.compile(r"\s*([a-z]+)\b\s*")


@dataclass(frozen=True)
class Ingredient:
    """`quantity` is None where the cook decides: salt, pepper."""

    name: str
    quantity: Quantity | None = None
    note: str = ""

    @classmethod
    def parse(cls, line: str) -> Ingredient:
        """Read "200 g flour, sifted", "2 eggs" or "salt"."""
        text, _, note = line.strip().partition(",")
        quantity, name = _split(text.strip())
        if not name:
            raise LarderError(f"{line!r} names no ingredient.")
        return cls(name, quantity, note.strip())

    def times(self, factor: Fraction) -> Ingredient:
        return replace(self, quantity=self.quantity * factor) if self.quantity else self

    def __str__(self) -> str:
        text = f"{self.quantity or ''} {self.name}".strip()
        return f"{text}, {self.note}" if self.note else text


def _split(text: str) -> tuple[Quantity | None, str]:
    amount = AMOUNT.match(text)
    if not amount:
        return None, text
    rest = text[amount.end() :]
    word = WORD.match(rest)
    if word and (word[1] in UNITS or word[1] in ALIASES):
        end = amount.end() + word.end()
        return Quantity.parse(text[:end]), text[end:].strip()
    return Quantity.parse(amount[0]), rest.strip()
