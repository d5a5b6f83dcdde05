"""Units of the kitchen and how large they are."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from larder.errors import LarderError


@dataclass(frozen=True)
class Unit:
    """`size` is in grams, millilitres or pieces, as `kind` says."""

    name: str
    kind: str
    size: Fraction


PIECE = Unit("", "pieces", Fraction(1))
UNITS = {
    unit.name: unit
    for unit in (
        PIECE,
        Unit("g", "mass", Fraction(1)),
        Unit("kg", "mass", Fraction(1000)),
        Unit("ml", "volume", Fraction(1)),
        Unit("l", "volume", Fraction(1000)),
        Unit("tsp", "volume", Fraction(5)),
        Unit("tbsp", "volume", Fraction(15)),
        Unit("cup", "volume", Fraction(240)),
    )
}
ALIASES = {"gram": "g", "grams": "g", "litre": "l", "litres": "l", "cups": "cup"}


def unit_named(name: str) -> Unit:
    known = UNITS.get(ALIASES.get(name, name))
    if known is None:
        raise LarderError(f"{name!r} is not a unit. Known: {', '.join(filter(None, UNITS))}.")
    return known


def convert(amount: Fraction, source: Unit, target: Unit) -> Fraction:
    if source.kind != target.kind:
        raise LarderError(f"{source.kind} cannot be turned into {target.kind}.")
    return amount * source.size / target.size
