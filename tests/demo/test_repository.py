"""The demo's repository: a real project with a history, the same everywhere, whole or not there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from orchestration.demo import repository
from orchestration.demo.plan import TASKS
from orchestration.demo.repository import CHECKS, HISTORY, PROJECT, make_repository
from orchestration.domain.errors import InvalidInput
from tests.demo.playing import git, shell


@pytest.fixture
def larder(tmp_path: Path) -> Path:
    make_repository(tmp_path / "larder")
    return tmp_path / "larder"


def project_files() -> set[str]:
    found = (path for path in PROJECT.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(PROJECT)) for path in found}


def test_every_file_of_the_project_is_in_the_history_once(larder: Path):
    listed = [path for commit in HISTORY for path in commit.paths]
    assert sorted(listed) == sorted(project_files())
    assert sorted(git(larder, "ls-files").splitlines()) == sorted(listed)
    assert git(larder, "status", "--porcelain") == ""


def test_it_has_a_history_of_two_people(larder: Path):
    assert len(git(larder, "rev-list", "main").splitlines()) == len(HISTORY) >= 5
    assert len(set(git(larder, "log", "--format=%an").splitlines())) == 2


def test_its_checks_pass_at_every_commit(larder: Path):
    for sha in git(larder, "rev-list", "--reverse", "main").splitlines():
        git(larder, "checkout", "--quiet", "--detach", sha)
        for check in CHECKS:
            code, output = shell(larder, check)
            assert code == 0, output
            assert "OK" in output


def test_its_checks_can_fail(larder: Path):
    """The control: the checks look at the code."""
    units = larder / "larder" / "units.py"
    units.write_text(units.read_text().replace("Fraction(1000)", "Fraction(100)"))
    assert shell(larder, CHECKS[0])[0] != 0


def test_it_is_the_same_everywhere_whatever_the_environment_says(
    larder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, value in (
        ("GIT_AUTHOR_NAME", "Mallory"),
        ("GIT_COMMITTER_DATE", "2001-01-01T00:00:00Z"),
        ("GIT_DIR", str(tmp_path / "elsewhere")),
        ("TZ", "Asia/Tokyo"),
        ("GIT_TEMPLATE_DIR", str(tmp_path)),
    ):
        monkeypatch.setenv(name, value)
    (tmp_path / "hooks").mkdir()
    old = os.umask(0o077)
    try:
        make_repository(tmp_path / "again")
    finally:
        os.umask(old)
    monkeypatch.undo()
    assert git(tmp_path / "again", "rev-parse", "main") == git(larder, "rev-parse", "main")
    assert not (tmp_path / "elsewhere").exists()


def test_making_it_again_leaves_what_is_there(larder: Path):
    (larder / "mine.txt").write_text("kept")
    git(larder, "branch", "swarm/abc")
    make_repository(larder)
    assert (larder / "mine.txt").read_text() == "kept"
    assert git(larder, "branch", "--list", "swarm/*").strip() == "swarm/abc"


def test_a_crash_half_way_leaves_nothing_that_looks_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = repository._commit
    calls: list[repository.Commit] = []

    def killed(path: Path, commit: repository.Commit) -> None:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(commit)
        real(path, commit)

    monkeypatch.setattr(repository, "_commit", killed)
    with pytest.raises(KeyboardInterrupt):
        make_repository(tmp_path / "larder")
    assert not (tmp_path / "larder").exists()
    assert list(tmp_path.iterdir())  # the control: it had begun

    monkeypatch.undo()
    make_repository(tmp_path / "larder")
    assert [each.name for each in tmp_path.iterdir()] == ["larder"]
    assert len(git(tmp_path / "larder", "rev-list", "main").splitlines()) == len(HISTORY)


def test_somebody_elses_files_are_not_touched(tmp_path: Path):
    (tmp_path / "larder").mkdir()
    (tmp_path / "larder" / "notes.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="is in the way of the demo's repository"):
        make_repository(tmp_path / "larder")
    assert (tmp_path / "larder" / "notes.txt").read_text() == "mine"


def test_an_empty_directory_is_used(tmp_path: Path):
    (tmp_path / "deep" / "larder").mkdir(parents=True)
    make_repository(tmp_path / "deep" / "larder")
    assert (tmp_path / "deep" / "larder" / "README.md").is_file()


def test_it_can_be_cloned(larder: Path, tmp_path: Path):
    git(tmp_path, "clone", "--quiet", str(larder), "copy")
    assert git(tmp_path / "copy", "fsck", "--strict") == ""
    shutil.rmtree(tmp_path / "copy")


def test_no_file_says_the_name_of_a_subtask():
    """What the planner reads in the project must not look as if it had been planned."""
    for path in project_files():
        text = (PROJECT / path).read_text(encoding="utf-8")
        assert not [name for name in TASKS if name in text], path
