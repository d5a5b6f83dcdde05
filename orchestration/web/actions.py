"""What is done: every POST. Each is one call of a stage; its refusal is a sentence on the page."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from orchestration.domain import demonstration
from orchestration.domain.errors import InvalidInput
from orchestration.domain.rights import Action
from orchestration.models import Subtask, Swarm, User
from orchestration.stages import replan, steer
from orchestration.stages.submit import submit
from orchestration.web import pages
from orchestration.web.access import SignedIn, signed_in, subtask_of, swarm_of
from orchestration.web.boards import Board, Filter
from orchestration.web.forms import SwarmForm
from orchestration.web.limits import LimitsForm
from orchestration.web.subtask_forms import NewSubtaskForm, SubtaskForm


@signed_in
@require_POST
def new_swarm(request: SignedIn) -> HttpResponse:
    form = SwarmForm(request.POST, user=request.user)
    if not form.is_valid():
        return pages.new_swarm_page(request, form)
    given = form.cleaned_data
    try:
        swarm = submit(request.user, given["repository"], given["request"], form.config(), branch=given["branch"])
    except InvalidInput as error:
        return pages.new_swarm_page(request, form, problem=str(error))
    return redirect("swarm", swarm.public_id)


@signed_in
@require_POST
def demo(request: SignedIn) -> HttpResponse:
    """The one button: the fixed story on the demo's repository."""
    repository = Board(request.user, Filter()).demo
    if repository is None:
        raise Http404
    try:
        swarm = submit(request.user, repository, demonstration.REQUEST)
    except InvalidInput as error:
        messages.error(request, str(error))
        return redirect("board")
    return redirect("swarm", swarm.public_id)


@signed_in
@require_POST
def pause(request: SignedIn, public_id: str) -> HttpResponse:
    return _steer(request, public_id, steer.pause)


@signed_in
@require_POST
def resume(request: SignedIn, public_id: str) -> HttpResponse:
    return _steer(request, public_id, steer.resume)


@signed_in
@require_POST
def approve(request: SignedIn, public_id: str) -> HttpResponse:
    return _steer(request, public_id, steer.approve)


@signed_in
@require_POST
def cancel(request: SignedIn, public_id: str) -> HttpResponse:
    return _steer(request, public_id, steer.cancel)


@signed_in
@require_POST
def change_limits(request: SignedIn, public_id: str) -> HttpResponse:
    """From its own page, or from the one field where a budget stopped the swarm."""
    swarm = swarm_of(request.user, public_id, Action.STEER)
    form = LimitsForm(request.POST, swarm=swarm)
    if not form.is_valid():
        return pages.limits_page(request, swarm, form)
    try:
        replan.change_limits(swarm, request.user, **form.changes())
        if request.POST.get("then") == "resume":
            steer.resume(swarm, request.user)
    except InvalidInput as error:
        return pages.limits_page(request, swarm, form, problem=str(error))
    messages.success(request, "The limits are changed.")
    return redirect("swarm", swarm.public_id)


def _steer(request: SignedIn, public_id: str, act: Callable[[Swarm, User], None]) -> HttpResponse:
    swarm = swarm_of(request.user, public_id, Action.STEER)
    try:
        act(swarm, request.user)
    except InvalidInput as error:
        messages.error(request, str(error))
    return redirect("swarm", swarm.public_id)


@signed_in
@require_POST
def retry_subtask(request: SignedIn, public_id: str) -> HttpResponse:
    return _steer_subtask(request, public_id, steer.retry_subtask)


@signed_in
@require_POST
def cancel_subtask(request: SignedIn, public_id: str) -> HttpResponse:
    return _steer_subtask(request, public_id, steer.cancel_subtask)


@signed_in
@require_POST
def new_subtask(request: SignedIn, public_id: str) -> HttpResponse:
    swarm = swarm_of(request.user, public_id, Action.STEER)
    form = NewSubtaskForm(request.POST, swarm=swarm)
    if not form.is_valid():
        return pages.subtask_form_page(request, swarm, form)
    try:
        replan.add_subtask(swarm, request.user, form.cleaned_data)
    except InvalidInput as error:
        return pages.subtask_form_page(request, swarm, form, problem=str(error))
    messages.success(request, f"{form.cleaned_data['name']} is part of the plan.")
    return redirect("swarm-plan", swarm.public_id)


@signed_in
@require_POST
def edit_subtask(request: SignedIn, public_id: str) -> HttpResponse:
    subtask = subtask_of(request.user, public_id, Action.STEER)
    form = SubtaskForm(request.POST, swarm=subtask.swarm, subtask=subtask)
    if not form.is_valid():
        return pages.subtask_form_page(request, subtask.swarm, form, subtask=subtask)
    try:
        replan.edit_subtask(subtask, request.user, **form.cleaned_data)
    except InvalidInput as error:
        return pages.subtask_form_page(request, subtask.swarm, form, subtask=subtask, problem=str(error))
    messages.success(request, f"{subtask.name} is changed.")
    return redirect("swarm-plan", subtask.swarm.public_id)


def _steer_subtask(request: SignedIn, public_id: str, act: Callable[[Subtask, User], None]) -> HttpResponse:
    subtask = subtask_of(request.user, public_id, Action.STEER)
    try:
        act(subtask, request.user)
    except InvalidInput as error:
        messages.error(request, str(error))
    if request.POST.get("back") == "plan":
        return redirect("swarm-plan", subtask.swarm.public_id)
    return redirect("subtask", subtask.public_id)
