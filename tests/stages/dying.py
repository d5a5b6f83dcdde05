"""A process that dies between two steps, played in this one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Killed(BaseException):
    """Nothing of ours catches it, as nothing catches a kill."""


def dying(real: Callable[..., Any], when: str) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        if when == "after":
            real(*args, **kwargs)
        raise Killed

    return function
