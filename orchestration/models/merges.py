"""Places in the merge queue."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from orchestration.domain.states import ENTRY_OPEN, EntryStatus
from orchestration.models.fields import one_of, public_id, status_field
from orchestration.models.gates import GateRun
from orchestration.models.repositories import Repository
from orchestration.models.swarms import Swarm
from orchestration.models.work import Attempt, Subtask


class MergeEntry(models.Model):
    public_id = public_id()
    swarm = models.ForeignKey(Swarm, on_delete=models.CASCADE, related_name="merge_entries")
    subtask = models.ForeignKey(Subtask, on_delete=models.CASCADE, related_name="merge_entries")
    attempt = models.OneToOneField(Attempt, on_delete=models.CASCADE, related_name="merge_entry")
    head_sha = models.CharField(max_length=40, help_text="Exactly what will land; a newer one is another entry.")
    priority = models.PositiveSmallIntegerField(default=5)
    status = status_field(EntryStatus, EntryStatus.QUEUED)
    status_reason = models.TextField(blank=True)
    conflict_paths = models.JSONField(default=list)
    intent_old = models.CharField(max_length=40, blank=True, help_text="The tip that the intent was written for.")
    intent_new = models.CharField(max_length=40, blank=True, help_text="The commit that the tip is to become.")
    landed_sha = models.CharField(max_length=40, blank=True)
    chain_place = models.PositiveSmallIntegerField(default=0, help_text="Among those that land under one swap.")
    gated = models.BooleanField(default=False, help_text="It lands only as, or below, a commit whose gate was green.")
    gate_run = models.ForeignKey(
        GateRun, on_delete=models.RESTRICT, null=True, related_name="proves", help_text="The gate that lets it land."
    )
    infra_failures = models.PositiveSmallIntegerField(default=0)
    not_before = models.DateTimeField(null=True, blank=True, help_text="Put aside until then: the machine failed.")
    rung = models.CharField(max_length=12, blank=True, help_text="Who settles its conflict: domain.resolving.Rung.")
    guidance = models.TextField(blank=True, help_text="What a person told the agent that settles it.")
    rounds = models.PositiveSmallIntegerField(default=0, help_text="Settled conflicts before it, of the same work.")
    resolved = models.JSONField(default=list, help_text="path, mode, base, ours, theirs, blob of what was settled.")
    took = models.JSONField(default=dict, help_text="Milliseconds of each part of its landing: domain.queueing.PARTS.")
    enqueued_at = models.DateTimeField(default=timezone.now, help_text="A resolution keeps its conflict's age.")
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]
        verbose_name_plural = "merge entries"
        constraints = [
            one_of("status", EntryStatus, "entry_status_known"),
            models.UniqueConstraint(
                fields=["swarm", "chain_place"],
                condition=models.Q(status="merging"),
                name="one_merging_chain_per_branch",
            ),
            models.UniqueConstraint(
                fields=["subtask"],
                condition=models.Q(status__in=sorted(ENTRY_OPEN)),
                name="one_open_entry_per_subtask",
            ),
            models.CheckConstraint(
                condition=models.Q(gated=False)
                | ~models.Q(status__in=["merging", "landed"])
                | models.Q(gate_run__isnull=False)
                | models.Q(intent_new=models.F("intent_old")),  # it was contained already: nothing moves
                name="gated_entry_has_green_gate",
            ),
            models.CheckConstraint(
                condition=~models.Q(status="landed") | ~models.Q(landed_sha=""), name="landed_entry_has_sha"
            ),
        ]
        indexes = [models.Index(fields=["swarm", "status"], name="entry_by_status")]


class Resolution(models.Model):
    """How a conflict between exactly these contents of a file was settled, by what landed; empty: no file."""

    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="resolutions")
    base = models.CharField(max_length=40, blank=True)
    ours = models.CharField(max_length=40, blank=True)
    theirs = models.CharField(max_length=40, blank=True)
    mode = models.CharField(max_length=6, blank=True)
    blob = models.CharField(max_length=40, blank=True)
    path = models.TextField(help_text="Where it was settled first; it holds for every path.")
    uses = models.PositiveIntegerField(default=0, help_text="Landings that it settled a path of.")
    entry = models.ForeignKey(
        MergeEntry, on_delete=models.SET_NULL, null=True, related_name="+", help_text="What landed with it first."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["repository", "base", "ours", "theirs"], name="resolution_of_contents")
        ]

    def __str__(self) -> str:
        return f"{self.path}: {self.base[:8] or 'none'}, {self.ours[:8] or 'none'}, {self.theirs[:8] or 'none'}"
