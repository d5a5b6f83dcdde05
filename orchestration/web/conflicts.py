"""The page on which a person settles a conflict, and what can be done there. Each is one call of a stage."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from orchestration.domain.errors import InvalidInput
from orchestration.domain.rights import Action
from orchestration.models import MergeEntry
from orchestration.reads.questions import conflicts_for_people
from orchestration.stages.mediate import Choice, Take, give_up, guide, settle
from orchestration.stages.sides import conflicting
from orchestration.web.access import SignedIn, signed_in, subtask_of

SETTLED = "Settled: it is in its place in the merge queue again."
GUIDED = "Told: the agent tries again as soon as it has a place."
GIVEN_UP = "Given up. Its work is kept as a commit, and the planner hears of it."


@signed_in
@require_safe
def conflict(request: SignedIn, public_id: str) -> HttpResponse:
    subtask = subtask_of(request.user, public_id)
    entry = conflicts_for_people(subtask.swarm).filter(subtask=subtask).first()
    if entry is None:
        messages.info(request, "There is no conflict that needs you.")
        return redirect("subtask", subtask.public_id)
    return _page(request, entry)


def _page(request: SignedIn, entry: MergeEntry, problem: str = "") -> HttpResponse:
    whole = MergeEntry.objects.select_related("swarm__repository__team", "subtask", "attempt__handoff").get(pk=entry.pk)
    found = conflicting(whole)
    given = {file.path: request.POST.get(f"text-{number}", file.merged) for number, file in enumerate(found.files)}
    context = {
        "entry": whole,
        "subtask": whole.subtask,
        "swarm": whole.swarm,
        "found": found,
        "files": [(file, given[file.path], request.POST.get(f"take-{at}", "")) for at, file in enumerate(found.files)],
        "tries": whole.resolutions.select_related("subtask").order_by("number"),
        "guidance": request.POST.get("text", ""),
        "may_steer": request.user.may(Action.STEER, whole.swarm.repository.team),
        "problem": problem,
    }
    return render(request, "subtasks/conflict.html", context, status=400 if problem else 200)


@signed_in
@require_POST
def settle_conflict(request: SignedIn, public_id: str) -> HttpResponse:
    return _act(request, public_id, lambda entry: settle(entry, request.user, _choices(request)), SETTLED)


@signed_in
@require_POST
def guide_agent(request: SignedIn, public_id: str) -> HttpResponse:
    return _act(request, public_id, lambda entry: guide(entry, request.user, request.POST.get("text", "")), GUIDED)


@signed_in
@require_POST
def give_up_conflict(request: SignedIn, public_id: str) -> HttpResponse:
    return _act(request, public_id, lambda entry: give_up(entry, request.user), GIVEN_UP)


def _act(request: SignedIn, public_id: str, act: Callable[[MergeEntry], None], done: str) -> HttpResponse:
    """A refusal keeps what was written."""
    subtask = subtask_of(request.user, public_id, Action.STEER)
    rows = MergeEntry.objects.select_related("swarm__repository__team", "subtask", "attempt")
    entry = rows.filter(subtask=subtask).order_by("-pk").first()
    if entry is None:
        raise Http404
    try:
        act(entry)
    except InvalidInput as error:
        if conflicts_for_people(subtask.swarm).filter(pk=entry.pk).exists():
            return _page(request, entry, str(error))
        messages.error(request, str(error))
        return redirect("subtask", subtask.public_id)
    messages.success(request, done)
    return redirect("subtask", subtask.public_id)


def _choices(request: SignedIn) -> dict[str, Choice]:
    """Of the files as the page showed them: their names came back with it."""
    found: dict[str, Choice] = {}
    for number, path in enumerate(request.POST.getlist("path")):
        take = request.POST.get(f"take-{number}", "")
        if take in list(Take):
            found[path] = Choice(Take(take), request.POST.get(f"text-{number}", ""))
    return found
