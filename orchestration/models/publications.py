"""A swarm's result on its way to where it is meant to go."""

from __future__ import annotations

from django.db import models

from orchestration.domain.publishing import Landing
from orchestration.domain.states import PublicationStatus
from orchestration.models.fields import one_of, public_id, status_field
from orchestration.models.swarms import Swarm


class Publication(models.Model):
    """Intent before effect: `old` and `new` are written before a push, and what arrived is looked up afterwards."""

    public_id = public_id()
    swarm = models.OneToOneField(Swarm, on_delete=models.CASCADE, related_name="publication")
    mode = models.CharField(max_length=12)
    target = models.CharField(max_length=200, help_text="The branch that it is meant for.")
    status = status_field(PublicationStatus, PublicationStatus.PENDING)
    status_reason = models.TextField(blank=True)
    trouble = models.CharField(max_length=12, blank=True, help_text="domain.publishing.Trouble, the last one.")
    old = models.CharField(max_length=40, blank=True, help_text="Where the branch there stood; empty: it was not.")
    new = models.CharField(max_length=40, blank=True, help_text="What is to be there.")
    landed_sha = models.CharField(max_length=40, blank=True, help_text="Of ours, what the remote confirmed.")
    pull_request = models.PositiveIntegerField(null=True, blank=True, help_text="Its number.")
    url = models.URLField(max_length=500, blank=True, help_text="Of the pull request.")
    draft = models.BooleanField(default=False, help_text="That we left it as one; a person may have changed it since.")
    tries = models.PositiveIntegerField(default=0, help_text="In a row that the remote could not be reached.")
    moved = models.PositiveIntegerField(default=0, help_text="Times that the target moved under us.")
    not_before = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            one_of("status", PublicationStatus, "publication_status_known"),
            one_of("mode", Landing, "publication_mode_known"),
            models.CheckConstraint(
                condition=~models.Q(status="landed") | ~models.Q(landed_sha=""), name="landed_publication_has_sha"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.mode} to {self.target}"
