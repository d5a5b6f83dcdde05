"""Taking back what a subtask landed: what goes with it is shown before anybody confirms."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from orchestration.domain.errors import InvalidInput
from orchestration.domain.publishing import Landing
from orchestration.domain.rights import Action
from orchestration.domain.states import SWARM_OVER, PublicationStatus, SwarmStatus
from orchestration.models import Publication, Swarm
from orchestration.stages.revert import rests_on, revert
from orchestration.web.access import SignedIn, signed_in, subtask_of

OUTWARD = {
    Landing.PULL_REQUEST: "pull request {row.pull_request} is brought up to date, or another follows if it was merged",
    Landing.DIRECT: "it is pushed onto {row.target} if every check is green",
    Landing.NONE: "it stays on the branch",
}


@signed_in
def ask(request: SignedIn, public_id: str) -> HttpResponse:
    subtask = subtask_of(request.user, public_id, Action.CONFIGURE)
    context = {"subtask": subtask, "others": rests_on(subtask), "afterwards": afterwards(subtask.swarm)}
    return render(request, "subtasks/revert.html", context)


def afterwards(swarm: Swarm) -> str:
    """What follows where the swarm is over, in a sentence; nothing while it goes on."""
    row = Publication.objects.filter(swarm=swarm, status=PublicationStatus.LANDED).first()
    if SwarmStatus(swarm.status) not in SWARM_OVER:
        return ""
    outward = "" if row is None else f" Then {OUTWARD[Landing(row.mode)].format(row=row)}."
    return f"The swarm is over: it opens again for this, and its checks run on what is left.{outward}"


@signed_in
@require_POST
def take_back(request: SignedIn, public_id: str) -> HttpResponse:
    subtask = subtask_of(request.user, public_id, Action.CONFIGURE)
    try:
        made = revert(subtask, request.user)
    except InvalidInput as error:
        messages.error(request, str(error))
        return redirect("subtask", subtask.public_id)
    messages.success(request, f"{made.name} is on its way through the merge queue.")
    return redirect("subtask", made.public_id)
