"""A made-up repository of as many files as asked for."""

from __future__ import annotations

from pathlib import Path

from orchestration.adapters.git.runner import run_git

IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Bench"), ("EMAIL", "bench@example.org"), ("DATE", "2025-01-01T00:00:00+00:00"))
}
PER_PACKAGE = 25
LINES = 40


def make_repository(path: Path, files: int) -> None:
    """One commit on the branch main."""
    run_git("init", "--quiet", "--template=", "--initial-branch=main", str(path))
    for number in range(files):
        file = path / file_name(number)
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(f"VALUE_{line} = {number * LINES + line}\n" for line in range(LINES)))
    git_dir = path / ".git"
    run_git("add", "--all", git_dir=git_dir, work_tree=path)
    run_git("commit", "--quiet", "-m", "Begin", git_dir=git_dir, work_tree=path, env=IDENTITY)


def file_name(number: int) -> str:
    return f"package_{number // PER_PACKAGE:02d}/module_{number:03d}.py"
