"""The one place that starts git: cleared environment, constant options, own process group, typed errors."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.git.spawning import Spawned
from orchestration.domain.errors import AdapterError, Failure, InvalidInput

CONFIG = Path(__file__).with_name("gitconfig")

# They win over whatever the repository's own configuration says.
OPTIONS = tuple(
    part
    for option in (
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "core.attributesFile=/dev/null",
        "core.excludesFile=/dev/null",
        "core.alternateRefsCommand=true",
        "core.protectNTFS=true",
        "core.quotePath=false",
        "protocol.ext.allow=never",
        "safe.bareRepository=explicit",
        "gc.auto=0",
        "maintenance.auto=false",
        "submodule.recurse=false",
        "fetch.recurseSubmodules=false",
        "credential.helper=",
        "commit.gpgSign=false",
        "merge.renames=true",
        "merge.conflictStyle=merge",
    )
    for part in ("-c", option)
)

ENVIRONMENT = {
    "HOME": "/dev/null",  # nothing of anybody's home is read, .netrc included
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": str(CONFIG),
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_ALLOW_PROTOCOL": "file",
}

_TRANSIENT = re.compile(
    r"\.lock'?: File exists|Unable to create '.*\.lock'|No space left on device|Disk quota exceeded"
    r"|Resource temporarily unavailable|Cannot allocate memory|[Oo]ut of memory|Too many open files"
    r"|Could not resolve host|Failed to connect|Connection (timed out|reset|refused)|Operation timed out"
    r"|early EOF|hung up unexpectedly|unexpected disconnect|returned error: (429|5\d\d)|Empty reply",
)

_SHA = re.compile(r"[0-9a-f]{40}")
_OUR_REF = re.compile(r"refs/(?:heads|swarmsite)/(?=.)")
# What git's check-ref-format forbids, and what would confuse a reader of a page or a log.
_BAD_IN_REF = re.compile(
    r"[\x00-\x20\x7f-\x9f~^:?*\[\\\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
    r"|\.\.|@\{|//|/\.|/-|\.lock(?:/|$)|\./|[./]$",
)


@dataclass(frozen=True, slots=True)
class GitResult:
    """What a git child left. `cut` says that it was stopped because it had printed enough."""

    code: int
    stdout: bytes
    stderr: str
    cut: bool = False

    @property
    def text(self) -> str:
        return shown(self.stdout)


def shown(raw: bytes) -> str:
    """Bytes of names and content as text that can always be stored and printed."""
    return raw.decode("utf-8", "backslashreplace")


def is_sha(text: str) -> bool:
    return _SHA.fullmatch(text) is not None


def check_sha(sha: str) -> str:
    """The same SHA, or InvalidInput: only full lower-case object ids reach a command line."""
    if not is_sha(sha):
        raise InvalidInput(f"{sha[:80]!r} is not a full commit id of 40 hexadecimal digits.")
    return sha


def check_ref(ref: str) -> str:
    """The same full ref name, or InvalidInput: only refs/heads/ and refs/swarmsite/ are ever ours."""
    if not _OUR_REF.match(ref) or _BAD_IN_REF.search(ref) or len(ref.encode()) > 240:
        raise InvalidInput(f"{ref[:120]!r} is not a branch or ref name that can be used here.")
    return ref


def check_branch(branch: str) -> str:
    """The full ref of a branch, or InvalidInput."""
    if branch.startswith(("-", "/", "@")) or not branch:
        raise InvalidInput(f"{branch[:120]!r} is not a branch name that can be used here.")
    return check_ref(f"refs/heads/{branch}")


def run_git(
    *args: str,
    git_dir: Path | None = None,
    work_tree: Path | None = None,
    index: Path | None = None,
    stdin: bytes | None = None,
    timeout_s: float = 60,
    env: Mapping[str, str] | None = None,
    ok: tuple[int, ...] = (0,),
    cancellation: Cancellation | None = None,
    max_bytes: int | None = None,
    config: Sequence[str] = (),
) -> GitResult:
    """Run one git command. An exit code that is not in `ok`, a timeout or a missing git is an AdapterError.

    With `max_bytes` the child is stopped once it printed more, and what came first is the result.
    """
    if cancellation is not None:
        cancellation.check()
    # Never in a directory in which git could discover somebody's repository.
    command = ["git", "-C", str(work_tree or "/"), *OPTIONS, *(part for option in config for part in ("-c", option))]
    command += [f"--git-dir={git_dir}"] if git_dir is not None else []
    command += [f"--work-tree={work_tree}"] if work_tree is not None else []
    deadline = time.monotonic() + timeout_s
    try:
        with (
            _spawned([*command, *args], _environment(index, env), wants_input=stdin is not None) as child,
            cancellation.calling(child.kill) if cancellation else contextlib.nullcontext(),
        ):
            printed, said = child.hear(stdin or b"", deadline, max_bytes)
            if max_bytes is not None and len(printed) > max_bytes:
                result = GitResult(0, printed[:max_bytes], "", cut=True)
            else:
                result = GitResult(child.wait(deadline), printed, shown(said))
    except TimeoutError:
        raise AdapterError(
            Failure.TRANSIENT, f"git {args[0]} did not end within {timeout_s:g} seconds and was stopped."
        ) from None
    if cancellation is not None:
        cancellation.check()
    if result.code in ok or result.cut:
        return result
    if work_tree is not None and not work_tree.is_dir():
        raise AdapterError(Failure.PERMANENT, f"The directory {work_tree} does not exist.")
    raise _error(args[0], result)


def start_git(*args: str, git_dir: Path) -> subprocess.Popen[bytes]:
    """A child that goes on answering what it is asked; children.py talks to it and ends it."""
    with _started():
        return subprocess.Popen(
            ["git", *OPTIONS, f"--git-dir={git_dir}", *args],
            cwd="/",
            env=_environment(None, None),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def end_git(child: subprocess.Popen[bytes]) -> None:
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    child.wait()


def _environment(index: Path | None, extra: Mapping[str, str] | None) -> dict[str, str]:
    environment = {"PATH": os.environ.get("PATH", os.defpath), **ENVIRONMENT}
    bundle = os.environ.get("GIT_SSL_CAINFO") or os.environ.get("SSL_CERT_FILE")
    if bundle:  # an operator's own certificate authority
        environment["GIT_SSL_CAINFO"] = bundle
    if index is not None:
        environment["GIT_INDEX_FILE"] = str(index)
    return {**environment, **(extra or {})}


def _spawned(command: list[str], environment: dict[str, str], *, wants_input: bool) -> Spawned:
    with _started():
        return Spawned(command, environment, wants_input=wants_input)


@contextlib.contextmanager
def _started() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise AdapterError(
            Failure.PERMANENT, "git is not installed or not on PATH: install git 2.39 or newer."
        ) from error
    except OSError as error:
        raise AdapterError(Failure.TRANSIENT, f"git could not be started: {error.strerror}.") from error


def _error(name: str, result: GitResult) -> AdapterError:
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    last = re.sub(r"^(?:fatal|error): ", "", lines[-1]).rstrip(".") if lines else "it said nothing"
    if result.code < 0:
        return AdapterError(Failure.TRANSIENT, f"git {name} was killed by signal {-result.code}: {last}.")
    kind = Failure.TRANSIENT if _TRANSIENT.search(result.stderr) else Failure.PERMANENT
    return AdapterError(kind, f"git {name} failed with exit code {result.code}: {last}.")
