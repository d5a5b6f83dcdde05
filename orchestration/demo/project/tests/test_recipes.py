from __future__ import annotations

import unittest

from larder.errors import LarderError
from larder.recipes import Recipe

TOAST = """# Toast
serves: 2
tags: breakfast, quick

- 4 slices of bread
- 20 g butter

Toast the bread.

Butter it.
"""


class RecipesTest(unittest.TestCase):
    def test_every_part_is_read(self):
        toast = Recipe.parse(TOAST)
        self.assertEqual((toast.title, toast.serves, toast.tags), ("Toast", 2, ("breakfast", "quick")))
        self.assertEqual([each.name for each in toast.ingredients], ["slices of bread", "butter"])
        self.assertEqual(toast.method, "Toast the bread.\n\nButter it.")

    def test_scaling_multiplies_every_amount(self):
        self.assertIn("- 30 g butter", str(Recipe.parse(TOAST).scaled_to(3)))

    def test_a_recipe_says_for_how_many_it_is(self):
        with self.assertRaisesRegex(LarderError, "for how many people"):
            Recipe.parse(TOAST.replace("serves: 2", "serves: few"))
