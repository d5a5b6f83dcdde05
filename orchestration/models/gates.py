"""Runs of a repository's checks that decide what lands."""

from __future__ import annotations

from django.db import models

from orchestration.domain.states import GATE_LIVE, GateStatus
from orchestration.models.fields import one_of, public_id, status_field
from orchestration.models.swarms import Swarm


class GateRun(models.Model):
    """All checks on one candidate. Verdicts are shared by candidates with the same files: what a gate sees is a tree.

    `entries` are those that the candidate holds beyond the tip, in order: their ids.
    """

    public_id = public_id()
    swarm = models.ForeignKey(Swarm, on_delete=models.CASCADE, related_name="gate_runs")
    status = status_field(GateStatus, GateStatus.WAITING)
    status_reason = models.TextField(blank=True)
    why = models.CharField(max_length=60, help_text="domain.gating.Why")
    commit = models.CharField(max_length=40)
    tree = models.CharField(max_length=40)
    tip = models.CharField(max_length=40, help_text="What the candidate grew from.")
    entries = models.JSONField(default=list)
    definition = models.CharField(max_length=64, help_text="SHA-256 of the commands and their terms.")
    flake = models.BooleanField(default=False, help_text="Red, and proved innocent by a later green.")
    results = models.JSONField(default=list, help_text="command, passed, ending, duration_ms of each.")
    log_tail = models.TextField(blank=True)
    log_sha256 = models.CharField(max_length=64, blank=True, help_text="The whole log in the blob store.")
    log_size = models.PositiveIntegerField(default=0)
    duration_ms = models.PositiveIntegerField(default=0)
    lease_token = models.CharField(max_length=40, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            one_of("status", GateStatus, "gate_status_known"),
            models.UniqueConstraint(
                fields=["swarm", "tree", "definition"],
                condition=models.Q(status__in=sorted(GATE_LIVE)),
                name="one_live_gate_per_tree",
            ),
            models.CheckConstraint(
                condition=~models.Q(status="running") | ~models.Q(lease_token=""), name="running_gate_has_lease"
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=sorted(GATE_LIVE)) | models.Q(finished_at__isnull=False),
                name="finished_gate_has_finished_at",
            ),
        ]
        indexes = [models.Index(fields=["swarm", "tree"], name="gate_by_tree")]

    def __str__(self) -> str:
        return f"gate {self.public_id}"
