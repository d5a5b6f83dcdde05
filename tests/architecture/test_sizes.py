"""Small functions, short modules, and at least as much test as code."""

from __future__ import annotations

import ast
from statistics import median, quantiles

import pytest

from tests.architecture import tree

MODULE_LINES = 400
FUNCTION_LINES = 60
MEDIAN_LINES = 8
NINE_OF_TEN_LINES = 30


def long_modules(sources: dict[str, str]) -> list[str]:
    counts = {name: len(source.splitlines()) for name, source in sources.items()}
    return [f"{name} has {lines} lines" for name, lines in counts.items() if lines > MODULE_LINES]


def function_sizes(sources: dict[str, str]) -> dict[str, int]:
    return {
        f"{name}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for name, source in sources.items()
        for node in ast.walk(tree.parsed(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def long_functions(sizes: dict[str, int]) -> list[str]:
    return [f"{name} has {lines} lines" for name, lines in sizes.items() if lines > FUNCTION_LINES]


def size_habits(sizes: dict[str, int]) -> list[str]:
    middle, most = median(sizes.values()), quantiles(sizes.values(), n=10)[-1]
    said = [f"the median function has {middle} lines"] if middle > MEDIAN_LINES else []
    return said + ([f"one function of ten has over {most} lines"] if most > NINE_OF_TEN_LINES else [])


def silent_modules(sources: dict[str, str]) -> list[str]:
    """Those without a docstring; a package that only exists as a folder need not speak."""
    return [
        name
        for name, source in sources.items()
        if not ast.get_docstring(module := tree.parsed(source))
        and not all(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in module.body)
    ]


def lines(sources: dict[str, str]) -> int:
    return sum(len(source.splitlines()) for source in sources.values())


def test_no_module_is_too_long():
    assert not long_modules(tree.product() | tree.modules("tests"))


def test_no_function_is_too_long():
    assert not long_functions(function_sizes(tree.product() | tree.modules("tests")))


def test_most_functions_are_small():
    assert not size_habits(function_sizes(tree.product()))


def test_there_is_at_least_as_much_test_as_code():
    tests, code = lines(tree.modules("tests")), lines(tree.product())
    assert tests >= code


def test_every_module_says_what_it_owns():
    assert not silent_modules(tree.product())


def test_a_silent_module_is_found():
    assert silent_modules({"a.py": "from __future__ import annotations\nx = 1\n"}) == ["a.py"]
    assert not silent_modules({"a.py": '"""Owns x."""\nx = 1\n', "__init__.py": ""})


def function_of(length: int) -> dict[str, str]:
    return {"a.py": "def f():\n" + "    pass\n" * (length - 1)}


def test_a_long_module_is_found():
    assert long_modules({"a.py": "x = 1\n" * (MODULE_LINES + 1)}) == ["a.py has 401 lines"]
    assert not long_modules({"a.py": "x = 1\n" * MODULE_LINES})


def test_a_long_function_is_found_also_inside_a_class():
    assert long_functions(function_sizes(function_of(FUNCTION_LINES + 1))) == ["a.py:1 f has 61 lines"]
    assert not long_functions(function_sizes(function_of(FUNCTION_LINES)))
    method = "class A:\n    async def f(self):\n" + "        pass\n" * FUNCTION_LINES
    assert long_functions(function_sizes({"a.py": method})) == ["a.py:2 f has 61 lines"]


@pytest.mark.parametrize(
    ("sizes", "found"),
    [
        ([8] * 20, []),
        ([9] * 20, ["the median function has 9.0 lines"]),
        ([2] * 17 + [31] * 3, ["one function of ten has over 31.0 lines"]),
    ],
    ids=["small", "all a little long", "a few much too long"],
)
def test_a_drift_to_long_functions_is_found(sizes: list[int], found: list[str]):
    assert size_habits({str(number): size for number, size in enumerate(sizes)}) == found
