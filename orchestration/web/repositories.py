"""Connecting a repository and changing how it is worked on: tested before it is saved, then straight to a request."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from orchestration.domain.rights import Action
from orchestration.models import Repository
from orchestration.stages.adopt import save
from orchestration.stages.survey import Survey, survey
from orchestration.web.access import NEEDED, SignedIn, repository_of, require, signed_in
from orchestration.web.repository_forms import PolicyFormSet, RepositoryForm, policy_forms, rules_of
from orchestration.web.withheld import Held


@never_cache
@signed_in
@require_safe
def new_repository(request: SignedIn) -> HttpResponse:
    if not request.user.teams_for(Action.CONFIGURE).exists():
        raise PermissionDenied(NEEDED[Action.CONFIGURE])
    return _form_page(request, RepositoryForm(user=request.user), policy_forms(Repository()))


@never_cache
@signed_in
@require_safe
def edit_repository(request: SignedIn, public_id: str) -> HttpResponse:
    row = repository_of(request.user, public_id, Action.CONFIGURE)
    return _form_page(request, RepositoryForm(user=request.user, instance=row), policy_forms(row))


@sensitive_post_parameters("token")
@never_cache
@signed_in
@require_POST
def save_new_repository(request: SignedIn) -> HttpResponse:
    return _save(request, RepositoryForm(_completed(request.POST), user=request.user))


@sensitive_post_parameters("token")
@never_cache
@signed_in
@require_POST
def save_repository(request: SignedIn, public_id: str) -> HttpResponse:
    row = repository_of(request.user, public_id, Action.CONFIGURE)
    return _save(request, RepositoryForm(_completed(request.POST), user=request.user, instance=row))


def _completed(given: QueryDict) -> QueryDict:
    """Suggested checks that were ticked stand with the written ones; a test needs no name but finds one."""
    data = given.copy()
    lines = [line for line in given.get("checks", "").splitlines() if line.strip()]
    ticked = [line for line in given.getlist("suggested") if line not in lines]
    if ticked:
        data["checks"] = "\n".join([*lines, *ticked])
    if "test" in given and not given.get("name", "").strip():
        data["name"] = given.get("url", "").rstrip("/").rpartition("/")[2].removesuffix(".git")[:80]
    return data


def _save(request: SignedIn, form: RepositoryForm) -> HttpResponse:
    row = form.instance
    policies = policy_forms(row, request.POST)
    if row.is_demo or not form.is_valid() or (policies is not None and not policies.is_valid()):
        return _form_page(request, form, policies)
    require(request.user, Action.CONFIGURE, row.team)
    held = Held(request, f"repository {row.public_id if row.pk else 'new'}", row.url)
    token = held.key(form.cleaned_data["token"])
    form.settle(token)
    if form.errors:
        return _form_page(request, form, policies)
    if "test" in request.POST:
        return _tested(request, form, policies, held, token)
    is_new = row.pk is None
    if policies is not None:
        row.merge_policies = rules_of(policies)
    save(row, request.user, token)
    held.drop()
    if is_new and request.user.may(Action.SUBMIT, row.team):
        messages.success(request, f"{row.name} is connected. What should be done there?")
        return redirect(f"{reverse('new-swarm')}?repository={row.public_id}")
    messages.success(request, f"{row.name} is saved.")
    return redirect("repository", row.public_id)


def _tested(
    request: SignedIn, form: RepositoryForm, policies: PolicyFormSet | None, held: Held, token: str
) -> HttpResponse:
    found = survey(form.instance, token)
    if found.part == "token":
        held.drop()
    else:
        held.hold(form.cleaned_data["token"])
    if not found.works:
        form.add_error(found.part, found.sentence)
    return _form_page(request, form, policies, found, token_held=bool(held.name))


def _form_page(
    request: SignedIn,
    form: RepositoryForm,
    policies: PolicyFormSet | None,
    found: Survey | None = None,
    *,
    token_held: bool = False,
) -> HttpResponse:
    row = form.instance
    if row.is_demo:
        raise PermissionDenied("The demo's repository is made by the site itself and cannot be changed.")
    written = str(form["checks"].value() or "").splitlines()
    context = {
        "form": form,
        "repository": row if row.pk else None,
        "policies": policies or policy_forms(row),
        "found": found,
        "suggestions": [one for one in found.suggestions if one.command not in written] if found else [],
        "nothing_written": not any(line.strip() for line in written),
        "token_held": token_held,
        "policies_open": bool(policies and policies.is_bound and not policies.is_valid()),
    }
    wrong = bool(form.errors) or context["policies_open"]
    return render(request, "repositories/form.html", context, status=400 if wrong else 200)
