"""What the workers of the first level do, turn by turn: the parts that need nothing but what is there."""

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
    listing,
    one_test,
    read,
    turn,
    write,
)

SURVEY = (
    turn(
        "I look at the house rules and at how a command comes to be found.",
        read("AGENTS.md"),
        listing("larder"),
        read("larder/cli.py"),
    ),
    turn(
        "Commands are modules that are found by themselves. I read one of them and how it is tested.",
        read("larder/commands/scale.py"),
        read("tests/test_cli.py"),
    ),
    turn(
        "Now the commands with odd input: a name that does not exist, nobody to cook for, fewer than nobody.",
        bash(
            "python3 -m larder show pie; python3 -m larder scale pancakes 0 | head -4; "
            "python3 -m larder scale pancakes -- -2 | head -4"
        ),
    ),
    turn(
        "The unknown recipe is told well. Scaling to nobody is not: it prints '0 g flour', and a negative number "
        "prints negative amounts. I write down what I found.",
        artifact("survey-conventions", "conventions.md"),
    ),
    turn(
        "Nothing was to be changed, so this is my report.",
        handoff(
            "A command is a module in larder/commands with NAME, HELP, add_arguments and run; nothing registers it. "
            "Errors for the cook are LarderError. The tests call larder(...) of tests/test_cli.py. All of it is in "
            "the artifact conventions.md.",
            concerns=(
                "`larder scale pancakes 0` prints an empty recipe: Recipe.scaled_to does not look at its argument.",
            ),
            suggestions=("Let Recipe.scaled_to refuse fewer than one person.",),
        ),
    ),
)

READABLE_AMOUNTS = (
    turn(
        "I read the amounts as they are now, and what is tested about them.",
        read("larder/quantities.py"),
        read("larder/units.py"),
        read("tests/test_quantities.py"),
    ),
    turn(
        "str() prints recipes and must stay, so this becomes a method of its own. First who uses str() today.",
        grep("format_amount", "larder"),
    ),
    turn(
        "Only __str__ uses it. I add the table of signs, the method, and the function that finds the sign.",
        after(
            "larder/quantities.py",
            r'AMOUNT = re.compile(r"(?:(\d+)\s+)?(\d+/[1-9]\d*)|(\d+(?:\.\d+)?)")' + "\n",
            'METRIC = {"mass": ("g", "kg"), "volume": ("ml", "l")}\n'
            'SIGNS = {Fraction(1, 4): "¼", Fraction(1, 2): "½", Fraction(3, 4): "¾"}\n',
        ),
        edit(
            "larder/quantities.py",
            "    def __str__(self) -> str:\n",
            "    def readable(self) -> str:\n"
            '        """As a cook writes it: "1.5 kg", "½ tsp", "2¼ cup"."""\n'
            "        if self.unit.name not in METRIC.get(self.unit.kind, ()):\n"
            '            return f"{_with_sign(self.amount)} {self.unit.name}".strip()\n'
            "        small, large = map(unit_named, METRIC[self.unit.kind])\n"
            "        return str(self.to(large if self.to(small).amount >= 1000 else small))\n"
            "\n"
            "    def __str__(self) -> str:\n",
        ),
        after(
            "larder/quantities.py",
            '    return f"{float(amount):.2f}".rstrip("0").rstrip(".")\n',
            "\n"
            "\n"
            "def _with_sign(amount: Fraction) -> str:\n"
            "    whole, part = divmod(amount, 1)\n"
            "    if part and part not in SIGNS:\n"
            "        return format_amount(amount)\n"
            "    return f\"{whole or ''}{SIGNS[part]}\" if part else str(whole)\n",
        ),
    ),
    turn(
        "Tests for the four cases: metric, signs, whole amounts, and what has no sign.",
        write("readable-amounts", "tests/test_readable_amounts.py"),
        one_test("test_readable_amounts"),
    ),
    turn("They pass. Now everything, since recipes are printed with the same class.", every_test()),
    turn(
        "All green.",
        handoff(
            "Quantity.readable() writes an amount as a cook does: the handier metric unit, signs for a quarter, a half "
            "and three quarters. str() is as it was, so recipes print as before.",
            concerns=("An amount without a sign is rounded to two digits, such as 0.33 cup.",),
            suggestions=("Add signs for thirds and eighths: scaling for guests produces them.",),
        ),
    ),
)

