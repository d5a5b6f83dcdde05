"""What the thread that asked does while the loop carries its call: hears how far the answer is, and ends the wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from queue import SimpleQueue
from typing import Protocol

from orchestration.adapters import secrets
from orchestration.adapters.cancellation import Cancellation
from orchestration.domain.conversation import Reply
from orchestration.domain.errors import AdapterError, Failure

PROGRESS_EVERY_S = 0.5
TEXT_EVERY_S = 0.3
SENT = -1  # among the sizes of an answer: its request goes out


class Listener(Protocol):
    """Follows the text of an answer while it grows. Both are called in the thread that asked."""

    def wanted(self) -> bool:
        """Asked twice a second: where it is not, no text is put together."""
        ...

    def heard(self, text: str) -> None:
        """All of it so far, without secrets and without what may be the beginning of one."""
        ...


class Progress:
    """Carries signs of life from the loop to the caller's thread, at most two a second, and the text where somebody
    listens."""

    def __init__(self, *, listening: bool = False, tells_sent: bool = True) -> None:
        self.signs: SimpleQueue[int | str | None] = SimpleQueue()
        self.listening = listening
        self._tells_sent = tells_sent
        self._next = 0.0
        self._next_text = 0.0

    def __call__(self, size: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PROGRESS_EVERY_S
            self.signs.put(size)

    def text(self, so_far: Callable[[], str]) -> None:
        if not self.listening:
            return
        now = time.monotonic()
        if now >= self._next_text:
            self._next_text = now + TEXT_EVERY_S
            self.signs.put(so_far())

    def sent(self) -> None:
        if self._tells_sent:  # each sign costs a switch of threads
            self.signs.put(SENT)

    def end(self, _: Future[Reply]) -> None:
        self.signs.put(None)


def wait(
    future: Future[Reply],
    progress: Progress,
    cancellation: Cancellation,
    *,
    on_progress: Callable[[int], None] | None,
    on_sent: Callable[[], None] | None,
    listener: Listener | None,
) -> Reply:
    def cancel() -> None:
        future.cancel()

    with cancellation.calling(cancel):
        try:
            while (sign := progress.signs.get()) is not None:
                if isinstance(sign, str):
                    if listener is not None and sign:
                        listener.heard(secrets.clean_beginning(sign))
                    continue
                progress.listening = listener is not None and listener.wanted()
                if sign != SENT and on_progress is not None:
                    on_progress(sign)
                elif sign == SENT and on_sent is not None:
                    on_sent()
            return future.result()
        except CancelledError:
            reason = cancellation.reason if cancellation.is_set else "The model gateway was closed."
            raise AdapterError(Failure.CANCELLED, reason) from None
        finally:
            future.cancel()  # nobody waits for it if on_progress raised
