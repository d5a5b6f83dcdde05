import unittest

from larder.aisles import AISLES, OTHER, aisle_of, position


class AislesTest(unittest.TestCase):
    def test_a_thing_is_found_by_its_last_known_word(self):
        self.assertEqual(aisle_of("red lentils"), "Dry goods")
        self.assertEqual(aisle_of("curry powder"), "Spices and oil")

    def test_one_and_many_are_in_the_same_aisle(self):
        self.assertEqual(aisle_of("tomatoes"), aisle_of("tomato"))

    def test_some_words_decide_alone(self):
        self.assertEqual(aisle_of("tinned tomatoes"), "Tins and jars")
        self.assertEqual(aisle_of("coconut milk"), "Tins and jars")
        self.assertEqual(aisle_of("olive oil"), "Spices and oil")

    def test_an_unknown_thing_is_in_the_last_aisle(self):
        self.assertEqual(aisle_of("dragon fruit leather"), OTHER)
        self.assertEqual(position(OTHER), len(AISLES))

    def test_aisles_come_in_the_order_of_the_shop(self):
        self.assertLess(position(aisle_of("apples")), position(aisle_of("flour")))
