"""The tokens of one's own, made and revoked on the profile page."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from orchestration.domain.errors import InvalidInput
from orchestration.stages import tokens
from orchestration.web.access import SignedIn, signed_in
from orchestration.web.people import password_form, profile_page


@never_cache
@signed_in
@require_POST
def new_token(request: SignedIn) -> HttpResponse:
    name = request.POST.get("name", "")[:200]
    try:
        token = tokens.issue(request.user, name)
    except InvalidInput as error:
        return profile_page(request, password_form(request), name=name, problem=str(error))
    return profile_page(request, password_form(request), token=token, name=name)


@signed_in
@require_POST
def revoke_token(request: SignedIn, public_id: str) -> HttpResponse:
    row = tokens.of_person(request.user, public_id)
    if row is None:
        raise Http404
    tokens.revoke(row)
    messages.success(request, f"The token {row.name} is revoked: it opens nothing any more.")
    return redirect("profile")
