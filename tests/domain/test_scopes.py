"""Two scopes that can meet in one path are never called disjoint, and plain ones that cannot are."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from orchestration.domain.scopes import Held, doubt, holder, overlap, strays

MEET = [
    ("src/a.py", "src/a.py"),
    ("src", "src/a.py"),
    ("src/", "src/deep/down/a.py"),
    ("src/*", "src/deep/a.py"),  # it matches the directory, and with it what lies there
    ("src/**", "src/deep/down/a.py"),
    ("src/**/test_*.py", "src/x/y/test_a.py"),
    ("**/a.py", "a.py"),
    ("*.py", "src/deep/a.py"),
    ("*", "src/a.py"),
    ("a*", "*b"),
    ("src/a?.py", "src/ab.py"),
    ("src/[ab].py", "src/a.py"),
    ("app/[id]/page.tsx", "app/[id]/page.tsx"),
    ("src/{a,b/c}.py", "src/b/c.py"),
    ("src/a**b/c.py", "src/ax/xb/c.py"),
    ("./src//a.py", "src/a.py"),
    ("!src", "docs"),
    ("**/test_*.py", "src/a.py"),  # as far as the text alone can tell, a.py may be a directory
    ("../src", "docs"),
    (".", "docs"),
]
DISJOINT = [
    ("src/a.py", "src/b.py"),
    ("src", "srcs/a.py"),
    ("src/**", "docs/**"),
    ("src/*.py", "src/deep/a.py"),
    ("src/*.py", "src/a.js"),
    ("src/a?.py", "src/a.py"),
    ("app/[id]/page.tsx", "app/[id]/list.tsx"),
    ("README.md", "docs/README.md"),
    ("src/{a,b}.py", "docs/a.py"),
]


@pytest.mark.parametrize(("one", "other"), MEET)
def test_they_meet(one: str, other: str):
    assert overlap(one, other)
    assert overlap(other, one)


@pytest.mark.parametrize(("one", "other"), DISJOINT)
def test_they_cannot_meet(one: str, other: str):
    assert not overlap(one, other)
    assert not overlap(other, one)


def test_no_glob_is_dear_or_too_deep():
    long = "a*/" * 250 + "**/" * 40 + "b"
    assert overlap(long, long)
    assert not overlap("src/" + "a*" * 400 + "x", "src/" + "a*" * 400 + "y")


NAMES = st.text("ab.", min_size=1, max_size=3).filter(lambda name: name.strip("."))
PARTS = st.one_of(
    NAMES, st.just("**"), st.text("ab*?", min_size=1, max_size=3), st.sampled_from(["[ab]", "a[!b]", "[a]*", "b**a"])
)
GLOBS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@st.composite
def paths_with_globs(draw: st.DrawFn) -> tuple[str, str, str]:
    """A path, and two globs that were made from it by forgetting some of it."""
    path = draw(PATHS)
    return path, draw(forgetting(path)), draw(forgetting(path))


@st.composite
def forgetting(draw: st.DrawFn, path: str) -> str:
    names: list[str] = []
    for name in path.split("/"):
        cut = draw(st.integers(0, len(name)))
        blurred = [f"{name[:cut]}*", f"*{name[cut:]}", f"{name[:cut]}[{name[cut:]}]*" if name[cut:] else "*"]
        blurred += ["?" * len(name), f"{name[:cut]}**", "**"]
        names += draw(st.sampled_from([[name], [name], ["**", name], *([one] for one in blurred)]))
    return "/".join(names[: draw(st.integers(1, len(names)))])


def matches(glob: str, path: str) -> bool:
    """As git reads it, from the root, but for a single name with a wildcard, which git finds at every depth."""
    rooted = glob if "/" not in glob and set("*?[") & set(glob) else f"/{glob}"
    return GitIgnoreSpec.from_lines([rooted]).match_file(path)


@given(paths_with_globs())
def test_globs_that_match_one_path_are_never_called_disjoint(made: tuple[str, str, str]):
    path, one, other = made
    assume(matches(one, path) and matches(other, path))
    assert overlap(one, other)


@given(paths_with_globs())
def test_a_path_meets_the_glob_that_matches_it(made: tuple[str, str, str]):
    path, glob, _ = made
    assume(matches(glob, path))
    assert overlap(glob, path)


@given(GLOBS, GLOBS)
def test_it_is_the_same_from_either_side_and_everything_meets_itself(one: str, other: str):
    assert overlap(one, other) == overlap(other, one)
    assert overlap(one, one)


@given(PATHS, PATHS)
def test_plain_paths_meet_only_where_one_is_above_the_other(one: str, other: str):
    above = f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
    assert overlap(one, other) == above


# Who holds it.

HELD = [Held("first", ("docs/**", "src/a.py")), Held("second", ("src/**",)), Held("unknown", ())]


def test_the_glob_and_the_first_holder_are_named():
    assert holder(["tests", "src/a.py"], HELD) == ("src/a.py", "first")
    assert holder(["src/b.py"], HELD) == ("src/b.py", "second")


def test_an_unknown_scope_meets_nothing():
    assert holder([], HELD) is None
    assert holder(["tests"], HELD) is None
    assert holder(["src"], [Held("unknown", ())]) is None


@pytest.mark.parametrize(
    ("scope", "outside"),
    [
        (["src/**"], ["docs/a.md"]),
        (["src"], ["docs/a.md"]),
        (["*.md", "src/app.py"], []),
        (["lib/**", "tests/*"], ["src/app.py", "docs/a.md"]),
        ([], []),
    ],
)
def test_what_lies_outside_a_scope(scope: list[str], outside: list[str]):
    assert strays(scope, ["src/app.py", "docs/a.md"]) == outside


def test_many_paths_outside_are_counted():
    paths = [f"docs/{number}.md" for number in range(5)]
    assert doubt(["src"], paths) == "It changed files outside its scope: docs/0.md, docs/1.md, docs/2.md and 2 more."
    assert doubt(["src"], ["src/a.py"]) == ""
