import tempfile
import unittest
from pathlib import Path

from larder.book import Book
from larder.names import plain
from larder.pantry import Pantry
from larder.plans import parse_plan
from larder.shopping import Item, gather, without

RECIPES = {
    "cake": "# Cake\nserves: 2\n\n- 1 kg flour\n- 2 eggs\n- salt\n\nBake.",
    "bread": "# Bread\nserves: 1\n\n- 500 g flour\n- 1 large egg\n- 100 g egg, for the top\n\nBake.",
}


class ShoppingTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name, text in RECIPES.items():
            (Path(folder.name) / f"{name}.recipe").write_text(text, encoding="utf-8")
        self.book = Book(Path(folder.name))

    def shopping(self, plan, pantry=""):
        items = without(gather(parse_plan(plan), self.book), Pantry.parse(pantry, key=plain))
        return {item.name: [str(quantity) for quantity in item.quantities] for item in items}

    def test_amounts_are_scaled_and_added_across_recipes_and_units(self):
        bought = self.shopping("mon lunch: cake for 4\ntue lunch: bread for 1")
        self.assertEqual(bought["flour"], ["2.5 kg"])

    def test_amounts_of_different_kinds_stay_apart(self):
        self.assertEqual(self.shopping("mon lunch: bread for 2")["egg"], ["2", "200 g"])

    def test_what_the_cook_decides_is_listed_once_without_an_amount(self):
        self.assertEqual(self.shopping("mon lunch: cake for 2\ntue lunch: cake for 2")["salt"], [])

    def test_the_pantry_is_taken_off(self):
        bought = self.shopping("mon lunch: cake for 2", "250 g flour\nsalt\n6 eggs")
        self.assertEqual(bought, {"flour": ["0.75 kg"]})

    def test_no_meals_need_nothing(self):
        self.assertEqual(gather([], self.book), [])

    def test_an_item_is_a_value(self):
        self.assertEqual(Item("salt"), Item("salt", ()))
