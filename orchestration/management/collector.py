"""Python's cyclic garbage collector in a server: what was loaded at the start stays, so it is not looked through again.

A full collection with Django loaded stops every thread for 0.1 s; of the engine's work it took a sixth.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG = 10_000  # new objects before a look at them; rows of one decision are gone by then
OLDER = (20, 100)  # looks before one at what outlived them: few of an agent's objects die between


@contextmanager
def settled() -> Iterator[None]:
    """While inside, only what is new is looked through, and less often."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *OLDER)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
