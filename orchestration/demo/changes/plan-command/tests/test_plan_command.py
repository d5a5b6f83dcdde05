import argparse
import tempfile
import unittest
from pathlib import Path

from larder.commands import all_commands
from larder.commands.plan import run
from larder.errors import LarderError

BOOK = Path(__file__).parent.parent / "recipes"


class PlanCommandTest(unittest.TestCase):
    def plan(self, text):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "week.plan"
            file.write_text(text, encoding="utf-8")
            return run(argparse.Namespace(book=BOOK, file=file))

    def test_the_command_is_found(self):
        self.assertIn("plan", [module.NAME for module in all_commands()])

    def test_a_day_is_named_once(self):
        week = "mon dinner: pancakes for 2\nmon lunch: tomato-soup for 3"
        self.assertEqual(
            self.plan(week),
            "Mon  lunch      Tomato soup for 3\n     dinner     Pancakes for 2",
        )

    def test_an_unknown_recipe_is_told(self):
        with self.assertRaisesRegex(LarderError, "There is no recipe 'pancake'. Did you mean pancakes?"):
            self.plan("mon dinner: pancake for 2")

    def test_an_empty_week_is_told(self):
        self.assertEqual(self.plan("# later\n"), "Nothing is planned.")

    def test_a_missing_file_is_told(self):
        with self.assertRaisesRegex(LarderError, "There is no plan"):
            run(argparse.Namespace(book=BOOK, file=Path("nowhere.plan")))
