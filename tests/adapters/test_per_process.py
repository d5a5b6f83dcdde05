"""One of a kind in a process, and another one in its child."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestration.adapters.per_process import PerProcess


class Thing:
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_all_threads_have_the_same_one_and_nothing_is_made_before():
    made: list[Thing] = []

    def make() -> Thing:
        made.append(Thing())
        return made[-1]

    one = PerProcess(make)
    assert made == []
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: one.get(), range(32))) == set(made)
    assert len(made) == 1


def test_it_is_closed_only_where_it_was_made():
    one = PerProcess(Thing)
    one.close()
    thing = one.get()
    one.close()
    assert thing.closed == 1


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_makes_its_own_and_leaves_its_parents_alone():
    one = PerProcess(Thing)
    parents = one.get()
    child = os.fork()
    if child == 0:
        mine = one.get()
        one.close()
        os._exit(0 if mine is not parents and (mine.closed, parents.closed) == (1, 0) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert one.get() is parents
