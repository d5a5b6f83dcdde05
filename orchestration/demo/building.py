"""What the workers of the later levels do, turn by turn: they build on what landed before them."""

from __future__ import annotations

from collections.abc import Mapping

from orchestration.demo.turns import (
    Turn,
    after,
    artifact,
    bash,
    edit,
    every_test,
    grep,
    handoff,
    one_test,
    read,
    turn,
    write,
)

SHOPPING_LIST = (
    turn(
        "Three parts have landed that this puts together. I read them.",
        read("larder/plans.py"),
        read("larder/pantry.py"),
        read("larder/names.py"),
    ),
    turn("And how a recipe is scaled.", read("larder/recipes.py"), read("larder/book.py")),
    turn(
        "For each plain name one amount for each kind of unit: grams and pieces of eggs stay two amounts of one item. "
        "The pantry knows has() and missing(), so taking it off is short.",
        write("shopping-list", "larder/shopping.py"),
    ),
    turn(
        "Tests with two small recipes that share flour and eggs, under different names and units.",
        write("shopping-list", "tests/test_shopping.py"),
        one_test("test_shopping"),
    ),
    turn("They pass. The whole suite.", every_test()),
    turn(
        "Green.",
        handoff(
            "larder/shopping.py: gather(meals, book) adds up what a plan needs, and without(items, pantry) takes off "
            "what is at home. Items are values, sorted by name.",
            concerns=("The pantry has to be read with key=plain, or '2 eggs' at home are not found.",),
        ),
    ),
)

PLAN_COMMAND = (
    turn(
        "A command like the others; I read one of them and the plan.",
        read("larder/commands/scale.py"),
        read("larder/plans.py"),
        read("AGENTS.md"),
    ),
    turn(
        "One row a meal, the day only where it changes. The book tells about unknown recipes by itself.",
        write("plan-command", "larder/commands/plan.py"),
    ),
    turn(
        "A try with two meals.",
        bash(
            "f=$(mktemp); printf 'tue dinner: pancakes for 2\\nmon lunch: tomato-soup for 3\\n' > $f; "
            "python3 -m larder plan $f; rm $f"
        ),
    ),
    turn(
        "That is the table I want. Tests.",
        write("plan-command", "tests/test_plan_command.py"),
        one_test("test_plan_command"),
    ),
    turn("The whole suite.", every_test()),
    turn(
        "Green.",
        handoff(
            "`larder plan FILE` prints the week in order, a day named once, recipes by their titles. A missing file, a "
            "wrong line and an unknown recipe are each a sentence.",
        ),
    ),
)

SHOP_COMMAND = (
    turn(
        "Everything for this has landed. I read what I am going to call.",
        read("larder/shopping.py"),
        read("larder/aisles.py"),
        grep("def readable", "larder"),
        read("tests/test_cli.py"),
    ),
    turn(
        "First the three formats, all over the same grouping by aisle.",
        write("shop-command", "larder/formats.py"),
    ),
    turn(
        "Then the command. The pantry is read with key=plain, as the shopping list's author asks.",
        write("shop-command", "larder/commands/shop.py"),
        bash(
            "f=$(mktemp); printf 'mon dinner: lentil-curry for 6\\ntue lunch: pancakes for 3\\n' > $f; "
            "python3 -m larder shop $f --format markdown; rm $f"
        ),
    ),
    turn(
        "Aisles in order, amounts readable. Tests go through the command line.",
        write("shop-command", "tests/test_shop_command.py"),
        one_test("test_shop_command"),
    ),
    turn("The whole suite.", every_test()),
    turn(
        "Green.",
        handoff(
            "`larder shop PLAN` prints one list by aisle, with --pantry FILE without what is at home, with --format as "
            "text, Markdown with boxes to tick, or JSON.",
            concerns=("JSON has amounts as text, since that is how they are read; a program might want numbers.",),
            suggestions=("Let --format json carry the exact amounts as well, once somebody needs them.",),
        ),
    ),
)

_WEEK = """\
## A week

A plan is a text file with one line a meal, a pantry one with what is at home. There is a week to try it with:

```
$ python3 -m larder plan examples/week.plan
Mon  dinner     Tomato soup for 2
Tue  lunch      Green salad for 2
     dinner     Lentil curry for 2
...

$ python3 -m larder shop examples/week.plan --pantry examples/pantry.txt --format markdown
## Fruit and vegetables

- [ ] 500 g apple
- [ ] 2 cucumber
...
```

A line of the pantry without an amount, such as `salt`, never runs out.

"""

WEEK_IN_README = (
    turn(
        "I read both texts, and what the commands print today.",
        read("README.md"),
        read("SPEC.md"),
        bash("python3 -m larder plan examples/week.plan; python3 -m larder list"),
    ),
    turn(
        "The listing at the top lacks two recipes, the table two commands, and the week a section.",
        edit(
            "README.md",
            "lentil-curry    Lentil curry    serves 4\n",
            "flatbread       Flatbread       serves 4\n"
            "green-salad     Green salad     serves 2\n"
            "lentil-curry    Lentil curry    serves 4\n",
        ),
        after(
            "README.md",
            "| `scale RECIPE PEOPLE` | one recipe for another number of people |\n",
            "| `plan FILE` | a week of meals as a table |\n"
            "| `shop FILE` | one shopping list for it, `--pantry FILE` and `--format text\\|markdown\\|json` |\n",
        ),
        edit("README.md", "## Tests\n", f"{_WEEK}## Tests\n"),
    ),
    turn(
        "In the specification, what was wanted is there now.",
        edit(
            "SPEC.md",
            "Wanted, not there yet: a plan of meals for a week.\n",
            "A plan is a text file with one line a meal: `mon dinner: tomato-soup for 2`. All wrong lines are told at\n"
            "once, with their numbers.\n",
        ),
        edit(
            "SPEC.md",
            "Wanted, not there yet: one shopping list for a plan, without what the pantry has.\n",
            "The meals of a plan are scaled and added up by plain name and kind of unit. What the pantry has is taken\n"
            "off. The list follows the aisles of the shop.\n",
        ),
    ),
    turn(
        "Every command that I show, once, and the tests.",
        bash(
            "python3 -m larder shop examples/week.plan --pantry examples/pantry.txt --format markdown | head -5; "
            "python3 -m unittest discover -q"
        ),
    ),
    turn(
        "The texts say what is there.",
        handoff(
            "README.md lists the two new commands and has a section 'A week' with the example's own output. SPEC.md no "
            "longer wants what exists.",
            suggestions=("A picture of the Markdown list on a telephone would tell more than the text.",),
        ),
    ),
)

