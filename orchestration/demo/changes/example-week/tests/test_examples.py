import unittest
from pathlib import Path

from larder.book import Book
from larder.ingredients import Ingredient

ROOT = Path(__file__).parent.parent


def lines(name):
    text = (ROOT / "examples" / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


class ExamplesTest(unittest.TestCase):
    def test_the_week_names_only_recipes_of_the_book(self):
        known = Book(ROOT / "recipes").names()
        for line in lines("week.plan"):
            with self.subTest(line):
                self.assertIn(line.split(": ")[1].split(" for ")[0], known)

    def test_every_line_of_the_pantry_can_be_read(self):
        for line in lines("pantry.txt"):
            with self.subTest(line):
                self.assertTrue(Ingredient.parse(line).name)
