"""A queue's session rests between two drains, for one taker at a time, and is ended when nobody comes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters.git.keeping import Keeper
from orchestration.adapters.git.session import Session
from orchestration.adapters.git.store import BareRepository

LONG_S = 600.0


def test_what_a_session_knows_is_there_at_the_next_drain(store: BareRepository, clone: Any):
    tip = clone.on("main").commit({"f": "1\n"})
    store.fetch(str(clone.path), "main")
    keeper = Keeper(LONG_S)
    with keeper.session(store.path, "one") as first:
        first.stand_on(tip, tip)
        first.tree(tip)
        child = first._reading._process
    with keeper.session(store.path, "one") as again:
        assert again is first
        assert again.stands_on == tip
        assert again._reading._process is child
        again.close()


def test_every_branch_has_its_own(tmp_path: Path):
    keeper = Keeper(LONG_S)
    with keeper.session(tmp_path, "one") as one:
        pass
    with keeper.session(tmp_path, "two") as two, keeper.session(tmp_path / "other", "one") as three:
        assert len({id(one), id(two), id(three)}) == 3
    assert keeper.resting == 3


def test_nobody_gets_a_session_that_somebody_has(tmp_path: Path):
    keeper = Keeper(LONG_S)
    with keeper.session(tmp_path, "one") as outer, keeper.session(tmp_path, "one") as inner:
        assert inner is not outer
    assert keeper.resting == 1


def test_a_session_that_failed_is_not_used_again(tmp_path: Path):
    keeper, failed = Keeper(LONG_S), list[Session]()

    def drain() -> None:
        with keeper.session(tmp_path, "one") as session:
            failed.append(session)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        drain()
    assert keeper.resting == 0
    with keeper.session(tmp_path, "one") as session:
        assert session is not failed[0]


def test_children_of_an_idle_session_are_ended(store: BareRepository, clone: Any, monkeypatch: pytest.MonkeyPatch):
    tip = clone.on("main").commit({"f": "1\n"})
    store.fetch(str(clone.path), "main")
    ended = threading.Event()
    close = Session.close

    def closing(session: Session) -> None:
        close(session)
        ended.set()

    monkeypatch.setattr(Session, "close", closing)
    keeper = Keeper(0.05)
    with keeper.session(store.path, "one") as session:
        session.tree(tip)
        child = session._reading._process
    assert child is not None
    assert ended.wait(30)
    assert child.returncode is not None
    assert keeper.resting == 0


def test_a_forked_process_leaves_the_children_alone(store: BareRepository, clone: Any):
    tip = clone.on("main").commit({"f": "1\n"})
    store.fetch(str(clone.path), "main")
    keeper = Keeper(LONG_S)
    with keeper.session(store.path, "one") as session:
        session.tree(tip)
    keeper.forget()
    assert keeper.resting == 0
    assert session.tree(tip)  # it is still answered
    session.close()
