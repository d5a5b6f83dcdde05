"""What is at home already: one line a thing, as in "1 kg flour" or just "salt"."""

from __future__ import annotations

from typing import Callable

from larder.errors import LarderError
from larder.ingredients import Ingredient
from larder.quantities import Quantity


class Pantry:
    """`key` says when two names mean the same thing. A thing without an amount never runs out."""

    def __init__(self, key: Callable[[str], str] = str.casefold) -> None:
        self._key = key
        self._endless: set[str] = set()
        self._stock: dict[tuple[str, str], Quantity] = {}

    @classmethod
    def parse(cls, text: str, key: Callable[[str], str] = str.casefold) -> Pantry:
        pantry = cls(key)
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip() and not line.lstrip().startswith("#"):
                try:
                    pantry.add(Ingredient.parse(line))
                except LarderError as error:
                    raise LarderError(f"Line {number} of the pantry: {error}") from error
        return pantry

    def add(self, thing: Ingredient) -> None:
        name = self._key(thing.name)
        if thing.quantity is None:
            self._endless.add(name)
            return
        place = (name, thing.quantity.unit.kind)
        known = self._stock.get(place)
        self._stock[place] = known + thing.quantity if known else thing.quantity

    def has(self, name: str) -> bool:
        return self._key(name) in self._endless

    def missing(self, name: str, wanted: Quantity) -> Quantity | None:
        """How much of it is still to be bought, None where there is enough."""
        if self.has(name):
            return None
        there = self._stock.get((self._key(name), wanted.unit.kind))
        left = wanted + there * -1 if there else wanted
        return left if left.amount > 0 else None
