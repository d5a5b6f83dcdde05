from __future__ import annotations

import unittest
from fractions import Fraction

from larder.errors import LarderError
from larder.quantities import Quantity


class QuantitiesTest(unittest.TestCase):
    def test_amounts_are_read_in_every_notation(self):
        for text, amount in (("200 g", 200), ("1 1/2 cup", Fraction(3, 2)), ("0.5l", Fraction(1, 2)), ("3", 3)):
            with self.subTest(text):
                self.assertEqual(Quantity.parse(text).amount, amount)

    def test_adding_converts(self):
        self.assertEqual(str(Quantity.parse("1 kg") + Quantity.parse("250 g")), "1.25 kg")

    def test_different_kinds_are_not_added(self):
        with self.assertRaises(LarderError):
            Quantity.parse("1 kg") + Quantity.parse("2")

    def test_text_without_an_amount_is_refused(self):
        with self.assertRaisesRegex(LarderError, "does not begin with an amount"):
            Quantity.parse("some flour")
