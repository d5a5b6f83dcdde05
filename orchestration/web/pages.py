"""What is read: every GET."""

from __future__ import annotations

from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_safe

from orchestration.domain import demonstration
from orchestration.domain.rights import Action
from orchestration.domain.states import SWARM_OVER, SubtaskStatus, SwarmStatus
from orchestration.models import ModelEndpoint, Subtask, Swarm
from orchestration.web.access import (
    NEEDED,
    SignedIn,
    artifact_of,
    repositories_of,
    repository_of,
    signed_in,
    subtask_of,
    swarm_of,
    swarms_of,
)
from orchestration.web.boards import Board, Filter
from orchestration.web.downloads import artifact_response
from orchestration.web.forms import SwarmForm
from orchestration.web.limits import LimitsForm
from orchestration.web.panels import SwarmPanels
from orchestration.web.plans import PlanPage
from orchestration.web.subtask_forms import NewSubtaskForm, SubtaskForm
from orchestration.web.subtasks import SubtaskPanels

PAGE_SIZE = 100
RECENT = 10


@signed_in
@require_safe
def board(request: SignedIn) -> HttpResponse:
    chosen = filter_of(request.GET)
    context = {"board": Board(request.user, chosen), "socket": f"/ws/board/?after=0&{address_of(chosen)}".rstrip("&?")}
    return render(request, "board/board.html", context)


def filter_of(query: QueryDict) -> Filter:
    return Filter(query.get("q", "").strip()[:200], query.get("repository", "")[:12], query.get("mine") == "1")


def address_of(chosen: Filter) -> str:
    """The filter as a query string, so that the socket shows what the page shows."""
    given = {"q": chosen.text, "repository": chosen.repository, "mine": "1" if chosen.mine else ""}
    return urlencode({name: value for name, value in given.items() if value})


@signed_in
@require_safe
def new_swarm(request: SignedIn) -> HttpResponse:
    if not request.user.teams_for(Action.SUBMIT).exists():
        raise PermissionDenied(NEEDED[Action.SUBMIT])
    initial = {"repository": request.GET.get("repository", "")[:12]}
    return new_swarm_page(request, SwarmForm(user=request.user, initial=initial))


def new_swarm_page(request: SignedIn, form: SwarmForm, *, problem: str = "") -> HttpResponse:
    offered = repositories_of(request.user, Action.SUBMIT)
    context = {
        "form": form,
        "problem": problem,
        "has_repository": offered.exists(),
        "has_demo": offered.filter(is_demo=True).exists(),
        "has_model": ModelEndpoint.objects.filter(
            team__in=request.user.teams_for(Action.SUBMIT), enabled=True, is_demo=False
        ).exists(),
        "demo_label": demonstration.LABEL,
        "may_configure": request.user.teams_for(Action.CONFIGURE).exists(),
    }
    return render(request, "swarms/new.html", context, status=400 if form.is_bound else 200)


@signed_in
@require_safe
def swarm(request: SignedIn, public_id: str) -> HttpResponse:
    row = swarm_of(request.user, public_id)
    panels = SwarmPanels(row, may_steer=request.user.may(Action.STEER, row.repository.team))
    socket = f"/ws/swarms/{row.public_id}/?after={row.last_seq}"
    return render(request, "swarms/detail.html", {"swarm": row, "panels": panels, "socket": socket})


@signed_in
@require_safe
def swarm_plan(request: SignedIn, public_id: str) -> HttpResponse:
    row = swarm_of(request.user, public_id)
    plan = PlanPage(row, may_steer=request.user.may(Action.STEER, row.repository.team))
    return render(request, "swarms/plan.html", {"swarm": row, "plan": plan})


@signed_in
@require_safe
def new_subtask(request: SignedIn, public_id: str) -> HttpResponse:
    row = swarm_of(request.user, public_id, Action.STEER)
    return subtask_form_page(request, row, NewSubtaskForm(swarm=row))


@signed_in
@require_safe
def edit_subtask(request: SignedIn, public_id: str) -> HttpResponse:
    row = subtask_of(request.user, public_id, Action.STEER)
    form = SubtaskForm(swarm=row.swarm, subtask=row, initial=SubtaskForm.initial_of(row))
    return subtask_form_page(request, row.swarm, form, subtask=row)


