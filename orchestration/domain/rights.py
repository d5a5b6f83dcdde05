"""Who may do what: one table, asked by pages, actions, sockets and commands alike."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Role(StrEnum):
    VIEWER = "viewer"
    MEMBER = "member"
    MAINTAINER = "maintainer"
    OWNER = "owner"


class Action(StrEnum):
    VIEW = "view"
    SUBMIT = "submit"  # a swarm
    STEER = "steer"  # pause, resume, retry, cancel, approve a plan
    CONFIGURE = "configure"  # repositories and endpoints of the team


_RANK = {role: rank for rank, role in enumerate(Role)}
_NEEDED: Mapping[Action, Role] = {
    Action.VIEW: Role.VIEWER,
    Action.SUBMIT: Role.MEMBER,
    Action.STEER: Role.MEMBER,
    Action.CONFIGURE: Role.MAINTAINER,
}


def allowed(action: Action, role: Role | None, *, operator: bool = False) -> bool:
    """`role` is the person's role in the team that owns the thing, None for a stranger."""
    if operator:
        return True
    return role is not None and _RANK[role] >= _RANK[_NEEDED[action]]


def roles_for(action: Action) -> tuple[Role, ...]:
    """The roles that may, lowest first: what a database query filters memberships by."""
    return tuple(role for role in Role if allowed(action, role))
