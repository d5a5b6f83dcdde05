"""Runs of a repository's or a subtask's check commands."""

from __future__ import annotations

from django.db import models

from orchestration.models.swarms import Swarm
from orchestration.models.work import Attempt


class CheckRun(models.Model):
    """One command on one commit: acceptance of an attempt where `attempt` is set, else of the swarm's result."""

    swarm = models.ForeignKey(Swarm, on_delete=models.CASCADE, related_name="check_runs")
    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, null=True, related_name="check_runs")
    sha = models.CharField(max_length=40)
    command = models.TextField()
    passed = models.BooleanField()
    exit_code = models.IntegerField(null=True)
    output = models.TextField(blank=True)
    duration_ms = models.PositiveIntegerField(default=0)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