def subtask_form_page(
    request: SignedIn, swarm: Swarm, form: SubtaskForm, *, subtask: Subtask | None = None, problem: str = ""
) -> HttpResponse:
    context = {"swarm": swarm, "form": form, "subtask": subtask, "problem": problem}
    return render(request, "swarms/subtask_form.html", context, status=400 if form.is_bound else 200)


@signed_in
@require_safe
def swarm_cancel(request: SignedIn, public_id: str) -> HttpResponse:
    row = swarm_of(request.user, public_id, Action.STEER)
    panels = SwarmPanels(row, may_steer=True)
    return render(request, "swarms/cancel.html", {"swarm": row, "panels": panels})


@signed_in
@require_safe
def swarm_limits(request: SignedIn, public_id: str) -> HttpResponse:
    row = swarm_of(request.user, public_id, Action.STEER)
    return limits_page(request, row, LimitsForm(swarm=row))


def limits_page(request: SignedIn, swarm: Swarm, form: LimitsForm, *, problem: str = "") -> HttpResponse:
    over = SwarmStatus(swarm.status) in SWARM_OVER
    context = {"swarm": swarm, "form": form, "problem": problem, "over": over}
    return render(request, "swarms/limits.html", context, status=400 if form.is_bound else 200)


@signed_in
@require_safe
def swarm_subtasks(request: SignedIn, public_id: str) -> HttpResponse:
    row = swarm_of(request.user, public_id)
    rows = Subtask.objects.filter(swarm=row).annotate(tries=Count("attempts")).order_by("pk")
    rows = rows.prefetch_related("dependencies")
    chosen = request.GET.get("state", "")
    known = chosen in set(SubtaskStatus)
    page = Paginator(rows.filter(status=chosen) if known else rows, PAGE_SIZE).get_page(request.GET.get("page"))
    counts = dict(row.subtasks.order_by().values_list("status").annotate(count=Count("pk")))
    states = [(status, counts[status]) for status in SubtaskStatus if status in counts]
    context = {"swarm": row, "page": page, "chosen": chosen if known else "", "states": states}
    return render(request, "swarms/subtasks.html", context)


@signed_in
@require_safe
def subtask(request: SignedIn, public_id: str) -> HttpResponse:
    row = subtask_of(request.user, public_id)
    chosen = request.GET.get("attempt", "")
    panels = SubtaskPanels(
        row,
        may_steer=request.user.may(Action.STEER, row.swarm.repository.team),
        number=int(chosen) if chosen.isascii() and chosen.isdigit() and len(chosen) < 6 else None,
        whole=request.GET.get("transcript") == "whole",
    )
    socket = f"/ws/swarms/{row.swarm.public_id}/?after={row.swarm.last_seq}&subtask={row.public_id}"
    socket += f"&attempt={panels.number}" if panels.number else ""
    return render(request, "subtasks/detail.html", {"subtask": row, "panels": panels, "socket": socket})


@signed_in
@require_safe
def artifact(request: SignedIn, public_id: str) -> HttpResponse:
    return artifact_response(request, artifact_of(request.user, public_id))


@signed_in
@require_safe
def repositories(request: SignedIn) -> HttpResponse:
    rows = repositories_of(request.user).annotate(swarm_count=Count("swarms")).order_by("is_demo", "name")
    may_add = request.user.teams_for(Action.CONFIGURE).exists()
    return render(request, "repositories/list.html", {"repositories": rows, "may_add": may_add})


@signed_in
@require_safe
def repository(request: SignedIn, public_id: str) -> HttpResponse:
    row = repository_of(request.user, public_id)
    endpoints = ModelEndpoint.objects.filter(team=row.team, enabled=True, is_demo=row.is_demo)
    context = {
        "repository": row,
        "swarms": swarms_of(request.user).filter(repository=row).order_by("-pk")[:RECENT],
        "endpoints": endpoints,
        "may_configure": request.user.may(Action.CONFIGURE, row.team) and not row.is_demo,
        "may_submit": request.user.may(Action.SUBMIT, row.team),
    }
    return render(request, "repositories/detail.html", context)
