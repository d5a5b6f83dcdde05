import unittest

from larder.names import plain, singular


class NamesTest(unittest.TestCase):
    def test_many_become_one(self):
        pairs = {
            "tomatoes": "tomato",
            "eggs": "egg",
            "berries": "berry",
            "radishes": "radish",
            "leaves": "leaf",
            "apples": "apple",
        }
        for many, one in pairs.items():
            with self.subTest(many):
                self.assertEqual(singular(many), one)

    def test_words_that_only_look_like_many_stay(self):
        for word in ("hummus", "asparagus", "watercress", "milk"):
            with self.subTest(word):
                self.assertEqual(singular(word), word)

    def test_adjectives_and_capitals_do_not_matter(self):
        self.assertEqual(plain("Large fresh Eggs"), plain("egg"))

    def test_what_matters_stays(self):
        self.assertEqual(plain("tinned tomatoes"), "tinned tomato")
        self.assertNotEqual(plain("coconut milk"), plain("milk"))

    def test_a_name_of_adjectives_only_is_kept(self):
        self.assertEqual(plain("Fresh"), "fresh")
