"""A submitted request, its planning, and what its model calls cost."""

from __future__ import annotations

from datetime import datetime

from django.db import models

from orchestration.domain.gating import FIRST_CAP
from orchestration.domain.states import SWARM_ACTIVE, IterationStatus, SwarmStatus
from orchestration.models.accounts import User
from orchestration.models.fields import money, one_of, public_id, status_field
from orchestration.models.repositories import ModelEndpoint, Repository


class SwarmQuerySet(models.QuerySet["Swarm"]):
    def active(self) -> SwarmQuerySet:
        return self.filter(status__in=SWARM_ACTIVE)

    def visible_to(self, user: User) -> SwarmQuerySet:
        if user.is_staff:
            return self
        return self.filter(repository__team__memberships__user=user)


class Swarm(models.Model):
    public_id = public_id()
    requester = models.ForeignKey(User, on_delete=models.PROTECT, related_name="swarms")
    repository = models.ForeignKey(Repository, on_delete=models.PROTECT, related_name="swarms")
    endpoint = models.ForeignKey(ModelEndpoint, on_delete=models.PROTECT, related_name="swarms")
    title = models.CharField(max_length=200)
    request = models.TextField()
    config = models.JSONField(default=dict, help_text="domain.config.SwarmConfig, every field.")
    priority = models.PositiveSmallIntegerField(default=5)

    status = status_field(SwarmStatus, SwarmStatus.PLANNING)
    status_reason = models.TextField(blank=True)
    resume_to = models.CharField(max_length=20, blank=True, help_text="What a paused swarm becomes again.")
    stopped_by = models.CharField(max_length=10, blank=True, help_text="The budget at whose end it was paused.")
    planning_done = models.BooleanField(default=False)
    planning_error = models.TextField(blank=True, help_text="Why planning ended before the planner was done.")
    plan_failures = models.PositiveSmallIntegerField(default=0, help_text="Failed planner calls in a row.")
    plan_not_before = models.DateTimeField(null=True, blank=True)
    verified = models.BooleanField(null=True, help_text="None: not over. False: the repository has no checks.")

    base_branch = models.CharField(max_length=200, blank=True)
    base_sha = models.CharField(max_length=40, blank=True)
    head_sha = models.CharField(max_length=40, blank=True)
    last_seq = models.PositiveBigIntegerField(default=0)

    gate_cap = models.PositiveSmallIntegerField(default=FIRST_CAP, help_text="Entries that are gated together.")
    gate_failures = models.PositiveSmallIntegerField(default=0, help_text="Gates in a row that the machine failed.")
    gate_not_before = models.DateTimeField(null=True, blank=True)
    queue_reason = models.TextField(blank=True, help_text="Why the merge queue stands still; a person should look.")

    clashes = models.JSONField(default=list, help_text="Who will conflict with what landed or waits, as of clashes_at.")
    clashes_at = models.CharField(max_length=80, blank=True, help_text="What of the branch the forecast was made for.")
    forecast_at = models.DateTimeField(null=True, blank=True, help_text="When the last forecast began.")
    forecasts = models.JSONField(default=dict, help_text="domain.clashes.Figures of all forecasts so far.")

    tool_calls = models.PositiveIntegerField(default=0)
    tokens = models.PositiveBigIntegerField(default=0)
    cost_usd = money()
    reserved_tokens = models.PositiveBigIntegerField(default=0, help_text="Held back for calls in flight.")
    reserved_usd = money(help_text="Held back for calls in flight.")
    stats = models.JSONField(default=dict, help_text="domain.stats, written once when the swarm is over.")

    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = SwarmQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            one_of("status", SwarmStatus, "swarm_status_known"),
            models.CheckConstraint(
                condition=models.Q(status__in=sorted(SWARM_ACTIVE)) | models.Q(finished_at__isnull=False),
                name="swarm_over_has_finished_at",
            ),
        ]
        indexes = [models.Index(fields=["status"], name="swarm_by_status")]  # the board and the tick

    def __str__(self) -> str:
        return self.title

    @property
    def branch(self) -> str:
        """The integration branch, ours alone."""
        return f"swarm/{self.public_id}"

    def wall_s(self, now: datetime) -> float:
        """Of the work: what was taken back after its end is no part of it."""
        if self.stats.get("wall_s") is not None:
            return float(self.stats["wall_s"])
        return ((self.finished_at or now) - self.created_at).total_seconds()


