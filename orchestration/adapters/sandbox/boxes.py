"""What every sandbox promises: a box around one workspace, in which commands run within limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.sandbox.child import Child
from orchestration.domain.errors import AdapterError, Failure


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one command with everything that it starts."""

    processes: int = 256
    memory_mb: int = 2048
    file_size_mb: int = 200
    output_bytes: int = 200_000
    open_files: int = 1024


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Program:
    """A command with what it is given beside the workspace. `files` lie beneath its home, which is its own and gone
    with it; `environment` comes on top of the box's; `input` is what it reads where nobody talks to it."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    input: bytes = field(default=b"", repr=False)


Command = str | Sequence[str] | Program


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended: `exit_code` is None where we killed it, `limit` says which limit it met."""

    exit_code: int | None
    output: str
    truncated: bool
    timed_out: bool
    duration_ms: int
    limit: str = ""


class Box(Protocol):
    """One workspace with a fence around it."""

    @property
    def workspace(self) -> str:
        """Where it is, as what runs inside sees it."""

    @property
    def home(self) -> str:
        """Where a program's files lie, likewise."""

    def run(self, command: Command, *, timeout_s: float, cancellation: Cancellation | None = None) -> CommandResult:
        """Run it in the workspace; a str goes to a shell. When this returns or raises, nothing of it lives on.

        A cancel raises AdapterError(CANCELLED), a sandbox that does not work AdapterError of another kind; how
        the command itself ends never raises.
        """

    def start(self, program: Program, *, cancellation: Cancellation) -> AbstractContextManager[Child]:
        """The running program, to be talked to from this thread; its `input` is not used. On leaving, nothing of it
        lives on. Raises AdapterError where it does not start.
        """

    def close(self) -> None:
        """Free what the box holds on the host. Safe to call twice."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Sandbox(Protocol):
    """A way of making boxes on this machine."""

    @property
    def name(self) -> str: ...

    @property
    def isolated(self) -> bool:
        """False where commands can see what the server sees."""

    def describe(self) -> str:
        """One line for pages: what holds and what does not."""

    def open(
        self,
        workspace: Path,
        *,
        limits: Limits = DEFAULT_LIMITS,
        network: bool = False,
        read_only: bool = False,
        shown: tuple[Path, ...] = (),
    ) -> Box:
        """A box whose isolation was checked. Raises AdapterError where the check fails.

        The directories `shown` are seen inside where they lie outside, read-only; a socket in them can be used.
        """


def existing(workspace: Path) -> Path:
    """The directory without links in its path. Raises AdapterError where there is none that we may enter."""
    try:
        real = workspace.resolve(strict=True)
        if real.is_dir():
            return real
    except OSError as error:
        raise AdapterError(Failure.PERMANENT, f"The workspace {workspace} cannot be used: {error}") from error
    raise AdapterError(Failure.PERMANENT, f"The workspace {workspace} is no directory.")
