"""A repository's files in so many lines: nothing is invisible, and it is never longer than asked for."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.trees import tree

PATHS = st.lists(
    st.lists(st.sampled_from(["a", "b", "c.py", "d", "long name"]), min_size=1, max_size=5).map("/".join),
    unique=True,
    max_size=60,
).map(lambda found: sorted(one for one in found if not any(other.startswith(f"{one}/") for other in found)))
COUNTED = re.compile(r"(.+)/ \((\d+) files?\)")


def test_what_fits_is_told_path_by_path():
    paths = ["README.md", "src/a.py", "src/b.py"]
    assert tree(paths, 3) == paths
    assert tree([], 3) == []


def test_the_largest_directory_is_folded_and_counted_and_the_rest_is_whole():
    paths = [*(f"data/{n}.csv" for n in range(50)), "docs/index.md", "src/a.py", "src/deep/b.py"]
    assert tree(paths, 6) == ["data/ (50 files)", "docs/index.md", "src/a.py", "src/deep/b.py"]
    assert tree(paths, 3) == ["data/ (50 files)", "docs/index.md", "src/ (2 files)"]


def test_what_is_opened_may_hold_what_is_not():
    paths = [*(f"src/generated/{n}.py" for n in range(50)), "src/a.py", "setup.py"]
    assert tree(paths, 5) == ["setup.py", "src/a.py", "src/generated/ (50 files)"]


def test_of_a_flat_root_some_are_named_and_the_others_counted():
    paths = ["dir/x", *(f"{n:03}.txt" for n in range(100))]
    lines = tree(sorted(paths), 10)
    assert len(lines) == 10
    assert lines[:2] == ["000.txt", "001.txt"]
    assert lines[-2:] == ["dir/ (1 file)", "... and 92 files more here"]


def test_of_a_root_with_too_many_directories_the_sum_is_told():
    lines = tree(sorted(f"d{n}/f" for n in range(100)), 10)
    assert len(lines) == 10
    assert lines[-1] == "... and 100 files in all"


@given(paths=PATHS, most=st.integers(5, 30))
def test_every_file_is_named_or_counted_once(paths: list[str], most: int):
    lines = tree(paths, most)
    assert len(lines) <= most
    named = [line for line in lines if line in paths]
    folded = [(found[1], int(found[2])) for line in lines if (found := COUNTED.fullmatch(line))]
    assert len(named) + sum(count for _, count in folded) == len(paths), lines
    for path in set(paths) - set(named):
        assert sum(path.startswith(f"{directory}/") for directory, _ in folded) == 1
    for directory, count in folded:
        assert count == sum(path.startswith(f"{directory}/") for path in paths)


@pytest.mark.parametrize("count", [1271, 5000])
def test_a_large_repository_is_told_in_few_lines(count: int):
    paths = sorted(f"src/package_{n // 40:03}/module_{n:04}.py" for n in range(count))
    lines = tree(paths, 600)
    assert 500 < len(lines) <= 600 or all(COUNTED.fullmatch(line) for line in lines)
    packages = {path.split("/")[1] for path in paths}
    assert packages == {line.split("/")[1] for line in lines}, "every package is seen"
