"""The whole matrix of who may do what, written out: a change of a right is a change of this table."""

from __future__ import annotations

from itertools import pairwise

import pytest

from orchestration.domain.rights import Action, Role, allowed, roles_for

#            stranger viewer member maintainer owner
MATRIX = {
    Action.VIEW: "- x x x x",
    Action.SUBMIT: "- - x x x",
    Action.STEER: "- - x x x",
    Action.CONFIGURE: "- - - x x",
}
PEOPLE: tuple[Role | None, ...] = (None, Role.VIEWER, Role.MEMBER, Role.MAINTAINER, Role.OWNER)
CELLS = [
    (action, person, mark == "x")
    for action, line in MATRIX.items()
    for person, mark in zip(PEOPLE, line.split(), strict=True)
]


def test_the_matrix_is_complete():
    assert set(MATRIX) == set(Action)
    assert (None, *Role) == PEOPLE


@pytest.mark.parametrize(("action", "person", "may"), CELLS, ids=lambda value: str(value) if value else "stranger")
def test_a_person_may_exactly_what_the_matrix_says(action: Action, person: Role | None, *, may: bool):
    assert allowed(action, person) is may
    assert (person in roles_for(action)) is may


@pytest.mark.parametrize("action", Action)
def test_a_stranger_may_nothing(action: Action):
    assert not allowed(action, None)


@pytest.mark.parametrize("action", Action)
def test_an_operator_may_everything_without_a_role(action: Action):
    assert allowed(action, None, operator=True)


@pytest.mark.parametrize("action", Action)
def test_nobody_loses_a_right_by_rising(action: Action):
    for lower, higher in pairwise(Role):
        assert allowed(action, higher) or not allowed(action, lower)


def test_the_roles_for_an_action_come_lowest_first():
    assert roles_for(Action.SUBMIT) == (Role.MEMBER, Role.MAINTAINER, Role.OWNER)
