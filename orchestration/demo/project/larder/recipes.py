"""A recipe: read from text, scaled, written as text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from larder.errors import LarderError
from larder.ingredients import Ingredient


@dataclass(frozen=True)
class Recipe:
    title: str
    serves: int
    ingredients: tuple[Ingredient, ...]
    method: str = ""
    tags: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Recipe:
        head, _, body = text.strip().partition("\n\n")
        listed, _, method = body.partition("\n\n")
        title, *fields = head.splitlines()
        values = dict(line.split(":", 1) for line in fields if ":" in line)
        if not title.startswith("# "):
            raise LarderError("A recipe begins with a line '# Title'.")
        return cls(
            title=title[2:].strip(),
            serves=_serves(values.get("serves", "")),
            ingredients=tuple(Ingredient.parse(line[2:]) for line in listed.splitlines()),
            method=method.strip(),
            tags=tuple(tag.strip() for tag in values.get("tags", "").split(",") if tag.strip()),
        )

    def scaled_to(self, people: int) -> Recipe:
        factor = Fraction(people, self.serves)
        return replace(self, serves=people, ingredients=tuple(each.times(factor) for each in self.ingredients))

    def __str__(self) -> str:
        listed = "\n".join(f"- {each}" for each in self.ingredients)
        return f"{self.title} (serves {self.serves})\n\n{listed}\n\n{self.method}".strip()


def _serves(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise LarderError("A recipe says for how many people it is: 'serves: 4'.")
    return int(text)
