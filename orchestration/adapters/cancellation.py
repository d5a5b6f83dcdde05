"""One flag that reaches everything an attempt has in flight: a model call, a child process, a wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestration.domain.errors import AdapterError, Failure


class Cancellation:
    """Set once, from any thread, with the reason a person will read. Callbacks run in the setter's thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self.reason = ""
        self._error: AdapterError | None = None

    def cancel(self, reason: str, error: AdapterError | None = None) -> None:
        """Set the flag. Only the first reason is kept; a callback that was registered runs exactly once. `error` is
        what check() raises where it was no cancel but a limit."""
        with self._lock:
            if self._event.is_set():
                return
            self.reason = reason
            self._error = error
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """True as soon as it is cancelled, False after `seconds`."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """Raises AdapterError once the flag is set: CANCELLED, or the error that set it."""
        if self._event.is_set():
            raise self._error or AdapterError(Failure.CANCELLED, self.reason)

    @contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """While inside, `callback` is what ends the wait; it runs at once where the flag is already set."""
        with self._lock:
            already = self._event.is_set()
            if not already:
                self._callbacks.append(callback)
        if already:
            callback()
        try:
            yield
        finally:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)
