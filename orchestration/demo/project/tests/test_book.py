from __future__ import annotations

import unittest
from pathlib import Path

from larder.book import Book
from larder.errors import LarderError

BOOK = Path(__file__).parent.parent / "recipes"


class BookTest(unittest.TestCase):
    def test_every_recipe_in_the_book_can_be_read(self):
        book = Book(BOOK)
        for name in book.names():
            with self.subTest(name):
                self.assertTrue(book.recipe(name).ingredients)

    def test_a_misspelt_name_is_met_with_a_guess(self):
        with self.assertRaisesRegex(LarderError, "Did you mean pancakes?"):
            Book(BOOK).recipe("pancake")

    def test_a_missing_folder_is_told(self):
        with self.assertRaisesRegex(LarderError, "There is no folder"):
            Book(BOOK / "nowhere")
