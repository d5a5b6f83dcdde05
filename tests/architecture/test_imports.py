"""Dependencies point down: the contracts of pyproject.toml hold, and each of them bites."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture import tree

CONTRACTS = {
    contract["id"]: contract
    for contract in tomllib.loads((tree.ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}

# One forbidden import for each contract: where it stands, and what it imports.
PLANTED = {
    "layers": ("orchestration/stages/planted.py", "from orchestration import web"),
    "placed": ("orchestration/helpers.py", ""),
    "pure": ("orchestration/domain/planted.py", "import os"),
    "thin-tasks": ("orchestration/tasks/__init__.py", "from orchestration import models"),
    "no-io-in-web": ("orchestration/web/planted.py", "from orchestration.adapters import git"),
    "adapters-independent": ("orchestration/adapters/queue/__init__.py", "from orchestration.adapters import live"),
    "one-writer": ("orchestration/stages/planted.py", "from orchestration.adapters import queue"),
}


def lint(where: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    chosen = [word for name in contracts for word in ("--contract", name)]
    return subprocess.run(
        [sys.executable, "-c", program, "--no-logo", "--no-cache", *chosen],
        cwd=where,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(where), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def named(contract: object) -> set[str]:
    """The modules that a contract speaks of, layers written as `a | b` included."""
    words = {word for part in str(contract).split("'") for word in part.split(" | ")}
    return {word for word in words if word.startswith("orchestration.")}


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """The modules that the contracts name, empty: what is planted is the only import there is."""
    (tmp_path / "pyproject.toml").write_text((tree.ROOT / "pyproject.toml").read_text())
    for name in {"swarmsite", "orchestration"}.union(*map(named, CONTRACTS.values())):
        package = tmp_path.joinpath(*name.split("."))
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
    return tmp_path


def test_the_contracts_are_kept():
    done = lint(tree.ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_contract_has_a_planted_violation():
    assert set(PLANTED) == set(CONTRACTS)


@pytest.mark.parametrize("contract", sorted(PLANTED))
def test_a_planted_import_breaks_the_contract(skeleton: Path, contract: str):
    assert lint(skeleton, contract).returncode == 0, "the skeleton itself must be clean"
    name, line = PLANTED[contract]
    (skeleton / name).write_text(f"{line}\n")
    done = lint(skeleton, contract)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout
