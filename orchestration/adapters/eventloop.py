"""One event loop in a thread of its own, for the few places where a hundred waits must cost no thread each."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from orchestration.domain.errors import AdapterError, Failure

T = TypeVar("T")


async def _nothing() -> None:
    return None


class LoopThread:
    """Runs coroutines for other threads until close(); `last` runs on the loop after everything was cancelled."""

    def __init__(self, name: str, last: Callable[[], Awaitable[None]] = _nothing) -> None:
        self._name = name
        self._last = last
        self._lock = threading.Lock()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        with self._lock:
            if not self._closed and self._thread.is_alive():  # a forked child has no such thread
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        raise AdapterError(Failure.CANCELLED, f"The {self._name} is closed.")

    def call(self, function: Callable[[], object]) -> None:
        """Run a short function on the loop; nothing happens once it is closed."""
        with self._lock:
            if not self._closed and self._thread.is_alive():
                self._loop.call_soon_threadsafe(function)

    def close(self) -> None:
        """Cancel what runs and wait for it to end. May be called again."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._wind_up())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()

    async def _wind_up(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._last()
        await self._loop.shutdown_asyncgens()
