"""People and the teams that own things."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models

from orchestration.domain.rights import Action, Role, allowed, roles_for
from orchestration.models.fields import one_of, public_id


class User(AbstractUser):
    """A person. Operators are staff; everybody else acts through a team."""

    def role_in(self, team: Team) -> Role | None:
        membership = self.memberships.filter(team=team).first()
        return Role(membership.role) if membership else None

    def may(self, action: Action, team: Team) -> bool:
        return allowed(action, self.role_in(team), operator=self.is_staff)

    def teams_for(self, action: Action) -> models.QuerySet[Team]:
        """The teams in which this person may do `action`."""
        if self.is_staff:
            return Team.objects.all()
        return Team.objects.filter(memberships__user=self, memberships__role__in=roles_for(action))


class ApiToken(models.Model):
    """Lets a program act as its user, with the user's own rights. The token itself is shown once and kept nowhere."""

    public_id = public_id()
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=80)
    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the token.")
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="api_token_name_unique")]

    def __str__(self) -> str:
        return self.name


class Team(models.Model):
    public_id = public_id()
    name = models.CharField(max_length=80, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=12, choices=[(r.value, r.value) for r in Role], default=Role.MEMBER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "team"], name="one_membership_per_team"),
            one_of("role", Role, "membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.team}"
