"""Everything that the meals of a plan need, added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable

from larder.book import Book
from larder.names import plain
from larder.pantry import Pantry
from larder.plans import Meal
from larder.quantities import Quantity


@dataclass(frozen=True)
class Item:
    """One line of the list: an amount for each kind of unit, none where the cook decides."""

    name: str
    quantities: tuple[Quantity, ...] = ()


def gather(meals: Iterable[Meal], book: Book) -> list[Item]:
    needed: dict[str, dict[str, Quantity]] = {}
    for meal in meals:
        for each in book.recipe(meal.recipe).scaled_to(meal.people).ingredients:
            amounts = needed.setdefault(plain(each.name), {})
            if each.quantity:
                kind = each.quantity.unit.kind
                amounts[kind] = amounts[kind] + each.quantity if kind in amounts else each.quantity
    return [Item(name, tuple(amounts.values())) for name, amounts in sorted(needed.items())]


def without(items: Iterable[Item], pantry: Pantry) -> list[Item]:
    """What is still to be bought; the pantry's names are compared as `plain` does."""
    return [left for left in (_left(item, pantry) for item in items) if left]


def _left(item: Item, pantry: Pantry) -> Item | None:
    if pantry.has(item.name):
        return None
    amounts = [pantry.missing(item.name, quantity) for quantity in item.quantities]
    left = tuple(amount for amount in amounts if amount)
    return Item(item.name, left) if left or not item.quantities else None
