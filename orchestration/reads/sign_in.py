"""One-time links: they let their person in once and end with the first sign-in or after a day."""

from __future__ import annotations

from django.contrib.auth.tokens import default_token_generator
from django.urls import reverse
from django.utils.encoding import force_bytes, force_str
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

from orchestration.models import User


def one_time_path(user: User) -> str:
    """The path of a link that signs `user` in once. Its token covers the last sign-in, which ends it."""
    key = urlsafe_base64_encode(force_bytes(user.pk))
    return reverse("sign-in-link", args=[key, default_token_generator.make_token(user)])


def user_of_link(key: str, token: str) -> User | None:
    """None for a link that was used, has run out or never was one."""
    try:
        user = User.objects.get(pk=int(force_str(urlsafe_base64_decode(key))), is_active=True)
    except (User.DoesNotExist, ValueError, OverflowError):
        return None
    return user if default_token_generator.check_token(user, token) else None
