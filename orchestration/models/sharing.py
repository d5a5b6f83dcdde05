"""What agents publish to each other, and the answers that are kept to be given again."""

from __future__ import annotations

from django.db import models

from orchestration.models.repositories import Repository
from orchestration.models.swarms import Swarm
from orchestration.models.work import Attempt, Subtask


class SharedResult(models.Model):
    """A value under a key of the swarm. The subtask that took the key owns it; only its agents write it again."""

    swarm = models.ForeignKey(Swarm, on_delete=models.CASCADE, related_name="shared_results")
    key = models.CharField(max_length=200)
    value = models.JSONField(null=True)
    schema = models.JSONField(default=dict, help_text="domain.sharing.schema_of the value.")
    tags = models.JSONField(default=list)
    subtask = models.ForeignKey(Subtask, on_delete=models.CASCADE, related_name="shared_results")
    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="shared_results")
    size = models.PositiveIntegerField(help_text="Bytes of the value as JSON.")
    version = models.PositiveIntegerField(default=1, help_text="How often its owner has written it.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField()
    expires_at = models.DateTimeField(help_text="Afterwards nobody is given it, and its key is free.")

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["swarm", "key"], name="shared_result_key_unique")]
        indexes = [models.Index(fields=["expires_at"], name="shared_result_by_expiry")]  # the tick

    def __str__(self) -> str:
        return self.key


class CacheEntry(models.Model):
    """What one attempt of a research or verify subtask found, under everything that it depended on."""

    key = models.CharField(max_length=64, unique=True, help_text="domain.caching.key_of what it depended on.")
    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="cache_entries")
    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="cache_entries")
    content = models.JSONField(help_text="domain.caching.Kept: handoff, shared results, artifacts.")
    size = models.PositiveIntegerField(help_text="Bytes of the content as JSON.")
    hits = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["pk"]
        indexes = [
            models.Index(fields=["expires_at"], name="cache_entry_by_expiry"),  # the tick
            models.Index(fields=["created_at"], name="cache_entry_by_age"),  # what has to go first
        ]

    def __str__(self) -> str:
        return self.key[:12]
