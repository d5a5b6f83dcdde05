"""What an installation has from its first start: a team, an operator, and the endpoints of the environment."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction

from orchestration.domain.rights import Role
from orchestration.models import Membership, ModelEndpoint, Team, User

TEAM = "Team"
OPERATOR = "operator"


def bootstrap() -> tuple[Team, User]:
    """The first team and its operator; made where they are missing, otherwise left as people changed them."""
    with transaction.atomic():
        operator = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
        if operator is None:
            operator = User(username=OPERATOR, is_staff=True, is_superuser=True)
            operator.set_unusable_password()
            operator.save()
        team = Team.objects.order_by("pk").first() or Team.objects.create(name=TEAM)
        Membership.objects.get_or_create(user=operator, team=team, defaults={"role": Role.OWNER})
        register_endpoints(team)
    return team, operator


def register_endpoints(team: Team) -> None:
    """The environment says where a service is and with which key; prices and limits stay as people set them."""
    for kind in ModelEndpoint.Kind:
        described = settings.SWARM[f"{kind.name}_ENDPOINT"]
        if described:
            told = {"kind": kind, "enabled": True, "address_allowed": True, "key_kept": False} | described
            ModelEndpoint.objects.update_or_create(team=team, name=kind.value, defaults=told)