PLAN_FILES = (
    turn(
        "I start with the rules and the module that reads recipes: a plan should be read in the same manner.",
        read("AGENTS.md"),
        read("larder/recipes.py"),
    ),
    turn(
        "A line is day, course, recipe and people. One regular expression for the shape, then a sentence for each part "
        "that is wrong.",
        write("plan-files", "larder/plans.py"),
    ),
    turn(
        "A first try by hand, with two wrong lines.",
        bash(
            "python3 -c \"from larder.plans import parse_plan; parse_plan('mon dinner: a for 2\\n"
            "someday lunch: b for 1\\nmon supper: c for 1')\" 2>&1 | tail -3"
        ),
    ),
    turn(
        "Both are told, with their numbers. Now this as tests.",
        write("plan-files", "tests/test_plans.py"),
        one_test("test_plans"),
    ),
    turn("Then the whole suite.", every_test()),
    turn(
        "Everything passes.",
        handoff(
            "larder/plans.py reads a plan: Meal(day, course, recipe, people) and parse_plan(text), in the order of the "
            "week. Wrong lines are collected and told in one LarderError, each with its number.",
            concerns=("Whether a recipe exists is not looked at here; only the book knows.",),
        ),
    ),
)

PANTRY_FILES = (
    turn(
        "I read how a line of a recipe becomes an Ingredient; the pantry can use the same.",
        read("larder/ingredients.py"),
        read("larder/quantities.py"),
    ),
    turn(
        "Ingredient.parse does it all: 'salt' has no quantity. I keep one amount for each name and kind of unit, so "
        "that grams and pieces of the same thing do not meet.",
        write("pantry-files", "larder/pantry.py"),
    ),
    turn(
        "Tests, the one about different kinds first.",
        write("pantry-files", "tests/test_pantry.py"),
        one_test("test_pantry"),
    ),
    turn("They pass. The whole suite.", every_test()),
    turn(
        "Done.",
        handoff(
            "larder/pantry.py reads what is at home and answers missing(name, wanted): what is still to be bought, in "
            "the unit that was asked for. Names are compared by a function that the caller gives.",
            suggestions=("The shopping list should read the pantry with the same key that it uses itself.",),
        ),
    ),
)

# Both stand at the same place of a file that neither was meant to change: whoever lands second is in conflict.
_AISLES = "\n## Aisles\nThings stand in aisles, in the order of the way through the shop. Unknown things come last.\n"
_NAMES = "## Names\nThings are bought under a plain name: small letters, one instead of many.\n\n"

AISLE_TABLE = (
    turn("First, which ingredients the book has.", grep("^- ", "recipes"), read("AGENTS.md")),
    turn(
        "A table from aisle to words will do, found by the last known word of a name. Some words decide alone: tinned "
        "tomatoes do not stand with the vegetables, coconut milk not with the milk.",
        write("aisle-table", "larder/aisles.py"),
    ),
    turn(
        "Tests for those cases.",
        write("aisle-table", "tests/test_aisles.py"),
        one_test("test_aisles"),
    ),
    turn(
        "Now every ingredient of the book once through the table.",
        bash(
            'python3 -c "from pathlib import Path; from larder.aisles import aisle_of; from larder.book import Book; '
            "b = Book(Path('recipes')); [print(aisle_of(i.name), '|', i.name) for n in b.names() "
            'for i in b.recipe(n).ingredients]" | sort'
        ),
    ),
    turn(
        "All of them are where I would look for them. What an aisle is belongs into the specification as well.",
        after("SPEC.md", "known by its file's name without the ending.\n", _AISLES),
    ),
    turn("The whole suite.", every_test()),
    turn(
        "Done.",
        handoff(
            "larder/aisles.py knows seven aisles and what stands in them; aisle_of(name) finds the aisle, "
            "position(aisle) the way through the shop. Every ingredient of the book was tried by hand.",
            concerns=("Shops differ: the order is that of one shop, in one table.",),
        ),
    ),
)

