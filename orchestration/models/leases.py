"""Who is the one: the engine of a data directory, the writer of a branch."""

from __future__ import annotations

from django.db import models


class Lease(models.Model):
    """A named right to act, until it expires. `fence` rises with every new holder."""

    name = models.CharField(max_length=80, unique=True)
    token = models.CharField(max_length=40, blank=True)
    holder = models.CharField(max_length=200, blank=True, help_text="host:pid, for people.")
    fence = models.PositiveBigIntegerField(default=0)
    expires_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name
