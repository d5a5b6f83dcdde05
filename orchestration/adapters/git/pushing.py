"""Putting a commit onto a branch of somebody else's repository, never by force, and what was said against it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.git.credentials import Credential
from orchestration.adapters.git.fetching import Fetching, way_to
from orchestration.adapters.git.merging import Merging
from orchestration.adapters.git.publishing import find_git_dir
from orchestration.adapters.git.runner import GitResult, check_branch, check_sha
from orchestration.domain.publishing import RemoteError, Trouble

MOST_SAID = 600
_PUSH = (
    "push",
    "--porcelain",
    "--no-verify",
    "--no-signed",
    "--no-follow-tags",
    "--recurse-submodules=no",
    "--receive-pack=git-receive-pack",
)
_CONFIG = ("protocol.version=2", "push.pushOption=", "push.gpgSign=false", "push.autoSetupRemote=false")

# The first that fits tells what it was.
_MEANINGS = (
    (Trouble.FULL, r"No space left on device|[Dd]isk quota|quota exceeded"),
    (Trouble.CHECKED_OUT, r"currently checked out|refusing to update checked out branch"),
    (Trouble.PROTECTED, r"hook declined|[Pp]rotected branch|GH006|GH013|rule violations|prohibited|hidden ref"),
    (
        Trouble.MOVED,
        (
            r"stale info|fetch first|non-fast-forward|failed to update ref|incorrect old value|cannot lock ref"
            r"|failed to lock|reference already exists"
        ),
    ),
    (Trouble.LIMITED, r"returned error: 429"),
    (
        Trouble.SIGN_IN,
        (
            r"could not read Username|Authentication failed|returned error: 40[134]|[Pp]ermission to .* denied"
            r"|[Nn]ot found"
        ),
    ),
    (
        Trouble.DOWN,
        (
            r"Could not resolve|Failed to connect|timed out|Connection (refused|reset)|returned error: 5\d\d|early EOF"
            r"|hung up|unexpected disconnect|Empty reply|RPC failed|SSL_ERROR_SYSCALL|unexpected EOF"
        ),
    ),
)
_SENTENCES = {
    Trouble.MOVED: "The branch {branch} in {source} moved in this moment.",
    Trouble.DOWN: "The repository {source} cannot be reached.",
    Trouble.FULL: "The repository {source} has no room left on its disk.",
    Trouble.LIMITED: "The repository {source} asks for fewer requests.",
    Trouble.SIGN_IN: "The repository {source} does not let us push: the sign-in is missing or has no such right.",
    Trouble.PROTECTED: "The repository {source} refuses the push to {branch}: it is protected.",
    Trouble.CHECKED_OUT: "The branch {branch} is checked out in {source}.",
    Trouble.OTHER: "The push to {branch} in {source} failed.",
}


class Pushing(Fetching, Merging):
    """The one place that pushes."""

    def push(
        self,
        source: str,
        branch: str,
        new: str,
        *,
        old: str,
        allow: tuple[str, ...] = (),
        credential: Credential | None = None,
        timeout_s: float = 600,
        cancellation: Cancellation | None = None,
    ) -> None:
        """Move the branch there from `old` (empty: it is not there) to `new`, which holds `old`; or RemoteError.

        That nothing is raised is no proof yet: whoever needs one asks the remote.
        """
        ref = check_branch(branch)
        if old and not self.is_ancestor(check_sha(old), check_sha(new)):
            raise ValueError("a push that would take something away from the branch")
        config, env = way_to(source, allow, credential)
        if source.startswith("/"):
            _require_ours(source)
        result = self.run(
            *_PUSH,
            f"--force-with-lease={ref}:{old}",  # with what is checked above it only ever adds
            "--end-of-options",
            source,
            f"{check_sha(new)}:{ref}",
            env=env,
            config=(*config, *_CONFIG),
            timeout_s=timeout_s,
            ok=(0, 1, 128),
            cancellation=cancellation,
        )
        if result.code:
            raise _error(source, branch, result)


def _require_ours(source: str) -> None:
    """The hooks of a repository at a path run as we do: so only those of our own user's, as git itself has it."""
    directory = find_git_dir(Path(source))
    if directory.stat().st_uid != os.geteuid():
        raise RemoteError(
            Trouble.OTHER,
            f"The repository {source} belongs to another user, whose hooks would run as this server:"
            " let it be reached by https, or fetch the swarm's branch from there.",
        )


def _error(source: str, branch: str, result: GitResult) -> RemoteError:
    told = f"{result.text}\n{result.stderr}"
    trouble = next((trouble for trouble, pattern in _MEANINGS if re.search(pattern, told)), Trouble.OTHER)
    said = _said(result)
    sentence = _SENTENCES[trouble].format(source=source, branch=branch)
    return RemoteError(trouble, f"{sentence} It said: {said}" if said else sentence)


def _said(result: GitResult) -> str:
    """The remote's own words; git's where it had none."""
    lines = [line.strip() for line in result.stderr.splitlines()]
    remote = [line.removeprefix("remote:").strip() for line in lines if line.startswith("remote:")]
    refused = [line.split("\t")[-1] for line in result.text.splitlines() if line.startswith("!")]
    git = [line for line in lines if line.startswith(("fatal:", "error:"))][:1]
    words = " ".join([*(one for one in remote if one), *refused] or git)
    return re.sub(r"[^\x20-\x7e\xa1-\uffff]", " ", words)[:MOST_SAID].strip()
