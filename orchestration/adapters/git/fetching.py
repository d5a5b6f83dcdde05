"""Bringing a branch from somewhere else into the bare repository."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.git.credentials import Credential
from orchestration.adapters.git.directory import GitDirectory
from orchestration.adapters.git.runner import check_branch, check_sha, run_git
from orchestration.adapters.git.values import Fetched, Offer
from orchestration.adapters.outgoing import check_host
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.publishing import RemoteError, Trouble

_FETCH = (
    "fetch",
    "--quiet",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-auto-maintenance",
    "--no-recurse-submodules",
    "--update-shallow",
    "--refmap=",
    "--upload-pack=git-upload-pack",
)

# Everything that arrives is checked; what only old tools did to dates and modes is let through.
_FSCK = (
    "protocol.version=2",
    "fetch.fsckObjects=true",
    "fetch.fsck.zeroPaddedFilemode=ignore",
    "fetch.fsck.badTimezone=ignore",
    "fetch.fsck.missingSpaceBeforeDate=ignore",
)

_HTTPS = (
    "http.followRedirects=false",
    "http.sslVerify=true",
    "http.proxy=",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=30",
)

_SAYINGS = (
    (r"returned error: 429", "asks for fewer requests", Trouble.LIMITED),
    (r"Could not resolve host|Failed to connect|timed out|Connection refused", "cannot be reached", Trouble.DOWN),
    (r"returned error: 30\d|unable to update url base", "redirects elsewhere: give its final address", Trouble.OTHER),
    (
        r"could not read Username|Authentication failed|returned error: 40[13]",
        "needs a sign-in or is not there",
        Trouble.SIGN_IN,
    ),
    (r"not found|returned error: 404", "is not there, or is private", Trouble.OTHER),
    (r"does not appear to be a git repository|not valid: is this a git", "is not a git repository", Trouble.OTHER),
    (r"certificate|SSL", "has a TLS certificate that cannot be trusted", Trouble.OTHER),
)


@dataclass(frozen=True, slots=True)
class _Remote:
    source: str
    env: dict[str, str]
    config: tuple[str, ...]
    timeout_s: float
    cancellation: Cancellation | None


class Fetching(GitDirectory):
    """Fetch from a local path or an https:// address."""

    def remote_tip(
        self,
        source: str,
        branch: str,
        *,
        allow: tuple[str, ...] = (),
        credential: Credential | None = None,
        cancellation: Cancellation | None = None,
    ) -> str:
        """Where the branch stands there at this moment; empty where it does not."""
        check_branch(branch)
        config, env = way_to(source, allow, credential)
        return _ask(_Remote(source, env, config, 120, cancellation)).branches.get(branch, "")

    def offer(
        self,
        source: str,
        *,
        allow: tuple[str, ...] = (),
        credential: Credential | None = None,
        timeout_s: float = 120,
        cancellation: Cancellation | None = None,
    ) -> Offer:
        """What there is to fetch at this moment."""
        config, env = way_to(source, allow, credential)
        return _ask(_Remote(source, env, config, timeout_s, cancellation))

    def fetch(
        self,
        source: str,
        branch: str | None,
        *,
        allow: tuple[str, ...] = (),
        credential: Credential | None = None,
        timeout_s: float = 600,
        shallow: bool = False,
        cancellation: Cancellation | None = None,
    ) -> Fetched:
        """Bring the branch (None: the default one) into refs/swarmsite/source/<branch>, checked by fsck.

        `allow` lists hosts and networks that may be private, as outgoing.check_host takes it. `shallow`: without its
        history, to have a look.
        """
        config, env = way_to(source, allow, credential)
        remote = _Remote(source, env, config, timeout_s, cancellation)
        if branch is None:
            branch = _default_branch(source, _ask(remote))
        ours = check_branch(branch).replace("refs/heads/", "refs/swarmsite/source/", 1)
        result = self.run(
            *_FETCH,
            *(("--depth=1",) if shallow else ()),
            "--end-of-options",
            source,
            f"+refs/heads/{branch}:{ours}",
            env=env,
            config=(*config, *_FSCK),
            timeout_s=timeout_s,
            ok=(0, 1, 128),
            cancellation=cancellation,
        )
        if result.code:
            raise _fetch_error(remote, branch, result.stderr)
        return Fetched(check_sha(self.run("rev-parse", "--verify", ours).text.strip()), branch)


