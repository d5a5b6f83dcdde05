"""The bare repository's directory: how it is made and how git is run on it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.git.runner import GitResult, run_git
from orchestration.domain.errors import AdapterError, Failure

# HEAD names a ref that nobody moves: a HEAD on a branch would be locked with it, and a kill leaves that lock.
_HEAD = "ref: refs/swarmsite/nobody\n"
_CONFIG = """\
[core]
	repositoryformatversion = 0
	filemode = true
	bare = true
	fsync = committed,loose-object,reference
[gc]
	auto = 0
"""


class GitDirectory:
    """A bare repository under the data directory that only this package writes."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    def create(self) -> None:
        """Make it, or finish making it. Every step may be repeated and HEAD, which makes it one, comes last."""
        try:
            if (self.path / "HEAD").is_file():
                return
            if self.path.is_dir() and any(self.path.iterdir()) and not (self.path / "objects").is_dir():
                raise AdapterError(
                    Failure.PERMANENT, f"{self.path} holds something else and cannot become a repository."
                )
            for part in ("objects/info", "objects/pack", "refs/heads"):
                (self.path / part).mkdir(parents=True, exist_ok=True)
            _write(self.path / "config", _CONFIG)
            _write(self.path / "HEAD", _HEAD)
        except OSError as error:
            raise AdapterError(
                Failure.TRANSIENT, f"The repository {self.path} could not be created: {error.strerror}."
            ) from error

    def run(
        self,
        *args: str,
        index: Path | None = None,
        stdin: bytes | None = None,
        timeout_s: float = 60,
        env: Mapping[str, str] | None = None,
        ok: tuple[int, ...] = (0,),
        cancellation: Cancellation | None = None,
        max_bytes: int | None = None,
        config: Sequence[str] = (),
    ) -> GitResult:
        return run_git(
            *args,
            git_dir=self.path,
            index=index,
            stdin=stdin,
            timeout_s=timeout_s,
            env=env,
            ok=ok,
            cancellation=cancellation,
            max_bytes=max_bytes,
            config=config,
        )


def _write(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).chmod(0o644)
    Path(name).replace(path)
