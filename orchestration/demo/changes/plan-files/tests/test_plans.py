import unittest

from larder.errors import LarderError
from larder.plans import Meal, parse_plan


class PlansTest(unittest.TestCase):
    def test_a_line_is_a_meal(self):
        self.assertEqual(parse_plan("mon dinner: tomato-soup for 2"), [Meal("mon", "dinner", "tomato-soup", 2)])

    def test_meals_come_in_the_order_of_the_week(self):
        meals = parse_plan("sun lunch: a for 1\nmon dinner: b for 1\nmon breakfast: c for 1")
        self.assertEqual([meal.recipe for meal in meals], ["c", "b", "a"])

    def test_comments_and_empty_lines_are_skipped(self):
        self.assertEqual(parse_plan("# our week\n\n"), [])

    def test_every_wrong_line_is_told_with_its_number(self):
        with self.assertRaises(LarderError) as caught:
            parse_plan("someday dinner: a for 1\nmon dinner: b for 1\nmon supper: c for 1\nmon lunch d")
        told = str(caught.exception)
        self.assertIn("line 1: 'someday' is not a day", told)
        self.assertIn("line 3: 'supper' is not a meal", told)
        self.assertIn("line 4: a meal is written as", told)
        self.assertNotIn("line 2", told)

    def test_nobody_cannot_be_cooked_for(self):
        with self.assertRaisesRegex(LarderError, "at least one person"):
            parse_plan("mon dinner: a for 0")
