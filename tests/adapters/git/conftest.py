"""A user's clone, driven with ordinary git as a user would, and one of our bare repositories."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestration.adapters.git.store import BareRepository, Person

AGENT = Person("Agent Seven", "agent@swarm.example")
QUEUE = Person("Queue", "queue@swarm.example")
WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


class Clone:
    """A repository of somebody else's, with ordinary git and that user's configuration."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *args: str, ok: tuple[int, ...] = (0,)) -> str:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "User",
            "GIT_AUTHOR_EMAIL": "user@example.org",
            "GIT_COMMITTER_NAME": "User",
            "GIT_COMMITTER_EMAIL": "user@example.org",
        }
        done = subprocess.run(["git", *args], cwd=self.path, env=env, capture_output=True, check=False)
        assert done.returncode in ok, done.stderr.decode()
        return done.stdout.decode().strip()

    def commit(self, files: dict[str, str | bytes | None], message: str = "change") -> str:
        """Write (or with None delete) files and commit everything."""
        for name, content in files.items():
            path = self.path / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "-A", "--force")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def on(self, branch: str, start: str = "main") -> Clone:
        """Check out the branch, made at `start` where it is new."""
        exists = self.git("rev-parse", "--verify", "-q", f"refs/heads/{branch}", ok=(0, 1))
        self.git("checkout", "-q", *([branch] if exists else ["-b", branch, start]))
        return self


@pytest.fixture
def make_clone(tmp_path: Path) -> Callable[[str], Clone]:
    return lambda name: Clone(tmp_path / name)


@pytest.fixture
def clone(make_clone: Callable[[str], Clone]) -> Clone:
    """A clone with three files on main."""
    made = make_clone("clone")
    made.commit({"a.txt": "one\ntwo\nthree\n", "src/b.py": "b = 1\n", "src/deep/c.py": "c = 1\n"}, "first")
    return made


@pytest.fixture
def store(tmp_path: Path) -> BareRepository:
    made = BareRepository(tmp_path / "data" / "repository.git")
    made.create()
    return made


@pytest.fixture
def bring(store: BareRepository, clone: Clone) -> Callable[[str], str]:
    """Fetch a branch of the clone into the store and give its commit."""
    return lambda branch="main": store.fetch(str(clone.path), branch).sha


@pytest.fixture
def when() -> datetime:
    return WHEN
