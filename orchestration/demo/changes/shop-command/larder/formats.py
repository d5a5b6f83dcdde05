"""A shopping list as text, Markdown or JSON, sorted by the way through the shop."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Callable, Iterable, Iterator

from larder.aisles import aisle_of, position
from larder.shopping import Item

EMPTY = "Nothing to buy."


def by_aisle(items: Iterable[Item]) -> Iterator[tuple[str, list[Item]]]:
    ordered = sorted(items, key=lambda item: (position(aisle_of(item.name)), item.name))
    for aisle, group in groupby(ordered, key=lambda item: aisle_of(item.name)):
        yield aisle, list(group)


def amount(item: Item) -> str:
    return " and ".join(quantity.readable() for quantity in item.quantities)


def as_text(items: Iterable[Item]) -> str:
    parts = []
    for aisle, group in by_aisle(items):
        lines = [f"  {item.name:<20} {amount(item)}".rstrip() for item in group]
        parts.append("\n".join([aisle, *lines]))
    return "\n\n".join(parts) or EMPTY


def as_markdown(items: Iterable[Item]) -> str:
    parts = []
    for aisle, group in by_aisle(items):
        lines = [f"- [ ] {amount(item)} {item.name}".replace("]  ", "] ") for item in group]
        parts.append("\n".join([f"## {aisle}", "", *lines]))
    return "\n\n".join(parts) or EMPTY


def as_json(items: Iterable[Item]) -> str:
    aisles = {
        aisle: [{"name": item.name, "amount": amount(item)} for item in group]
        for aisle, group in by_aisle(items)
    }
    return json.dumps(aisles, indent=2, ensure_ascii=False)


FORMATS: dict[str, Callable[[Iterable[Item]], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "json": as_json,
}