_ENDINGS = '("oes", "ches", "shes", "xes")'
_FEWER_ENDINGS = '("ches", "shes", "xes")'

INGREDIENT_NAMES = (
    turn(
        "I read the names that occur in the book before I decide what makes two of them the same.",
        grep("^- ", "recipes"),
        read("larder/ingredients.py"),
    ),
    turn(
        "Small letters, no adjectives, and the last word as one of it. English plurals need a few rules.",
        write("ingredient-names", "larder/names.py", slip=(_ENDINGS, _FEWER_ENDINGS)),
    ),
    turn(
        "Tests with the words from the request and those that only look like many, and a word in the specification.",
        write("ingredient-names", "tests/test_names.py"),
        edit("SPEC.md", "## Planning a week\n", f"{_NAMES}## Planning a week\n"),
    ),
    turn("The rules are few and plain, so this is done.", handoff("larder/names.py makes names plain.")),
    turn(
        "I was not believed, and rightly: the tests were run, and 'tomatoes' became 'tomatoe'. I forgot words that end "
        "in -oes. That is one more ending.",
        edit("larder/names.py", _FEWER_ENDINGS, _ENDINGS),
        one_test("test_names"),
    ),
    turn("Now they pass. The whole suite.", every_test()),
    turn(
        "Done.",
        handoff(
            "larder/names.py says under which name a thing is bought: plain('Fresh Tomatoes') is 'tomato'. Words that "
            "only look like many stay as they are.",
            concerns=("The rules are for English and for kitchens; 'oboes' would be bought in one piece.",),
        ),
    ),
)

EXAMPLE_WEEK = (
    turn(
        "I read two recipes for their manner before I write more.",
        read("recipes/pancakes.recipe"),
        read("recipes/lentil-curry.recipe"),
    ),
    turn(
        "A flatbread for the soup and the curry, and a salad for lunch.",
        write("example-week", "recipes/flatbread.recipe"),
        write("example-week", "recipes/green-salad.recipe"),
        bash("python3 -m larder show flatbread && python3 -m larder scale green-salad 6"),
    ),
    turn(
        "Both can be read and scaled. Now the week, with guests on Saturday, and a pantry that has some of it.",
        write("example-week", "examples/week.plan"),
        write("example-week", "examples/pantry.txt"),
    ),
    turn(
        "A test that keeps the examples in step with the book, without the modules that others are writing now.",
        write("example-week", "tests/test_examples.py"),
        every_test(),
    ),
    turn(
        "Green.",
        handoff(
            "Two recipes more (flatbread, green salad), examples/week.plan with nine meals and examples/pantry.txt "
            "with six things. A test keeps the week's recipes and the pantry's lines readable.",
            suggestions=("The README could show the lists that these examples give.",),
        ),
    ),
)

TURNS: Mapping[str, tuple[Turn, ...]] = {
    "survey-conventions": SURVEY,
    "readable-amounts": READABLE_AMOUNTS,
    "plan-files": PLAN_FILES,
    "pantry-files": PANTRY_FILES,
    "aisle-table": AISLE_TABLE,
    "ingredient-names": INGREDIENT_NAMES,
    "example-week": EXAMPLE_WEEK,
}

# The same for both: it does not matter who landed first.
_BOTH = (
    turn("Somebody else wrote into the same place of SPEC.md, and landed first. I look at both.", read("SPEC.md")),
    turn(
        "Neither makes the other needless: aisles and names both stay, one after the other.",
        write("aisles-and-names", "SPEC.md"),
    ),
    turn("The whole suite, with the work of both.", every_test()),
    turn(
        "Green.",
        handoff("SPEC.md tells about aisles and about names: the conflict is settled, and nothing of either is lost."),
    ),
)

RESOLUTIONS: Mapping[str, tuple[Turn, ...]] = {"aisle-table": _BOTH, "ingredient-names": _BOTH}
