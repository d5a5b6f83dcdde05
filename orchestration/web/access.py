"""Who may see and do what, as requests ask it. Strangers learn nothing, not even that a thing exists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar, cast

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase

from orchestration.domain.rights import Action
from orchestration.models import Artifact, ModelEndpoint, Question, Repository, Subtask, Swarm, Team, User

P = ParamSpec("P")
Row = TypeVar("Row", bound=Model)
NEEDED: Mapping[Action, str] = {
    Action.VIEW: "Only members of the team may see this.",
    Action.SUBMIT: "Viewers may look, but not hand in requests. Ask a maintainer of the team to make you a member.",
    Action.STEER: "Viewers may look, but not steer. Ask a maintainer of the team to make you a member.",
    Action.CONFIGURE: "Only maintainers and owners of a team may change its repositories and models.",
}


class SignedIn(HttpRequest):
    """A request whose user is known."""

    user: User


def signed_in(
    view: Callable[Concatenate[SignedIn, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Anonymous visitors go to the sign-in page and come back from there."""

    @login_required
    @wraps(view)
    def checked(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        return view(cast("SignedIn", request), *args, **kwargs)

    return checked  # type: ignore[return-value]  # login_required loses the shape


def swarms_of(user: User) -> QuerySet[Swarm]:
    """With what every line about a swarm needs."""
    return Swarm.objects.visible_to(user).select_related("repository__team", "endpoint", "requester")


def repositories_of(user: User, action: Action = Action.VIEW) -> QuerySet[Repository]:
    return Repository.objects.filter(team__in=user.teams_for(action)).select_related("team")


def swarm_of(user: User, public_id: str, action: Action = Action.VIEW) -> Swarm:
    swarm = _found(swarms_of(user).filter(public_id=public_id))
    require(user, action, swarm.repository.team)
    return swarm


def subtask_of(user: User, public_id: str, action: Action = Action.VIEW) -> Subtask:
    visible = Subtask.objects.filter(swarm__in=Swarm.objects.visible_to(user), public_id=public_id)
    subtask = _found(visible.select_related("swarm__repository__team", "swarm__endpoint", "swarm__requester"))
    require(user, action, subtask.swarm.repository.team)
    return subtask


def question_of(user: User, public_id: str, action: Action = Action.VIEW) -> Question:
    visible = Question.objects.filter(swarm__in=Swarm.objects.visible_to(user), public_id=public_id)
    question = _found(visible.select_related("swarm__repository__team"))
    require(user, action, question.swarm.repository.team)
    return question


def artifact_of(user: User, public_id: str) -> Artifact:
    return _found(Artifact.objects.filter(swarm__in=Swarm.objects.visible_to(user), public_id=public_id))


def repository_of(user: User, public_id: str, action: Action = Action.VIEW) -> Repository:
    repository = _found(repositories_of(user).filter(public_id=public_id))
    require(user, action, repository.team)
    return repository


def endpoint_of(user: User, public_id: str, action: Action = Action.VIEW) -> ModelEndpoint:
    """The demo's own is nobody's to change."""
    visible = ModelEndpoint.objects.filter(team__in=user.teams_for(Action.VIEW), removed_at=None, is_demo=False)
    endpoint = _found(visible.filter(public_id=public_id).select_related("team"))
    require(user, action, endpoint.team)
    return endpoint


def require(user: User, action: Action, team: Team) -> None:
    """For somebody who may see the thing: says which right is missing."""
    if action is not Action.VIEW and not user.may(action, team):
        raise PermissionDenied(NEEDED[action])


def _found(rows: QuerySet[Row]) -> Row:
    row = rows.first()
    if row is None:
        raise Http404
    return row
