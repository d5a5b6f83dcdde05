"""What the demo's planner plans: the tasks of the first plan, and those that a worker's suggestion brings."""

from __future__ import annotations

from dataclasses import dataclass

from orchestration.demo.repository import CHECKS
from orchestration.domain.planning import PlannedTask

ALL_TESTS = CHECKS[0]


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A task that is planned once `origin` has handed off."""

    task: PlannedTask
    origin: str
    why: str


def _tests(*modules: str) -> list[str]:
    return [f"python3 -m unittest -q {' '.join(f'tests.{module}' for module in modules)}", ALL_TESTS]


FIRST_PLAN: tuple[PlannedTask, ...] = (
    PlannedTask(
        name="survey-conventions",
        instruction="Read AGENTS.md, the commands and the tests, and try the existing commands with odd input. Change "
        "nothing. Write down, as an artifact, what whoever adds a command has to know, and report every "
        "existing fault that planning a week would run into.",
        acceptance="An artifact conventions.md says how a command is added and tested; faults found are reported with "
        "the command that shows them.",
        kind="research",
        priority=3,
        specialty="reading",
    ),
    PlannedTask(
        name="readable-amounts",
        instruction="Give Quantity in larder/quantities.py a method readable() -> str for shopping lists: grams and "
        "kilograms, millilitres and litres in the handier of the two (1500 g is '1.5 kg', 0.25 kg is "
        "'250 g'); spoons, cups and pieces with the signs for a quarter, a half and three quarters "
        "('½ tsp', '1¼ cup'). Leave str() as it is, recipes are printed with it. Tests go to "
        "tests/test_readable_amounts.py.",
        acceptance="readable() writes the amounts named above; str() is unchanged.",
        acceptance_checks=_tests("test_readable_amounts"),
        scope=["larder/quantities.py", "tests/test_readable_amounts.py"],
        priority=3,
        specialty="python",
    ),
    PlannedTask(
        name="plan-files",
        instruction="Add larder/plans.py: Meal(day, course, recipe, people) and parse_plan(text) -> list[Meal] for "
        "lines such as 'mon dinner: tomato-soup for 2'. Days are mon to sun, courses breakfast, lunch and "
        "dinner; '#' begins a comment. Meals come back in the order of the week. All wrong lines are told "
        "in one LarderError, each with its number and what is wrong. Tests go to tests/test_plans.py.",
        acceptance="A plan is read in the order of the week; every wrong line is named in one error.",
        acceptance_checks=_tests("test_plans"),
        scope=["larder/plans.py", "tests/test_plans.py"],
        priority=1,
        specialty="python",
    ),
    PlannedTask(
        name="pantry-files",
        instruction="Add larder/pantry.py: Pantry.parse(text, key) reads one Ingredient a line; a thing without an "
        "amount never runs out. has(name) and missing(name, wanted) -> Quantity | None say what is still "
        "to be bought. key is a function that says when two names mean the same thing, so that this does "
        "not depend on how names are compared. Tests go to tests/test_pantry.py.",
        acceptance="What is at home is taken off what is wanted, across units of one kind; wrong lines are told with "
        "their number.",
        acceptance_checks=_tests("test_pantry"),
        scope=["larder/pantry.py", "tests/test_pantry.py"],
        priority=1,
        specialty="python",
    ),
    PlannedTask(
        name="aisle-table",
        instruction="Add larder/aisles.py: aisle_of(name) -> str finds the aisle of a thing by its words ('red "
        "lentils' are dry goods, 'tinned tomatoes' stand with the tins), and position(aisle) -> int gives "
        "its place on the way through the shop. Unknown things come last. Every ingredient of the recipes "
        "in the book has an aisle. Tests go to tests/test_aisles.py.",
        acceptance="The ingredients of the book are found in the right aisles, in the order of the shop.",
        acceptance_checks=_tests("test_aisles"),
        scope=["larder/aisles.py", "tests/test_aisles.py"],
        priority=4,
        specialty="python",
    ),
    PlannedTask(
        name="ingredient-names",
        instruction="Add larder/names.py: plain(name) -> str gives the name under which a thing is bought: small "
        "letters, one instead of many ('tomatoes' is 'tomato', 'leaves' is 'leaf'), without words such as "
        "'fresh' or 'large'. Words that only look like many stay ('hummus'). Tests go to "
        "tests/test_names.py.",
        acceptance="'Fresh Tomatoes' and 'tomato' have the same plain name; 'coconut milk' and 'milk' do not.",
        acceptance_checks=_tests("test_names"),
        scope=["larder/names.py", "tests/test_names.py"],
        priority=2,
        specialty="python",
    ),
    PlannedTask(
        name="example-week",
        instruction="Add two quick recipes to the book, a flatbread and a green salad, and a week to try the new "
        "commands with: examples/week.plan ('mon dinner: tomato-soup for 2', one line a meal, for two, with "
        "guests on Saturday) and examples/pantry.txt (one thing a line, some without an amount). Tests in "
        "tests/test_examples.py keep them readable.",
        acceptance="The recipes can be read; the week names only recipes of the book.",
        acceptance_checks=_tests("test_examples", "test_book"),
        scope=["recipes/*.recipe", "examples/*", "tests/test_examples.py"],
        priority=5,
        specialty="writing",
    ),
    PlannedTask(
        name="shopping-list",
        instruction="Add larder/shopping.py: gather(meals, book) -> list[Item] adds up what the meals of a plan need, "
        "scaled to their people; the same thing under two names is one item, amounts of different kinds "
        "stay apart, and what the cook decides (salt) is listed without an amount. without(items, pantry) "
        "leaves out what is at home. Tests go to tests/test_shopping.py.",
        acceptance="Amounts are added across recipes, units and names, and the pantry is taken off.",
        acceptance_checks=_tests("test_shopping"),
        scope=["larder/shopping.py", "tests/test_shopping.py"],
        dependencies=["plan-files", "pantry-files", "ingredient-names"],
        priority=2,
        specialty="python",
    ),
    PlannedTask(
        name="plan-command",
        instruction="Add the command `larder plan FILE` in larder/commands/plan.py: the week as a table with a day "
        "named once, recipes by their titles; unknown recipes and missing files are told. Tests go to "
        "tests/test_plan_command.py.",
        acceptance="`larder plan` prints the week in order, or a sentence about what is wrong.",
        acceptance_checks=_tests("test_plan_command"),
        scope=["larder/commands/plan.py", "tests/test_plan_command.py"],
        dependencies=["plan-files"],
        priority=4,
        specialty="python",
    ),
    PlannedTask(
        name="shop-command",
        instruction="Add larder/formats.py (a list of items as text, Markdown or JSON, by aisle in the order of the "
        "shop, amounts by Quantity.readable()) and the command `larder shop PLAN [--pantry FILE] [--format "
        "text|markdown|json]` in larder/commands/shop.py. Tests go to tests/test_shop_command.py and use "
        "the command line as a cook does.",
        acceptance="`larder shop` prints one list in each of the three formats, with and without a pantry.",
        acceptance_checks=_tests("test_shop_command"),
        scope=["larder/formats.py", "larder/commands/shop.py", "tests/test_shop_command.py"],
        dependencies=["shopping-list", "aisle-table", "readable-amounts"],
        priority=2,
        specialty="python",
    ),
    PlannedTask(
        name="week-in-readme",
        instruction="Tell about the week in README.md: the two new commands in the table, a section 'A week' with the "
        "files of the example and what they print, and the two new recipes in the first listing. In "
        "SPEC.md, replace what was 'wanted' by what is there now. Every command shown must work.",
        acceptance="README.md shows how to plan a week and shop for it; SPEC.md wants nothing that exists.",
        acceptance_checks=["grep -q '^## A week' README.md", "! grep -q 'not there yet' SPEC.md", ALL_TESTS],
        scope=["README.md", "SPEC.md"],
        dependencies=["plan-command", "shop-command", "example-week"],
        priority=6,
        specialty="writing",
    ),
    PlannedTask(
        name="try-the-week",
        instruction="Change nothing. Use the result as a cook would: plan and shop for the example's week, with and "
        "without the pantry, in every format, and with a broken plan. Compare some amounts by hand. Keep "
        "the shopping list as an artifact.",
        acceptance="Every command does what the request says; faults are reported with the command that shows them.",
        acceptance_checks=[
            "python3 -m larder plan examples/week.plan",
            "python3 -m larder shop examples/week.plan --pantry examples/pantry.txt",
            ALL_TESTS,
        ],
        dependencies=["plan-command", "shop-command", "example-week"],
        kind="verify",
        priority=6,
        specialty="testing",
    ),
)

FOLLOW_UPS: tuple[FollowUp, ...] = (
    FollowUp(
        task=PlannedTask(
            name="refuse-nobody",
            instruction="`larder scale pancakes 0` prints a recipe without anything in it, and a negative number "
            "prints negative amounts. Make Recipe.scaled_to in larder/recipes.py refuse fewer than one person with "
            "a LarderError that says so. A test goes to tests/test_recipes.py.",
            acceptance="Scaling to nobody is refused with a sentence, in the library and on the command line.",
            acceptance_checks=_tests("test_recipes"),
            scope=["larder/recipes.py", "tests/test_recipes.py"],
            dependencies=["survey-conventions"],
            priority=4,
            specialty="python",
        ),
        origin="survey-conventions",
        why="The survey found that a recipe can be scaled to nobody; a plan would carry that into the list.",
    ),
    FollowUp(
        task=PlannedTask(
            name="thirds-and-eighths",
            instruction="Scaling by three and by eight is common, and readable() in larder/quantities.py writes the "
            "outcome as 0.33 cup. Add the signs for thirds and eighths to its table. Extend "
            "tests/test_readable_amounts.py.",
            acceptance="'1/3 cup' reads '⅓ cup' and '1 5/8 tsp' reads '1⅝ tsp'.",
            acceptance_checks=_tests("test_readable_amounts"),
            scope=["larder/quantities.py", "tests/test_readable_amounts.py"],
            dependencies=["readable-amounts"],
            priority=5,
            specialty="python",
        ),
        origin="readable-amounts",
        why="Whoever made amounts readable suggests thirds and eighths, which scaling for guests brings.",
    ),
)

TASKS = {task.name: task for task in (*FIRST_PLAN, *(follow_up.task for follow_up in FOLLOW_UPS))}
