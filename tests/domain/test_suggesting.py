"""Which checks are suggested for which files, and that odd files suggest nothing and break nothing."""

from __future__ import annotations

import json

import pytest

from orchestration.domain.suggesting import suggest


def commands(**files: str) -> list[str]:
    named = {name.replace("__", "."): text for name, text in files.items()}
    return [one.command for one in suggest(named)]


def likely(files: dict[str, str]) -> list[str]:
    return [one.command for one in suggest(files) if one.likely]


def test_nothing_is_suggested_for_nothing():
    assert suggest({}) == ()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("test:\n\tpytest\nlint: deps\n\truff\nTEST := 1\nclean:\n", ["make test", "make lint"]),
        ("check ::\n\ttrue\n", ["make check"]),
        ("testing:\n\ttrue\n\ttest: no target\n", []),
        ("test := value\n", []),
    ],
)
def test_a_makefiles_targets(text: str, found: list[str]):
    assert commands(Makefile=text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[tool.pytest.ini_options]\n", ["python -m pytest -q"]),
        ('[project]\noptional-dependencies.dev = ["pytest"]\n', ["python -m pytest -q"]),
        ("[tool.ruff]\n[tool.mypy]\nstrict = true\n", ["python -m unittest", "ruff check .", "mypy ."]),
        ("not toml at all [", ["python -m unittest"]),
        ("tool = 3\n", ["python -m unittest"]),
    ],
)
def test_a_python_projects(text: str, found: list[str]):
    assert commands(pyproject__toml=text) == found


def test_a_guess_is_not_ticked():
    assert likely({"setup.py": ""}) == []
    assert likely({"pytest.ini": ""}) == ["python -m pytest -q"]


def node(**scripts: object) -> str:
    return json.dumps({"scripts": scripts})


@pytest.mark.parametrize(
    ("text", "lock", "found"),
    [
        (node(test="vitest", build="vite build", start="vite"), "", ["npm run test", "npm run build"]),
        (node(test="vitest"), "pnpm-lock.yaml", ["pnpm run test"]),
        (node(lint="eslint ."), "yarn.lock", ["yarn run lint"]),
        (node(test='echo "Error: no test specified" && exit 1'), "", []),
        (node(test=["not", "a", "text"]), "", []),
        ('{"scripts": 3}', "", []),
        ("[]", "", []),
        ("{", "", []),
        ("[" * 100_000, "", []),
    ],
)
def test_a_node_projects_scripts(text: str, lock: str, found: list[str]):
    files = {"package.json": text} | ({lock: ""} if lock else {})
    assert [one.command for one in suggest(files)] == found


def test_rust_and_go():
    assert likely({"Cargo.toml": ""}) == ["cargo test --offline"]
    assert likely({"go.mod": ""}) == ["go test ./...", "go vet ./..."]


def test_a_makefile_speaks_for_the_whole_project():
    files = {"Makefile": "test:\n\tcargo test\n", "Cargo.toml": "", "package.json": node(test="vitest")}
    assert likely(files) == ["make test"]
    assert "cargo test --offline" in [one.command for one in suggest(files)]  # offered, and not ticked


def test_each_says_why():
    assert [one.why for one in suggest({"go.mod": ""})] == ["there is a go.mod"] * 2
