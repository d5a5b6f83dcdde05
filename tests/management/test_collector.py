"""The collector leaves alone what was there, still frees what is new, and is as before at the end."""

from __future__ import annotations

import gc
import weakref

import pytest

from orchestration.management.collector import YOUNG, settled


class Thing:
    """In a cycle with itself."""

    def __init__(self) -> None:
        self.itself = self


def test_what_was_loaded_is_not_looked_through_any_more():
    kept = Thing()
    with settled():
        assert gc.get_freeze_count() > 1000
        assert not any(each is kept for each in gc.get_objects())
    assert gc.get_freeze_count() == 0
    assert any(each is kept for each in gc.get_objects())


def test_new_cycles_are_freed_as_ever():
    with settled():
        gone = weakref.ref(Thing())
        gc.collect()
        assert gone() is None


def test_a_decisions_rows_cause_no_look():
    with settled():
        assert gc.get_threshold()[0] == YOUNG > 5000


def test_the_settings_are_as_before_also_after_a_failure():
    before = gc.get_threshold()
    with pytest.raises(RuntimeError), settled():
        raise RuntimeError
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
