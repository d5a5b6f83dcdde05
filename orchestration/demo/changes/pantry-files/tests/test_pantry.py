import unittest

from larder.errors import LarderError
from larder.pantry import Pantry
from larder.quantities import Quantity

PANTRY = """# top shelf
1 kg flour
500 g flour
Salt
3 eggs
"""


class PantryTest(unittest.TestCase):
    def missing(self, name, wanted):
        return Pantry.parse(PANTRY).missing(name, Quantity.parse(wanted))

    def test_enough_at_home_means_nothing_is_missing(self):
        self.assertIsNone(self.missing("flour", "1.5 kg"))

    def test_what_is_at_home_is_taken_off(self):
        self.assertEqual(str(self.missing("flour", "2 kg")), "0.5 kg")
        self.assertEqual(str(self.missing("eggs", "5")), "2")

    def test_a_thing_without_an_amount_never_runs_out(self):
        self.assertIsNone(self.missing("salt", "3 kg"))
        self.assertTrue(Pantry.parse(PANTRY).has("salt"))

    def test_another_kind_of_amount_is_not_taken_off(self):
        self.assertEqual(str(self.missing("eggs", "200 g")), "200 g")

    def test_names_are_compared_by_the_given_key(self):
        pantry = Pantry.parse("2 eggs", key=lambda name: name[:3])
        self.assertIsNone(pantry.missing("egg", Quantity.parse("2")))

    def test_a_wrong_line_is_told_with_its_number(self):
        with self.assertRaisesRegex(LarderError, "Line 2 of the pantry"):
            Pantry.parse("salt\n200 g")
