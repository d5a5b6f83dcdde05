"""The model services of one's teams: their list, the form with its test, and what is done with one."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from orchestration.domain.errors import InvalidInput
from orchestration.domain.rights import Action
from orchestration.domain.well_known import SERVICES, origin_of
from orchestration.models import ModelEndpoint
from orchestration.reads.endpoints import standings
from orchestration.stages import connect
from orchestration.stages.adopt import save
from orchestration.stages.connect import Trial
from orchestration.stages.examine import Examination
from orchestration.web.access import NEEDED, SignedIn, endpoint_of, repositories_of, require, signed_in
from orchestration.web.endpoint_forms import EndpointForm
from orchestration.web.withheld import Held

MOST_OFFERED = 60  # models as buttons; more are offered by the field itself


@signed_in
@require_safe
def endpoints(request: SignedIn) -> HttpResponse:
    teams = request.user.teams_for(Action.VIEW)
    mine = set(request.user.teams_for(Action.CONFIGURE).values_list("pk", flat=True))
    context = {
        "standings": standings(teams),
        "mine": mine,
        "many_teams": teams.count() > 1,
        "may_add": bool(mine),
        "has_repository": repositories_of(request.user).filter(is_demo=False).exists(),
    }
    return render(request, "endpoints/list.html", context)


@never_cache
@signed_in
@require_safe
def new_endpoint(request: SignedIn) -> HttpResponse:
    """First which service, then its form."""
    if not request.user.teams_for(Action.CONFIGURE).exists():
        raise PermissionDenied(NEEDED[Action.CONFIGURE])
    service = request.GET.get("service", "")
    if service not in SERVICES:
        hosted = {name: one for name, one in SERVICES.items() if not one.local}
        local = {name: one for name, one in SERVICES.items() if one.local}
        return render(request, "endpoints/choose.html", {"hosted": hosted, "local": local})
    return _form_page(request, EndpointForm(user=request.user, service=service))


@never_cache
@signed_in
@require_safe
def edit_endpoint(request: SignedIn, public_id: str) -> HttpResponse:
    row = endpoint_of(request.user, public_id, Action.CONFIGURE)
    return _form_page(request, EndpointForm(user=request.user, instance=row))


@sensitive_post_parameters("key")
@never_cache
@signed_in
@require_POST
def save_new_endpoint(request: SignedIn) -> HttpResponse:
    service = request.GET.get("service", "")
    return _save(request, EndpointForm(_chosen(request.POST), user=request.user, service=service))


@sensitive_post_parameters("key")
@never_cache
@signed_in
@require_POST
def save_endpoint(request: SignedIn, public_id: str) -> HttpResponse:
    row = endpoint_of(request.user, public_id, Action.CONFIGURE)
    return _save(request, EndpointForm(_chosen(request.POST), user=request.user, instance=row))


def _chosen(given: QueryDict) -> QueryDict:
    """One of the service's list, pressed as a button, stands for having written its name."""
    if not given.get("choose"):
        return given
    data = given.copy()
    data["model"] = str(given["choose"])
    return data


def _save(request: SignedIn, form: EndpointForm) -> HttpResponse:
    if not form.is_valid():
        return _form_page(request, form)
    row = form.instance
    require(request.user, Action.CONFIGURE, row.team)
    held = _held(request, form)
    key = held.key(form.cleaned_data["key"])
    form.settle(key)
    if form.errors:
        return _form_page(request, form)
    if form.testing:
        return _tested(request, form, held, key)
    is_new = row.pk is None
    save(row, request.user, key)
    _remember_test(request, row, held.name)
    held.drop()
    if is_new and not repositories_of(request.user).filter(is_demo=False).exists():
        messages.success(request, f"{row.name} is connected. Now the repository that it is to work on.")
        return redirect("new-repository")
    messages.success(request, f"{row.name} is saved.")
    return redirect("endpoints")


def _held(request: SignedIn, form: EndpointForm) -> Held:
    row = form.instance
    return Held(request, f"model {row.public_id if row.pk else 'new'}", origin_of(row.base_url))


def _tested(request: SignedIn, form: EndpointForm, held: Held, key: str) -> HttpResponse:
    row, typed = form.instance, form.cleaned_data["key"]
    trial = connect.try_out(row, key)
    if trial.found.part == "key":
        held.drop()
    else:
        held.hold(typed)
    if trial.found.works:
        said = {"said": str(trial.found), "latency_ms": trial.found.latency_ms}
        request.session["tested model"] = {"what": _what(row, held.name), **said}
    elif trial.found.part:
        form.add_error(trial.found.part, str(trial.found))
    return _form_page(request, form, trial, key_held=bool(held.name))


def _what(row: ModelEndpoint, key_name: str) -> list[str]:
    """What a test was of: it says nothing about anything else."""
    return [row.kind, row.base_url, row.model, key_name]


def _remember_test(request: SignedIn, row: ModelEndpoint, key_name: str) -> None:
    tested = request.session.pop("tested model", None)
    if tested and tested["what"] == _what(row, key_name):
        connect.note(row, Examination(works=True, sentences=(tested["said"],), latency_ms=tested["latency_ms"]))


def _form_page(
    request: SignedIn, form: EndpointForm, trial: Trial | None = None, *, key_held: bool = False
) -> HttpResponse:
    row = form.instance if form.instance.pk else None
    context = {
        "form": form,
        "endpoint": row,
        "service": SERVICES[form.service or "other"],
        "trial": trial,
        "offered": trial.models if trial and len(trial.models) <= MOST_OFFERED else (),
        "key_held": key_held,
        "from_environment": bool(row) and connect.from_environment(form.instance),
    }
    return render(request, "endpoints/form.html", context, status=400 if form.errors else 200)


@signed_in
@require_POST
def test_endpoint(request: SignedIn, public_id: str) -> HttpResponse:
    found = connect.test(endpoint_of(request.user, public_id, Action.CONFIGURE))
    (messages.success if found.works else messages.error)(request, str(found))
    return redirect("endpoints")


@signed_in
@require_POST
def switch_endpoint(request: SignedIn, public_id: str) -> HttpResponse:
    row = endpoint_of(request.user, public_id, Action.CONFIGURE)
    on = request.POST.get("to") == "on"
    connect.switch(row, request.user, on=on)
    said = "is on again." if on else "is off: nothing is asked of it until somebody switches it on again."
    messages.success(request, f"{row.name} {said}")
    return redirect("endpoints")


@signed_in
@require_safe
def ask_removal(request: SignedIn, public_id: str) -> HttpResponse:
    row = endpoint_of(request.user, public_id, Action.CONFIGURE)
    return render(request, "endpoints/remove.html", {"endpoint": row, "hindrance": connect.hindrance(row)})


@signed_in
@require_POST
def remove_endpoint(request: SignedIn, public_id: str) -> HttpResponse:
    row = endpoint_of(request.user, public_id, Action.CONFIGURE)
    name = row.name
    try:
        connect.remove(row, request.user)
    except InvalidInput:
        return redirect(reverse("endpoint-remove", args=[public_id]))  # which says why
    messages.success(request, f"{name} is removed, and its key with it.")
    return redirect("endpoints")