TRY_THE_WEEK = (
    turn(
        "I use it as a cook would, starting with the week.",
        bash("python3 -m larder plan examples/week.plan"),
        bash("python3 -m larder shop examples/week.plan"),
    ),
    turn(
        "One amount by hand: lentils are 300 g for 4, the week has the curry for 2, 2 and 6, which is 750 g. Right. "
        "Now with the pantry, and as JSON.",
        bash("python3 -m larder shop examples/week.plan --pantry examples/pantry.txt --format markdown"),
        bash("python3 -m larder shop examples/week.plan --format json | python3 -m json.tool | head -20"),
    ),
    turn(
        "Onions: 1 for the soup and half a one for each of ten plates of curry is 6, less 2 at home is 4. Right. Now a "
        "broken plan.",
        bash(
            "f=$(mktemp); printf 'someday lunch: pie for 2\\nmon brunch: pie for 0\\n' > $f; "
            "python3 -m larder plan $f; rm $f"
        ),
        bash("python3 -m unittest discover"),
    ),
    turn(
        "Both lines are told. I keep the list.",
        artifact("try-the-week", "shopping-list.md"),
    ),
    turn(
        "Nothing is left to complain about.",
        handoff(
            "The example's week was planned and shopped for in all three formats, with and without the pantry, and a "
            "broken plan was told line by line. Lentils and onions were added up by hand and agree. The list is kept "
            "as the artifact shopping-list.md.",
        ),
    ),
)

REFUSE_NOBODY = (
    turn(
        "First the fault itself, and where it comes from.",
        bash("python3 -m larder scale pancakes 0 | head -4"),
        read("larder/recipes.py"),
    ),
    turn(
        "scaled_to divides without looking. It should refuse, in the library, so that every command has it.",
        edit(
            "larder/recipes.py",
            "        factor = Fraction(people, self.serves)\n",
            "        if people < 1:\n"
            '            raise LarderError(f"A recipe is for at least one person, not for {people}.")\n'
            "        factor = Fraction(people, self.serves)\n",
        ),
        after(
            "tests/test_recipes.py",
            '        self.assertIn("- 30 g butter", str(Recipe.parse(TOAST).scaled_to(3)))\n',
            "\n"
            "    def test_nobody_is_not_cooked_for(self):\n"
            "        for people in (0, -2):\n"
            '            with self.assertRaisesRegex(LarderError, f"not for {people}"):\n'
            "                Recipe.parse(TOAST).scaled_to(people)\n",
        ),
    ),
    turn(
        "Again on the command line, then the tests.",
        bash("python3 -m larder scale pancakes 0; python3 -m unittest tests.test_recipes"),
        every_test(),
    ),
    turn(
        "A sentence instead of an empty recipe.",
        handoff("Recipe.scaled_to refuses fewer than one person with a sentence; the command line prints it."),
    ),
)

THIRDS_AND_EIGHTHS = (
    turn("The table of signs is where this goes.", grep("SIGNS", "larder"), read("tests/test_readable_amounts.py")),
    turn(
        "Six signs more, in order, so the table becomes a list of parts.",
        edit(
            "larder/quantities.py",
            'SIGNS = {Fraction(1, 4): "¼", Fraction(1, 2): "½", Fraction(3, 4): "¾"}\n',
            "SIGNS = {\n"
            "    Fraction(part): sign\n"
            "    for part, sign in zip(\n"
            '        "1/8 1/4 1/3 3/8 1/2 5/8 2/3 3/4 7/8".split(), "⅛ ¼ ⅓ ⅜ ½ ⅝ ⅔ ¾ ⅞".split()\n'
            "    )\n"
            "}\n",
        ),
        after(
            "tests/test_readable_amounts.py",
            '        self.assert_reads("2 3/4", "2¾")\n',
            '        self.assert_reads("1/3 cup", "⅓ cup")\n        self.assert_reads("1 5/8 tsp", "1⅝ tsp")\n',
        ),
    ),
    turn("The tests of this module, then all.", one_test("test_readable_amounts"), every_test()),
    turn(
        "Green.",
        handoff("readable() knows the signs for thirds and eighths: '⅓ cup', '1⅝ tsp'. Nothing else changed."),
    ),
)

TURNS: Mapping[str, tuple[Turn, ...]] = {
    "shopping-list": SHOPPING_LIST,
    "plan-command": PLAN_COMMAND,
    "shop-command": SHOP_COMMAND,
    "week-in-readme": WEEK_IN_README,
    "try-the-week": TRY_THE_WEEK,
    "refuse-nobody": REFUSE_NOBODY,
    "thirds-and-eighths": THIRDS_AND_EIGHTHS,
}
