import json
import tempfile
import unittest
from pathlib import Path

from tests.test_cli import larder

WEEK = "mon dinner: pancakes for 8\ntue lunch: tomato-soup for 2\n"
PANTRY = "1/2 kg flour\nsalt\n"


class ShopCommandTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.plan, self.pantry = Path(folder.name) / "week.plan", Path(folder.name) / "pantry.txt"
        self.plan.write_text(WEEK, encoding="utf-8")
        self.pantry.write_text(PANTRY, encoding="utf-8")

    def shop(self, *words):
        out, err, code = larder("shop", str(self.plan), *words)
        self.assertEqual((err, code), ("", 0))
        return out

    def test_the_list_follows_the_way_through_the_shop(self):
        out = self.shop()
        places = [out.index(name) for name in ("onion", "egg", "tinned tomato", "flour", "olive oil")]
        self.assertEqual(places, sorted(places))

    def test_amounts_are_readable(self):
        self.assertIn("  milk                 1 l\n", self.shop())

    def test_the_pantry_is_left_out(self):
        out = self.shop("--pantry", str(self.pantry))
        self.assertNotIn("flour", out)
        self.assertNotIn("salt", out)

    def test_markdown_has_boxes_to_tick(self):
        self.assertIn("## Milk and eggs\n\n- [ ] 2 tbsp butter\n- [ ] 4 egg\n", self.shop("--format", "markdown"))

    def test_json_groups_by_aisle(self):
        found = json.loads(self.shop("--format", "json"))
        self.assertIn({"name": "egg", "amount": "4"}, found["Milk and eggs"])

    def test_an_empty_plan_needs_nothing(self):
        self.plan.write_text("", encoding="utf-8")
        self.assertEqual(self.shop(), "Nothing to buy.\n")

    def test_a_missing_file_is_told(self):
        self.assertEqual(larder("shop", "nowhere.plan"), ("", "larder: There is no file nowhere.plan.\n", 1))
