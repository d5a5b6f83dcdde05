from __future__ import annotations

import unittest
from fractions import Fraction

from larder.errors import LarderError
from larder.units import convert, unit_named


class UnitsTest(unittest.TestCase):
    def test_a_unit_has_other_names(self):
        self.assertEqual(unit_named("grams"), unit_named("g"))

    def test_an_unknown_unit_is_told_with_the_known_ones(self):
        with self.assertRaisesRegex(LarderError, "'pinch' is not a unit. Known: g, kg"):
            unit_named("pinch")

    def test_conversion_is_exact(self):
        self.assertEqual(convert(Fraction(1), unit_named("tsp"), unit_named("tbsp")), Fraction(1, 3))

    def test_mass_does_not_become_volume(self):
        with self.assertRaises(LarderError):
            convert(Fraction(1), unit_named("g"), unit_named("ml"))
