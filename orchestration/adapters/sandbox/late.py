"""A box that is made when its first command comes: an attempt asks its model sooner, and may never need one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Lock
from types import TracebackType
from typing import Self

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.sandbox.boxes import Box, Command, CommandResult, Program
from orchestration.adapters.sandbox.child import Child
from orchestration.domain.errors import AdapterError, Failure


class LateBox:
    """`run` raises what opening raises; several commands may be its first at the same time."""

    def __init__(self, make: Callable[[], Box]) -> None:
        self._make = make
        self._box: Box | None = None
        self._closed = False
        self._making = Lock()

    @property
    def workspace(self) -> str:
        return self._made().workspace

    @property
    def home(self) -> str:
        return self._made().home

    def run(self, command: Command, *, timeout_s: float, cancellation: Cancellation | None = None) -> CommandResult:
        return self._made().run(command, timeout_s=timeout_s, cancellation=cancellation)

    def start(self, program: Program, *, cancellation: Cancellation) -> AbstractContextManager[Child]:
        return self._made().start(program, cancellation=cancellation)

    def _made(self) -> Box:
        if self._closed:
            raise AdapterError(Failure.PERMANENT, "The sandbox of this workspace was closed.")
        with self._making:
            if self._box is None:
                self._box = self._make()
            return self._box

    def close(self) -> None:
        self._closed = True
        if self._box is not None:
            self._box.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
