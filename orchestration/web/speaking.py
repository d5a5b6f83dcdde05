"""What people say to agents: a message, or the answer to a question. Each is one call of a stage."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from orchestration.domain.errors import InvalidInput
from orchestration.domain.rights import Action
from orchestration.stages.ask import answer
from orchestration.stages.tell import tell_subtask, tell_swarm
from orchestration.web.access import SignedIn, question_of, signed_in, subtask_of, swarm_of

SENT = "Sent. Below stands who has heard it."
ANSWERED = "Answered: the agent goes on as soon as it has a place."


@signed_in
@require_POST
def message_swarm(request: SignedIn, public_id: str) -> HttpResponse:
    swarm = swarm_of(request.user, public_id, Action.STEER)
    text = request.POST.get("text", "")
    _say(request, lambda: tell_swarm(swarm, request.user, text), SENT)
    return redirect("swarm", swarm.public_id)


@signed_in
@require_POST
def message_subtask(request: SignedIn, public_id: str) -> HttpResponse:
    subtask = subtask_of(request.user, public_id, Action.STEER)
    text = request.POST.get("text", "")
    _say(request, lambda: tell_subtask(subtask, request.user, text), SENT)
    return redirect("subtask", subtask.public_id)


@signed_in
@require_POST
def answer_question(request: SignedIn, public_id: str) -> HttpResponse:
    """With one of its options, or with the words in its own field: a page may show several questions."""
    question = question_of(request.user, public_id, Action.STEER)
    text = request.POST.get("answer") or request.POST.get(f"answer-{question.public_id}", "")
    _say(request, lambda: answer(question, request.user, text), ANSWERED)
    return redirect("swarm", question.swarm.public_id)


def _say(request: SignedIn, act: Callable[[], object], done: str) -> None:
    try:
        act()
    except InvalidInput as error:
        messages.error(request, str(error))
    else:
        messages.success(request, done)
