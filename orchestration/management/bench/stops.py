"""Where a process may be stopped: around a call, or inside the transaction in which a row gets a status."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from orchestration.domain.states import Status
from orchestration.stages.transition import Moves


@dataclass(frozen=True, slots=True)
class At:
    when: Literal["before", "after"]
    owner: Any  # a module or a class
    name: str


Stop = At | Status


def arm(stop: Stop, come: Callable[[], None]) -> None:
    """From now on `come` is called there. Nothing takes it back: only for a process that is about to die."""
    if isinstance(stop, At):
        setattr(stop.owner, stop.name, _around(getattr(stop.owner, stop.name), stop.when, come))
        return
    real = Moves.advance

    def advance(self: Moves, row: Any, to: Any, **how: Any) -> None:
        real(self, row, to, **how)
        if to is stop:
            come()

    Moves.advance = advance  # type: ignore[method-assign]


def _around(real: Callable[..., Any], when: str, come: Callable[[], None]) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            come()
        result = real(*args, **kwargs)
        if when == "after":
            come()
        return result

    return function
