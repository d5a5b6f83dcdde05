"""Who looks at something that grows right now: whoever makes it grow spares itself the telling where nobody does."""

from __future__ import annotations

import threading
import time
from collections import Counter

from django.core.cache import cache, caches
from django.core.cache.backends.locmem import LocMemCache

KEPT_S = 60  # a page that goes on looking says so again within this time
AGAIN_S = 15.0
BELIEVED_S = 2.0

_lock = threading.Lock()
_here: Counter[str] = Counter()  # pages of this process
_said: dict[str, float] = {}
_heard: dict[str, tuple[float, bool]] = {}


def arrive(name: str) -> None:
    with _lock:
        _here[name] += 1
    stay(name)


def stay(name: str) -> None:
    """Tells other processes, where there may be some, that somebody still looks."""
    if not _shared() or time.monotonic() - _said.get(name, -AGAIN_S) < AGAIN_S:
        return
    _said[name] = time.monotonic()
    cache.set(_key(name), 1, KEPT_S)


def leave(name: str) -> None:
    with _lock:
        _here[name] -= 1
        if _here[name] <= 0:
            del _here[name]
            _said.pop(name, None)


def anybody(name: str) -> bool:
    """Cheap where all is one process; otherwise the shared cache is asked at most every BELIEVED_S."""
    if name in _here:
        return True
    if not _shared():
        return False
    asked, answer = _heard.get(name, (-BELIEVED_S, False))
    if time.monotonic() - asked >= BELIEVED_S:
        answer = cache.get(_key(name)) is not None
        if len(_heard) > 1000:
            _heard.clear()
        _heard[name] = time.monotonic(), answer
    return answer


def _shared() -> bool:
    return not isinstance(caches["default"], LocMemCache)


def _key(name: str) -> str:
    return f"onlookers:{name}"
