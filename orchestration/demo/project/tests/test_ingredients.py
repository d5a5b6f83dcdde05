from __future__ import annotations

import unittest

from larder.errors import LarderError
from larder.ingredients import Ingredient


class IngredientsTest(unittest.TestCase):
    def test_a_line_is_read_and_written_back(self):
        for line in ("200 g flour, sifted", "2 eggs", "salt", "0.5 tsp vanilla sugar"):
            with self.subTest(line):
                self.assertEqual(str(Ingredient.parse(line)), line)

    def test_a_word_that_is_no_unit_belongs_to_the_name(self):
        self.assertEqual(Ingredient.parse("2 green apples").name, "green apples")

    def test_a_line_without_a_name_is_refused(self):
        with self.assertRaises(LarderError):
            Ingredient.parse("200 g")
