"""How much of something: an exact amount with a unit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from larder.errors import LarderError
from larder.units import PIECE, Unit, convert, unit_named

AMOUNT = re.compile(r"(?:(\d+)\s+)?(\d+/[1-9]\d*)|(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Quantity:
    amount: Fraction
    unit: Unit = PIECE

    @classmethod
    def parse(cls, text: str) -> Quantity:
        """Read "200 g", "1 1/2 cup", "0.5l" or "3"."""
        found = AMOUNT.match(text.strip())
        if not found:
            raise LarderError(f"{text!r} does not begin with an amount.")
        whole, part, decimal = found.groups()
        amount = Fraction(decimal) if decimal else Fraction(whole or 0) + Fraction(part)
        return cls(amount, unit_named(text.strip()[found.end() :].strip()))

    def to(self, unit: Unit) -> Quantity:
        return Quantity(convert(self.amount, self.unit, unit), unit)

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.amount + other.to(self.unit).amount, self.unit)

    def __mul__(self, factor: Fraction | int) -> Quantity:
        return Quantity(self.amount * factor, self.unit)

    def __str__(self) -> str:
        return f"{format_amount(self.amount)} {self.unit.name}".strip()


def format_amount(amount: Fraction) -> str:
    return f"{float(amount):.2f}".rstrip("0").rstrip(".")
