"""Lets programs act as a person: tokens made, known again, and revoked."""

from __future__ import annotations

import secrets
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from orchestration.domain.tokens import PREFIX, check_name, digest_of, looks_like_token
from orchestration.models import ApiToken, User

USED_EVERY = timedelta(minutes=1)  # how exactly the last use is told


def issue(user: User, name: str) -> str:
    """The token itself, which nobody can be shown again. Raises InvalidInput."""
    taken = set(user.api_tokens.values_list("name", flat=True))
    name = check_name(name, taken)
    token = PREFIX + secrets.token_urlsafe(32)
    try:
        with transaction.atomic():
            ApiToken.objects.create(user=user, name=name, digest=digest_of(token))
    except IntegrityError:
        check_name(name, {name})
    return token


def revoke(row: ApiToken) -> None:
    """It opens nothing from now on."""
    row.delete()


def person_of(token: str) -> User | None:
    """Whose it is; nobody's where it was revoked, or its person may not sign in any more."""
    if not looks_like_token(token):
        return None
    row = ApiToken.objects.select_related("user").filter(digest=digest_of(token), user__is_active=True).first()
    if row is None:
        return None
    now = timezone.now()
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - USED_EVERY)
    ApiToken.objects.filter(stale, pk=row.pk).update(last_used_at=now)
    return row.user


def of_person(user: User, public_id: str) -> ApiToken | None:
    return user.api_tokens.filter(public_id=public_id).first()
