"""What running attempts have changed so far, for the forecast of conflicts."""

from __future__ import annotations

from django.db import models

from orchestration.models.work import Attempt


class Draft(models.Model):
    """As its own process saw it between two turns. It goes with the attempt's end, or is out of date then."""

    attempt = models.OneToOneField(Attempt, on_delete=models.CASCADE, related_name="draft")
    paths = models.JSONField(default=list, help_text="Changed since its base.")
    commit = models.CharField(max_length=40, blank=True, help_text="These changes; empty: nobody else has its files.")
    warned = models.JSONField(default=list, help_text="What it was told already: who and file, or file alone.")
    warnings = models.PositiveSmallIntegerField(default=0, help_text="Messages to it about that.")
    taken_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"draft of {self.attempt}"
