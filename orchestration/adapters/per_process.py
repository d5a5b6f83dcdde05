"""What a process has one of: made when it is first asked for, closed when the interpreter ends."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=Closable)


class PerProcess(Generic[T]):
    """Safe to ask from any thread. A forked child has no threads of its parent's, and perhaps a locked lock: it makes
    its own, and keeps the parent's from being collected, because closing copies of its sockets is not ours to do."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: T | None = None
        self._inherited: list[T] = []
        self._lock = threading.Lock()
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._forget)

    def get(self) -> T:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def close(self) -> None:
        if self._made is not None:
            self._made.close()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        if self._made is not None:
            self._inherited.append(self._made)
            self._made = None
