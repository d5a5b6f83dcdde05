"""The demo's repository: a small recipe book with a history, made of the files in project/."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestration.adapters.git.runner import run_git
from orchestration.domain.errors import InvalidInput

PROJECT = Path(__file__).with_name("project")
CHECKS = ("python3 -m unittest discover -q",)
BRANCH = "main"

_MINA = ("Mina Holt", "mina@example.org")
_JONAS = ("Jonas Reed", "jonas@example.org")


@dataclass(frozen=True, slots=True)
class Commit:
    author: tuple[str, str]
    date: str
    message: str
    paths: tuple[str, ...]


HISTORY = (
    Commit(
        _MINA,
        "2025-03-02T10:12:00+00:00",
        "Start with units that convert exactly",
        (
            ".gitignore",
            "pyproject.toml",
            "larder/__init__.py",
            "larder/errors.py",
            "larder/units.py",
            "tests/__init__.py",
            "tests/test_units.py",
        ),
    ),
    Commit(
        _MINA,
        "2025-03-02T15:40:00+00:00",
        "Read and add quantities",
        ("larder/quantities.py", "tests/test_quantities.py"),
    ),
    Commit(
        _JONAS,
        "2025-03-08T09:05:00+00:00",
        "Read recipes from plain text",
        ("larder/ingredients.py", "larder/recipes.py", "tests/test_ingredients.py", "tests/test_recipes.py"),
    ),
    Commit(
        _JONAS,
        "2025-03-09T18:22:00+00:00",
        "Keep the book in a folder",
        ("larder/book.py", "recipes/pancakes.recipe", "recipes/tomato-soup.recipe", "tests/test_book.py"),
    ),
    Commit(
        _MINA,
        "2025-03-15T11:31:00+00:00",
        "Add the command line with list and show",
        (
            "larder/__main__.py",
            "larder/cli.py",
            "larder/commands/__init__.py",
            "larder/commands/listing.py",
            "larder/commands/show.py",
        ),
    ),
    Commit(
        _JONAS,
        "2025-03-16T20:02:00+00:00",
        "Scale a recipe and cook more of them",
        (
            "larder/commands/scale.py",
            "recipes/apple-crumble.recipe",
            "recipes/lentil-curry.recipe",
            "tests/test_cli.py",
        ),
    ),
    Commit(
        _MINA,
        "2025-04-06T14:47:00+00:00",
        "Write down what Larder is and how to change it",
        ("AGENTS.md", "README.md", "SPEC.md"),
    ),
)


def make_repository(path: Path) -> None:
    """Make it at `path` unless it is there. It appears whole or not at all, with the same commit ids everywhere."""
    if (path / ".git").is_dir():
        return
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InvalidInput(f"{path} is in the way of the demo's repository: move it, then start again.")
    path.parent.mkdir(parents=True, exist_ok=True)
    growing = path.with_name(f".{path.name}.growing")
    if growing.exists():  # a start that was killed half way
        shutil.rmtree(growing)
    _build(growing)
    growing.rename(path)


def _build(path: Path) -> None:
    run_git("init", "--quiet", "--template=", f"--initial-branch={BRANCH}", str(path))
    for commit in HISTORY:
        for name in commit.paths:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, path / name)
        _commit(path, commit)


def _commit(path: Path, commit: Commit) -> None:
    git_dir = path / ".git"
    run_git("add", "--", *commit.paths, git_dir=git_dir, work_tree=path)
    run_git("commit", "--quiet", "-m", commit.message, git_dir=git_dir, work_tree=path, env=_identity(commit))


def _identity(commit: Commit) -> Mapping[str, str]:
    name, email = commit.author
    return {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", name), ("EMAIL", email), ("DATE", commit.date))
    }