class PlanIteration(models.Model):
    """One call of the planner (with its repair round). At most one runs in a swarm."""

    swarm = models.ForeignKey(Swarm, on_delete=models.CASCADE, related_name="iterations")
    parent = models.ForeignKey(
        "orchestration.Subtask",
        on_delete=models.CASCADE,
        null=True,
        related_name="subplans",
        help_text="The subtask that a subplanner splits; none: the planner of the swarm.",
    )
    number = models.PositiveIntegerField()
    status = status_field(IterationStatus, IterationStatus.RUNNING)
    status_reason = models.TextField(blank=True)
    lease_token = models.CharField(max_length=40, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    scratchpad = models.TextField(blank=True)
    planner_said_done = models.BooleanField(default=False)
    repaired = models.BooleanField(default=False)
    problems = models.JSONField(default=list, help_text="What was wrong with the answer, a sentence each.")
    sent = models.JSONField(default=dict, help_text="SHA-256 of each part of the context as it was last sent.")
    messages = models.JSONField(default=list, help_text="The conversation as it stood at the end.")
    sent_characters = models.PositiveIntegerField(default=0)
    saved_characters = models.PositiveIntegerField(default=0, help_text="Of parts that had not changed.")
    steps = models.PositiveIntegerField(default=0)
    tool_calls = models.PositiveIntegerField(default=0, help_text="Its looks at the repository.")
    queued_ms = models.PositiveBigIntegerField(default=0, help_text="As an attempt's: no work.")
    handoffs_seen = models.PositiveIntegerField(default=0, help_text="How many handoffs the planner had been told.")
    tokens = models.PositiveBigIntegerField(default=0)
    cost_usd = money()
    reserved_tokens = models.PositiveBigIntegerField(default=0, help_text="Held back for its call in flight.")
    reserved_usd = money(help_text="Held back for its call in flight.")
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["number"]
        constraints = [
            one_of("status", IterationStatus, "iteration_status_known"),
            models.UniqueConstraint(fields=["swarm", "number"], name="iteration_number_unique"),
            models.UniqueConstraint(
                fields=["swarm"],
                condition=models.Q(status="running", parent=None),
                name="one_running_iteration",
            ),
            models.UniqueConstraint(
                fields=["parent"],
                condition=models.Q(status="running", parent__isnull=False),
                name="one_running_subplan",
            ),
        ]

    def __str__(self) -> str:
        return f"plan {self.number}"


class ModelCall(models.Model):
    """One call of a model service, accounted."""

    swarm = models.ForeignKey(Swarm, on_delete=models.CASCADE, related_name="model_calls")
    attempt = models.ForeignKey(
        "orchestration.Attempt", on_delete=models.CASCADE, null=True, related_name="model_calls"
    )
    endpoint = models.ForeignKey(ModelEndpoint, on_delete=models.PROTECT, related_name="calls")
    purpose = models.CharField(max_length=20)  # planner, worker
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    estimated = models.BooleanField(default=False, help_text="The service told no usage.")
    cost_usd = money()
    latency_ms = models.PositiveIntegerField(default=0)
    retries = models.PositiveSmallIntegerField(default=0)
    refused = models.PositiveSmallIntegerField(default=0, help_text="Of these, how often it was too many at once.")
    waited_ms = models.PositiveIntegerField(default=0, help_text="For a place, a pace, and between tries.")
    detour = models.TextField(blank=True, help_text="Why endpoints that come before this one did not answer.")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
