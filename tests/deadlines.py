"""Time limits that something must run into, on a machine of any speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from typing_extensions import override

from orchestration.agents.conversation import Clock

Result = TypeVar("Result")
LIMITS = (0.3, 3.0, 30.0)
PLENTY_S = 120.0


def in_time_for(run: Callable[[float], Result], far_enough: Callable[[Result], bool]) -> tuple[float, Result]:
    """The first of LIMITS within which `run` got far enough, and what it came to: a busy machine is given longer."""
    for limit in LIMITS:
        result = run(limit)
        if far_enough(result):
            break
    return limit, result


def clock_from(begun: Callable[[], bool]) -> type[Clock]:
    """Takes the place of Clock: its time begins when `begun` says so, however long that took."""

    class Late(Clock):
        _runs = False

        @override
        def left(self) -> float:
            if not self._runs and begun():
                self._runs = True
                self._end = time.monotonic() + self.seconds
            return super().left() if self._runs else PLENTY_S

    return Late
