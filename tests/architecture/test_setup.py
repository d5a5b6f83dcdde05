"""The set-up on machines that lack something: it installs what it may, and otherwise says what to do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.architecture import tree

NEEDED = ("cat", "cp", "dirname", "grep", "ls", "mkdir", "rm", "sh", "touch")
LOGGED = 'echo "${0##*/} $*" >>"$LOG"'
# A Python that is new enough, can make an environment, and logs what it is asked.
PYTHON = 'case "$*" in *--version*) echo "Python 3.12.0";; esac'
MAKES = 'case "$*" in "-m venv "*) mkdir -p .venv/bin; cp "$0" .venv/bin/python;; esac'


class Machine:
    """A checkout and a PATH that holds only what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.programs, self.log = folder / "checkout", folder / "bin", folder / "log"
        (self.checkout / "deploy").mkdir(parents=True)
        (self.checkout / "requirements").mkdir()
        shutil.copy(tree.ROOT / "deploy" / "setup.sh", self.checkout / "deploy")
        self.programs.mkdir()
        self.log.touch()
        for name in NEEDED:
            found = shutil.which(name)
            assert found is not None
            (self.programs / name).symlink_to(found)
        self.has("id", "echo 1000")

    def has(self, name: str, script: str = "") -> Machine:
        path = self.programs / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return self

    def is_debian_with_root(self, *, broken: bool = False) -> Machine:
        self.has("id", "echo 0")
        return self.has("apt-get", f"{LOGGED}; {'exit 100' if broken else 'exit 0'}")

    def has_python(self, name: str = "python3") -> Machine:
        return self.has(name, f"{LOGGED}\n{PYTHON}\n{MAKES}")

    def set_up(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.programs / "sh"), "deploy/setup.sh", *words],
            cwd=self.checkout,
            env={"PATH": str(self.programs), "LOG": str(self.log), "HOME": str(self.checkout)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def did(self, program: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.startswith(f"{program} ")]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_a_python_it_says_which_one_is_needed(machine: Machine):
    done = machine.set_up("base")
    assert done.returncode == 1
    assert done.stderr == "No Python 3.11 or newer was found. Install one, then run this again.\n"


def test_a_python_that_is_too_old_counts_as_none(machine: Machine):
    done = machine.has("python3", "exit 1").set_up("base")
    assert done.returncode == 1
    assert "No Python 3.11 or newer" in done.stderr


def test_a_python_that_cannot_make_an_environment_is_said_with_its_package(machine: Machine):
    machine.has("python3.12", 'case "$*" in *ensurepip*) exit 1;; esac')
    done = machine.set_up("base")
    assert done.returncode == 1
    assert "Install its venv package (python3.12-venv)" in done.stderr


def test_the_newest_python_that_can_do_it_is_taken(machine: Machine):
    machine.has("python3.13", 'case "$*" in *ensurepip*) exit 1;; esac').has_python("python3.12").has_python()
    done = machine.set_up("base")
    assert done.returncode == 0, done.stderr
    assert "python3.12 -m venv .venv" in machine.did("python3.12")
    assert not machine.did("python3")


@pytest.mark.parametrize("what", ["base", "dev"])
def test_exactly_the_lock_is_installed_with_its_hashes(machine: Machine, what: str):
    done = machine.has_python().set_up(what)
    assert done.returncode == 0, done.stderr
    [line] = [line for line in machine.did("python") if "pip install" in line]
    assert "--require-hashes" in line
    assert line.endswith(f"-r requirements/{what}.txt")
    assert (machine.checkout / ".venv" / f"installed-{what}").exists()


def test_what_runs_the_tests_also_runs_the_site(machine: Machine):
    machine.has_python().set_up("dev")
    assert (machine.checkout / ".venv" / "installed-base").exists()


def test_a_failed_installation_is_not_taken_for_a_done_one(machine: Machine):
    machine.has("python3", f'{PYTHON}\n{MAKES}\ncase "$*" in *"pip install"*) exit 1;; esac')
    assert machine.set_up("base").returncode != 0
    assert not (machine.checkout / ".venv" / "installed-base").exists()


def test_root_with_apt_gets_what_is_missing_after_one_update(machine: Machine):
    done = machine.is_debian_with_root().has_python().set_up("base")
    assert done.returncode == 0, done.stderr
    update, install = machine.did("apt-get")
    assert update == "apt-get update -qq"
    assert install.endswith("ca-certificates git bubblewrap")


def test_root_with_apt_is_asked_for_nothing_that_is_there(machine: Machine):
    machine.is_debian_with_root().has_python().has("git").has("bwrap").set_up("base")
    assert not machine.did("apt-get")


def test_an_apt_that_fails_stops_only_what_needs_it(machine: Machine):
    done = machine.is_debian_with_root(broken=True).has_python().set_up("base")
    assert done.returncode == 0
    assert "apt could not install: git bubblewrap" in done.stderr


def test_nobody_but_root_calls_apt(machine: Machine):
    machine.is_debian_with_root().has("id", "echo 1000").has_python().set_up("dev")
    assert not machine.did("apt-get")


def test_the_site_needs_neither_chromium_nor_redis(machine: Machine):
    machine.is_debian_with_root().has_python().set_up("base")
    assert not [line for line in machine.did("apt-get") if "chromium" in line or "redis" in line]


@pytest.mark.parametrize(
    ("what", "missing", "told"),
    [
        ("base", "git", "nothing works without it"),
        ("base", "bwrap", "only the demo may run"),
        ("dev", "chromium", "the browser tests are skipped"),
        ("dev", "redis-server", "the tests that need one are skipped"),
    ],
)
def test_each_missing_program_is_told_with_what_it_switches_off(machine: Machine, what: str, missing: str, told: str):
    for name in {"git", "bwrap", "chromium", "redis-server"} - {missing}:
        machine.has(name)
    done = machine.set_up("missing", what)
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert told in done.stderr


def test_nothing_is_said_where_nothing_is_missing(machine: Machine):
    machine.has("git").has("bwrap")
    assert machine.set_up("missing", "base").stderr == ""
