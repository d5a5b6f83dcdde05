"""A plan of meals: one line a meal, as in "mon dinner: tomato-soup for 2"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from larder.errors import LarderError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
COURSES = ("breakfast", "lunch", "dinner")
LINE = re.compile(r"(\w+)\s+(\w+)\s*:\s*([\w-]+)\s+for\s+(\d+)")


@dataclass(frozen=True)
class Meal:
    day: str
    course: str
    recipe: str
    people: int

    @classmethod
    def parse(cls, line: str) -> Meal:
        found = LINE.fullmatch(line.strip())
        if not found:
            raise LarderError("a meal is written as 'mon dinner: tomato-soup for 2'")
        day, course, recipe, people = found.groups()
        if day not in DAYS:
            raise LarderError(f"{day!r} is not a day, use one of {', '.join(DAYS)}")
        if course not in COURSES:
            raise LarderError(f"{course!r} is not a meal, use one of {', '.join(COURSES)}")
        if int(people) < 1:
            raise LarderError("a meal is for at least one person")
        return cls(day, course, recipe, int(people))


def parse_plan(text: str) -> list[Meal]:
    """The meals in the order of the week; every wrong line is told at once, with its number."""
    meals, wrong = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            meals.append(Meal.parse(line))
        except LarderError as error:
            wrong.append(f"line {number}: {error}.")
    if wrong:
        raise LarderError("The plan cannot be read.\n" + "\n".join(wrong))
    return sorted(meals, key=lambda meal: (DAYS.index(meal.day), COURSES.index(meal.course)))
