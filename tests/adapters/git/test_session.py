"""A session gives the answers that git alone gives, also when its children fail."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.adapters.git.session import Session
from orchestration.adapters.git.store import BareRepository, Person

WHO = Person("Queue", "queue@swarm.example")


@pytest.fixture
def commits(store: BareRepository, clone: Any) -> dict[str, str]:
    made = {"base": clone.on("main").commit({"f": "1\n"})}
    made["tip"] = clone.commit({"g": "2\n"})
    made["late"] = clone.on("late", made["tip"]).commit({"h": "3\n"})
    made["early"] = clone.on("early", made["base"]).commit({"i": "4\n"})
    made["longer"] = clone.commit({"j": "5\n"})
    for branch in ("main", "late", "early"):
        store.fetch(str(clone.path), branch)
    return made


def assert_same_answers(session: Session, store: BareRepository, commits: dict[str, str]) -> None:
    for one in commits.values():
        assert session.tree(one) == store.tree(one)
        for other in commits.values():
            assert session.is_ancestor(one, other) == store.is_ancestor(one, other)
            assert session.merge_bases(one, other) == store.merge_bases(one, other)
            assert session._diffs("--no-renames", (one, other)) == store._diffs("--no-renames", (one, other))


@pytest.mark.parametrize("tip", ["base", "tip", "late", "longer"])
def test_it_answers_as_git_does_wherever_it_stands(store: BareRepository, commits: dict[str, str], tip: str):
    with Session(store.path) as session:
        assert_same_answers(session, store, commits)
        session.stand_on(commits[tip], commits["base"])
        assert_same_answers(session, store, commits)
        session.stand_on(commits["early"], commits["tip"])  # a tip that does not follow
        assert_same_answers(session, store, commits)


def test_it_knows_what_it_stepped_to(store: BareRepository, commits: dict[str, str], when: Any):
    with Session(store.path) as session:
        session.stand_on(commits["tip"], commits["base"])
        for name in ("longer", "late"):
            tip = session.stands_on
            merged = session._merge_tree(tip, commits[name]).tree
            made = session.commit(merged, (tip, commits[name]), "m", author=WHO, committer=WHO, when=when)
            session.step_to(made, commits[name])
            commits = commits | {f"with {name}": made}
        assert_same_answers(session, store, commits)


def test_children_that_die_are_replaced(store: BareRepository, commits: dict[str, str]):
    with Session(store.path) as session:
        session.stand_on(commits["tip"], commits["base"])
        assert_same_answers(session, store, commits)
        for child in (session._diffing, session._reading):
            assert child._process
            child._process.kill()
            child._process.wait()
        assert_same_answers(session, store, commits)


def test_no_child_is_left(store: BareRepository, commits: dict[str, str]):
    with Session(store.path) as session:
        assert_same_answers(session, store, commits)
        children = [session._diffing._process, session._reading._process]
    assert all(child and child.returncode is not None for child in children)
