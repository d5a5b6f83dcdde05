"""Signing in and out, one-time links, the profile and the theme."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import login, logout, update_session_auth_hash
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm, SetPasswordForm
from django.contrib.auth.views import LoginView
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST
from typing_extensions import override

from orchestration.models import User
from orchestration.reads.sign_in import user_of_link
from orchestration.web.access import SignedIn, signed_in

BACKEND = "django.contrib.auth.backends.ModelBackend"
BY_LINK = "signed_in_by_link"
THEMES = ("light", "dark", "system")
YEAR = 365 * 24 * 3600
MOST_FAILURES = 10
FAILURES_KEPT_S = 600


class SignInForm(AuthenticationForm):
    error_messages = {
        "invalid_login": "That name and password do not go together. Mind capital letters.",
        "inactive": "This account is switched off. Ask an operator of this site.",
        "throttled": "Too many failed tries for this name. Wait ten minutes, or ask an operator for a one-time link.",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)

    @override
    def clean(self) -> dict[str, Any]:
        """Guessing is slowed by name, whatever address it comes from."""
        key = f"sign-in-failures:{str(self.cleaned_data.get('username', '')).lower()[:150]}"
        if int(cache.get(key, 0)) >= MOST_FAILURES:
            raise ValidationError(self.error_messages["throttled"], code="throttled")
        try:
            return super().clean()
        except ValidationError:
            cache.add(key, 0, FAILURES_KEPT_S)
            cache.incr(key)
            raise


class SignIn(LoginView):
    template_name = "people/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True


@never_cache
@require_http_methods(["GET", "POST"])
def sign_in_link(request: HttpRequest, key: str, token: str) -> HttpResponse:
    """A GET changes nothing: mail scanners and previews follow links, and must not use them up."""
    person = user_of_link(key, token)
    if person is None:
        return render(request, "people/link_over.html", status=410)
    if request.method == "GET":
        return render(request, "people/link.html", {"person": person})
    login(request, person, backend=BACKEND)
    request.session[BY_LINK] = True
    messages.success(request, "You are signed in. Set a password now, so that you can come back without a link.")
    return redirect("profile")


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return redirect("sign-in")


@sensitive_post_parameters()
@never_cache
@signed_in
@require_http_methods(["GET", "POST"])
def profile(request: SignedIn) -> HttpResponse:
    form = password_form(request)
    if request.method == "POST" and form.is_valid():
        form.save()
        update_session_auth_hash(request, form.user)
        request.session.pop(BY_LINK, None)
        messages.success(request, "Your password is changed. Other sessions of yours are signed out.")
        return redirect("profile")
    return profile_page(request, form)


def profile_page(
    request: SignedIn, form: SetPasswordForm[User], *, token: str = "", name: str = "", problem: str = ""
) -> HttpResponse:
    """`token` is one that was just made: this answer alone shows it. `problem` is why `name` got none."""
    memberships = request.user.memberships.select_related("team").order_by("team__name")
    tokens = request.user.api_tokens.all()
    context = {"form": form, "memberships": memberships, "tokens": tokens}
    context |= {"token": token, "token_name": name, "token_problem": problem}
    return render(request, "people/profile.html", context, status=400 if form.is_bound or problem else 200)


def password_form(request: SignedIn) -> SetPasswordForm[User]:
    """Who came by a link has no old password to give, or has forgotten it."""
    by_link = request.session.get(BY_LINK) or not request.user.has_usable_password()
    kind = SetPasswordForm if by_link else PasswordChangeForm
    given = request.POST if request.method == "POST" and request.path == reverse("profile") else None
    form: SetPasswordForm[User] = kind(request.user, given)
    form.label_suffix = ""
    return form


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    onward = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(onward, allowed_hosts={request.get_host()}):
        onward = reverse("board")
    response = redirect(onward)
    chosen = request.POST.get("theme", "")
    if chosen in THEMES:
        response.set_cookie("theme", chosen, max_age=YEAR, samesite="Lax")
    return response