def way_to(
    source: str, allow: tuple[str, ...], credential: Credential | None = None
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Options and environment with which git may reach the source, or why it may not."""
    if source.startswith("/"):
        if not Path(source).is_dir():
            raise AdapterError(Failure.PERMANENT, f"There is no directory {source}.")
        return (), {}
    try:
        parts = urlsplit(source)
        host, port = parts.hostname, parts.port or 443
    except ValueError:
        raise InvalidInput(f"{source[:200]!r} is not an address.") from None
    if parts.scheme != "https" or not host or "@" in parts.netloc:
        raise InvalidInput("Repositories are fetched from a full path or an https:// address without a name in it.")
    addresses = check_host(host, port, allowed=allow)
    return (*_HTTPS, *_pinned(host, port, addresses)), {
        "GIT_ALLOW_PROTOCOL": "https",
        **(credential.environment(source) if credential else {}),
    }


def _pinned(host: str, port: int, addresses: tuple[str, ...]) -> tuple[str, ...]:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        plain = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
        return (f"http.curloptResolve={host}:{port}:{plain}",)
    return ()


def _ask(remote: _Remote) -> Offer:
    result = run_git(
        "ls-remote",
        "--symref",
        "--end-of-options",
        remote.source,
        "HEAD",
        "refs/heads/*",
        env=remote.env,
        config=remote.config,
        timeout_s=remote.timeout_s,
        ok=(0, 128),
        cancellation=remote.cancellation,
    )
    if result.code:
        raise _remote_error(remote.source, result.stderr)
    branches: dict[str, str] = {}
    head, head_sha = None, None
    for line in result.text.splitlines():
        value, _, ref = line.partition("\t")
        if ref == "HEAD" and value.startswith("ref: "):
            head = value.removeprefix("ref: refs/heads/")
        elif ref == "HEAD":
            head_sha = value
        elif ref.startswith("refs/heads/"):
            branches[ref.removeprefix("refs/heads/")] = value
    if head is None:  # detached: a branch at the same commit stands for it
        head = next((name for name, sha in branches.items() if sha == head_sha), None)
    return Offer(branches, head)


def _default_branch(source: str, offer: Offer) -> str:
    if not offer.branches:
        raise AdapterError(Failure.PERMANENT, f"{source} has no commits yet: make a first one.")
    if offer.head is None or offer.head not in offer.branches:
        raise AdapterError(Failure.PERMANENT, f"{source} has no default branch: name one of {_some(offer.branches)}.")
    return offer.head


def _fetch_error(remote: _Remote, branch: str, stderr: str) -> AdapterError:
    if "couldn't find remote ref" not in stderr:
        return _remote_error(remote.source, stderr)
    branches = _ask(remote).branches
    if not branches:
        return AdapterError(Failure.PERMANENT, f"{remote.source} has no commits yet: make a first one.")
    return AdapterError(Failure.PERMANENT, f"{remote.source} has no branch {branch!r}: there are {_some(branches)}.")


def _some(branches: dict[str, str]) -> str:
    names = sorted(branches)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _remote_error(source: str, stderr: str) -> AdapterError:
    for pattern, saying, trouble in _SAYINGS:
        if re.search(pattern, stderr):
            return RemoteError(trouble, f"The repository {source} {saying}.")
    lines = [line for line in stderr.splitlines() if line.startswith(("fatal:", "error:"))]
    reason = re.sub(r"^\w+: ", "", lines[0]).rstrip(".") if lines else "git said nothing"
    lasting = re.search(r"fsck error|badTree|hasDot|refusing|bad object", stderr)
    trouble = Trouble.OTHER if lasting else Trouble.DOWN
    return RemoteError(trouble, f"The repository {source} could not be fetched: {reason}.")
