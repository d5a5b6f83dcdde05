"""Putting a result into somebody's own local repository, and nothing else there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestration.adapters.git.merging import Merging
from orchestration.adapters.git.runner import check_branch, check_sha, run_git
from orchestration.domain.errors import AdapterError, Failure

OURS = "swarm/"

# One pack, no hooks, no upkeep of a repository that is not ours.
_FETCH = (
    "fetch",
    "--quiet",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-auto-maintenance",
    "--no-recurse-submodules",
    "--refmap=",
    "--upload-pack=git-upload-pack",
    "--end-of-options",
)
_CONFIG = ("protocol.version=2", "fetch.unpackLimit=1", "fetch.writeCommitGraph=false", "fetch.prune=false")
_WHO = {"GIT_COMMITTER_NAME": "Swarmsite", "GIT_COMMITTER_EMAIL": "swarmsite@localhost"}


class Publishing(Merging):
    """The one place that writes to a repository of a user."""

    def publish(self, target: Path, branch: str, sha: str, *, direct: bool = False) -> None:
        """Put the branch at `sha` in the user's repository: no hook runs, no work tree or HEAD is touched.

        A branch that exists there only moves forward, and only under swarm/ or when `direct` says that
        landing on the user's own branch is meant; a branch that is checked out there never moves.
        """
        ref, directory = check_branch(branch), find_git_dir(target)
        there = run_git("rev-parse", "--verify", "--quiet", ref, git_dir=directory, ok=(0, 1)).text.strip()
        if there == check_sha(sha):
            return
        if any(head == f"ref: {ref}" for head in _checked_out(target, directory)):
            raise _refused(target, branch, "is checked out there: switch to another branch first")
        if there and not (direct or branch.startswith(OURS)):
            raise _refused(target, branch, "exists there already and is not ours to move")
        if there and not self._leads_to(there, sha):
            raise _refused(target, branch, "holds commits there that this result does not")
        run_git(*_FETCH, str(self.path), f"{sha}:{ref}", git_dir=directory, config=_CONFIG, env=_WHO, timeout_s=600)

    def _leads_to(self, there: str, sha: str) -> bool:
        known = self.run("cat-file", "--batch-check=%(objecttype)", stdin=f"{there}\n".encode()).text.strip()
        return known == "commit" and self.is_ancestor(there, sha)


def find_git_dir(path: Path) -> Path:
    """The directory that holds the refs and objects of a clone, a linked work tree or a bare repository."""
    directory = path.absolute()
    try:
        if (directory / ".git").is_file():
            pointer = (directory / ".git").read_text().strip().removeprefix("gitdir: ")
            directory = directory / pointer
        elif (directory / ".git").is_dir():
            directory = directory / ".git"
        if (directory / "commondir").is_file():
            directory = directory / (directory / "commondir").read_text().strip()
        if (directory / "HEAD").is_file() and (directory / "objects").is_dir():
            return directory.resolve()
    except (OSError, UnicodeDecodeError) as error:
        raise AdapterError(Failure.PERMANENT, f"{path} cannot be read as a git repository: {error}.") from error
    raise AdapterError(Failure.PERMANENT, f"{path} is not a git repository.")


def _checked_out(target: Path, directory: Path) -> Iterator[str]:
    """What the HEADs of every work tree say; a bare repository's own HEAD has none."""
    if directory != target.resolve() or directory.name == ".git":
        yield (directory / "HEAD").read_text().strip()
    for head in directory.glob("worktrees/*/HEAD"):
        yield head.read_text().strip()


def _refused(target: Path, branch: str, why: str) -> AdapterError:
    return AdapterError(Failure.PERMANENT, f"The branch {branch} in {target} {why}.")
