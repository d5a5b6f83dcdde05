"""Taking back what a subtask landed: what goes with it is shown before anybody confirms."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from orchestration.domain.errors import InvalidInput
from orchestration.domain.rights import Action
from orchestration.stages.revert import rests_on, revert
from orchestration.web.access import SignedIn, signed_in, subtask_of


@signed_in
def ask(request: SignedIn, public_id: str) -> HttpResponse:
    subtask = subtask_of(request.user, public_id, Action.CONFIGURE)
    return render(request, "subtasks/revert.html", {"subtask": subtask, "others": rests_on(subtask)})


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
