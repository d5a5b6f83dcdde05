"""The project's own files, tracked or about to be, as the architecture tests see them."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pathspec

ROOT = Path(__file__).resolve().parents[2]
# Another project's code, kept as content.
CONTENT = ("orchestration/demo/project/", "orchestration/demo/changes/")


@cache
def files() -> tuple[str, ...]:
    """Every file that .gitignore does not leave out, relative to the top."""
    return tuple(sorted(_walk(pathspec.GitIgnoreSpec.from_lines((ROOT / ".gitignore").read_text().splitlines()))))


def _walk(ignored: pathspec.GitIgnoreSpec) -> Iterator[str]:
    for folder, folders, names in os.walk(ROOT):
        base = Path(folder).relative_to(ROOT)
        folders[:] = [n for n in folders if n != ".git" and not ignored.match_file(f"{(base / n).as_posix()}/")]
        yield from (path for n in names if not ignored.match_file(path := (base / n).as_posix()))


def top_level() -> set[str]:
    return {name.partition("/")[0] for name in files() if name != ".git"}


def texts() -> Iterator[tuple[str, str]]:
    """Files that are text, with their content."""
    for name in files():
        try:
            yield name, (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue


def modules(*folders: str) -> dict[str, str]:
    """Python files below `folders` that a person wrote, with their source."""
    return {
        name: (ROOT / name).read_text(encoding="utf-8")
        for name in files()
        if name.endswith(".py")
        and (name.startswith(tuple(f"{folder}/" for folder in folders)) or name in folders)
        and "/migrations/" not in name
        and not name.startswith(CONTENT)
    }


def product() -> dict[str, str]:
    return modules("orchestration", "swarmsite", "manage.py")


@cache
def parsed(source: str) -> ast.Module:
    return ast.parse(source)
