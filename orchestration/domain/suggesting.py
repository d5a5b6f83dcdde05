"""Which checks a repository probably has, told by the files at its top: for a person to tick, never run unasked."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

READ = (
    "Makefile",
    "pyproject.toml",
    "package.json",
)  # their text tells; of the others it is enough that they are there
PRESENT = (
    *("pytest.ini", "tox.ini", "setup.py", "Cargo.toml", "go.mod"),
    *("pnpm-lock.yaml", "yarn.lock", "bun.lock", "bun.lockb"),
)
_TARGET = re.compile(r"^([A-Za-z0-9_-]+)[ \t]*:(?!=)", re.MULTILINE)
_TARGETS = ("test", "tests", "check", "lint", "typecheck")
_SCRIPTS = ("test", "lint", "typecheck", "type-check", "build")
_MANAGERS = {"pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn", "bun.lock": "bun", "bun.lockb": "bun"}
_NO_TEST = "no test specified"  # what a new package.json has for one


@dataclass(frozen=True, slots=True)
class Suggestion:
    """`likely`: ticked before anybody has looked."""

    command: str
    why: str
    likely: bool = True


def suggest(files: Mapping[str, str]) -> tuple[Suggestion, ...]:
    """From the texts of READ and the names of PRESENT that are there. A Makefile's word goes before the languages'."""
    made = list(_of_makefile(files.get("Makefile", "")))
    others = [*_of_python(files), *_of_node(files), *_of_cargo(files), *_of_go(files)]
    return tuple(made + [replace(one, likely=one.likely and not made) for one in others])


def _of_makefile(text: str) -> Iterator[Suggestion]:
    targets = set(_TARGET.findall(text))
    for name in _TARGETS:
        if name in targets:
            yield Suggestion(f"make {name}", f"the Makefile has a target {name}")


def _of_python(files: Mapping[str, str]) -> Iterator[Suggestion]:
    text = files.get("pyproject.toml", "")
    tools = _tools(text)
    if "pytest" in tools or "pytest" in text or "pytest.ini" in files:
        yield Suggestion("python -m pytest -q", "pytest is set up")
    elif {"setup.py", "tox.ini"} & set(files) or text:
        yield Suggestion("python -m unittest", "it is a Python project", likely=False)
    if "ruff" in tools:
        yield Suggestion("ruff check .", "pyproject.toml sets up ruff")
    if "mypy" in tools:
        yield Suggestion("mypy .", "pyproject.toml sets up mypy")


def _tools(text: str) -> frozenset[str]:
    try:
        tools = tomllib.loads(text).get("tool")
    except (tomllib.TOMLDecodeError, RecursionError):
        return frozenset()
    return frozenset(tools) if isinstance(tools, dict) else frozenset()


def _of_node(files: Mapping[str, str]) -> Iterator[Suggestion]:
    manager = next((manager for lock, manager in _MANAGERS.items() if lock in files), "npm")
    for name in _SCRIPTS:
        script = _scripts(files.get("package.json", "")).get(name)
        if isinstance(script, str) and _NO_TEST not in script:
            yield Suggestion(f"{manager} run {name}", f"package.json has a script {name}")


def _scripts(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    scripts = value.get("scripts") if isinstance(value, dict) else None
    return scripts if isinstance(scripts, dict) else {}


def _of_cargo(files: Mapping[str, str]) -> Iterator[Suggestion]:
    if "Cargo.toml" in files:
        yield Suggestion("cargo test --offline", "there is a Cargo.toml")
        yield Suggestion("cargo clippy --offline -- -D warnings", "there is a Cargo.toml", likely=False)


def _of_go(files: Mapping[str, str]) -> Iterator[Suggestion]:
    if "go.mod" in files:
        yield Suggestion("go test ./...", "there is a go.mod")
        yield Suggestion("go vet ./...", "there is a go.mod")
