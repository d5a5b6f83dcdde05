"""Work that may be done at the same time, bounded: one part of it in the caller's own thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 4


def together(work: Callable[[T], R], items: Sequence[T], *, leave: Callable[[], None]) -> list[Future[R]]:
    """`work` on every item; all of it has ended when this returns, and what it raised is in its future. A single item
    costs no thread; `leave` is called at the end of each that was made."""
    futures: list[Future[R]] = [Future() for _ in items]
    due = deque(zip(items, futures, strict=True))
    threads = [
        threading.Thread(target=_apart, args=(work, due, leave), name="tool call", daemon=True)
        for _ in range(min(AT_ONCE, len(items)) - 1)
    ]
    for thread in threads:
        thread.start()
    _drain(work, due)
    for thread in threads:
        thread.join()
    return futures


def _apart(work: Callable[[T], R], due: deque[tuple[T, Future[R]]], leave: Callable[[], None]) -> None:
    try:
        _drain(work, due)
    finally:
        leave()


def _drain(work: Callable[[T], R], due: deque[tuple[T, Future[R]]]) -> None:
    while True:
        try:
            item, future = due.popleft()
        except IndexError:
            return
        _settle(work, item, future)


def _settle(work: Callable[[T], R], item: T, future: Future[R]) -> None:
    try:
        result = work(item)
    except BaseException as error:  # it is raised where the result is asked for
        future.set_exception(error)
    else:
        future.set_result(result)
