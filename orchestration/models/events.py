"""The swarm's log."""

from __future__ import annotations

from django.db import models

from orchestration.domain.events import VERSION
from orchestration.models.swarms import Swarm


class Event(models.Model):
    """Append-only. `seq` comes from the swarm's row, so its order is the order of the commits."""

    swarm = models.ForeignKey(Swarm, on_delete=models.CASCADE, related_name="events")
    seq = models.PositiveBigIntegerField()
    kind = models.CharField(max_length=40)
    version = models.PositiveSmallIntegerField(default=VERSION)
    facts = models.JSONField(default=dict)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["seq"]
        constraints = [models.UniqueConstraint(fields=["swarm", "seq"], name="event_seq_unique")]
