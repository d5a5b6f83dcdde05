from __future__ import annotations

import io
import unittest
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from larder.cli import main

BOOK = str(Path(__file__).parent.parent / "recipes")


def larder(*words):
    """What a run printed, what it complained about, and its exit code."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["--book", BOOK, *words])
    return out.getvalue(), err.getvalue(), code


class CliTest(unittest.TestCase):
    def test_list_prints_every_recipe(self):
        self.assertIn("tomato-soup     Tomato soup     serves 2", larder("list")[0])

    def test_list_filters_by_tag(self):
        self.assertNotIn("tomato-soup", larder("list", "--tag", "dessert")[0])

    def test_scale_prints_the_scaled_recipe(self):
        self.assertIn("- 125 g flour", larder("scale", "pancakes", "2")[0])

    def test_a_mistake_is_a_sentence_and_no_traceback(self):
        self.assertEqual(larder("show", "pie"), ("", "larder: There is no recipe 'pie'.\n", 1))
