"""The plan's nodes, the runs of them, and what the runs produced."""

from __future__ import annotations

from django.db import models

from orchestration.domain.states import ATTEMPT_LIVE, AttemptStatus, SubtaskStatus
from orchestration.models.fields import money, one_of, public_id, status_field
from orchestration.models.swarms import PlanIteration, Swarm


class Subtask(models.Model):
    public_id = public_id()
    swarm = models.ForeignKey(Swarm, on_delete=models.CASCADE, related_name="subtasks")
    iteration = models.ForeignKey(PlanIteration, on_delete=models.PROTECT, related_name="subtasks")
    name = models.CharField(max_length=50)
    instruction = models.TextField()
    acceptance = models.TextField(blank=True)
    acceptance_checks = models.JSONField(default=list)
    scope = models.JSONField(default=list)
    priority = models.PositiveSmallIntegerField(default=5)
    specialty = models.CharField(max_length=80, blank=True)
    kind = models.CharField(max_length=10, default="change")
    decompose = models.BooleanField(default=False, help_text="The planner wants a subplanner to split it.")
    parent = models.ForeignKey(
        "self", on_delete=models.CASCADE, null=True, related_name="children", help_text="Whose subplan it is part of."
    )
    depth = models.PositiveSmallIntegerField(default=0, help_text="How many subplans it lies in.")
    level = models.PositiveSmallIntegerField(default=0, help_text="Longest chain of dependencies before it.")
    dependencies = models.ManyToManyField("self", symmetrical=False, related_name="dependents", blank=True)

    origin = models.CharField(
        max_length=8,
        blank=True,
        help_text="Ours: target (what others pushed meanwhile), or revert. Empty: planned.",
    )
    reverts = models.ManyToManyField(
        "self", symmetrical=False, related_name="reverted_by", blank=True, help_text="Whose landings it takes back."
    )

    status = status_field(SubtaskStatus, SubtaskStatus.PENDING)
    status_reason = models.TextField(blank=True)
    cache = models.CharField(max_length=4, blank=True, help_text="hit or miss; empty: the cache was not asked.")
    wait_reason = models.TextField(blank=True, help_text="Why a pending subtask does not run yet.")
    not_before = models.DateTimeField(null=True, blank=True, help_text="When a retry may start.")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            one_of("status", SubtaskStatus, "subtask_status_known"),
            models.UniqueConstraint(fields=["swarm", "name"], name="subtask_name_unique"),
            models.CheckConstraint(
                condition=models.Q(kind__in=["change", "verify", "research"]), name="subtask_kind_known"
            ),
            models.CheckConstraint(
                condition=models.Q(origin__in=["", "target", "revert"]), name="subtask_origin_known"
            ),
            models.CheckConstraint(
                condition=models.Q(priority__gte=1, priority__lte=10), name="subtask_priority_in_range"
            ),
        ]
        indexes = [models.Index(fields=["swarm", "status"], name="subtask_by_status")]

    def __str__(self) -> str:
        return self.name


class Attempt(models.Model):
    """One run of a subtask by an agent; append-only, a retry is another row."""

    public_id = public_id()
    subtask = models.ForeignKey(Subtask, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    status = status_field(AttemptStatus, AttemptStatus.ASSIGNED)
    status_reason = models.TextField(blank=True)
    failure = models.CharField(max_length=10, blank=True, help_text="domain.errors.Failure of a failed attempt.")
    cached_from = models.CharField(
        max_length=12, blank=True, help_text="The attempt whose result the cache gave; empty: an agent ran."
    )
    agent = models.CharField(max_length=160, blank=True, help_text="Who worked; empty: our own agent.")
    resolves = models.ForeignKey(
        "orchestration.MergeEntry",
        on_delete=models.SET_NULL,
        null=True,
        related_name="resolutions",
        help_text="Whose conflict with what landed it settles; none: it does the subtask's own work.",
    )
    rung = models.CharField(max_length=12, blank=True, help_text="domain.resolving.Rung of a resolution.")
    lease_token = models.CharField(max_length=40, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)

    base_sha = models.CharField(max_length=40, blank=True)
    head_sha = models.CharField(max_length=40, blank=True, help_text="Its work as a commit, whatever the end was.")
    steps = models.PositiveIntegerField(default=0, help_text="Model turns.")
    tool_calls = models.PositiveIntegerField(default=0)
    tokens = models.PositiveBigIntegerField(default=0)
    cost_usd = money()
    reserved_tokens = models.PositiveBigIntegerField(default=0, help_text="Held back for its calls in flight.")
    reserved_usd = money(help_text="Held back for its calls in flight.")
    reserved_steps = models.PositiveIntegerField(default=0, help_text="Its calls in flight through the HTTP gateway.")
    gateway_hash = models.CharField(max_length=64, blank=True, help_text="SHA-256 of its token for the HTTP gateway.")
    doing = models.CharField(max_length=200, blank=True, help_text="The last tool call, for the page.")
    last_sign_at = models.DateTimeField(null=True, blank=True, help_text="Last evidence of progress.")
    question = models.ForeignKey(
        "orchestration.Question",
        on_delete=models.SET_NULL,
        null=True,
        related_name="askers",
        help_text="Whose answer it waits for, or waited for last.",
    )
    waiting_since = models.DateTimeField(null=True, blank=True, help_text="Set while it waits for a person.")
    waited_ms = models.PositiveBigIntegerField(default=0, help_text="What its waits for people took: no work.")
    queued_ms = models.PositiveBigIntegerField(
        default=0, help_text="What its model calls waited for a place, a pace, a budget or another try: no work."
    )

    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            one_of("status", AttemptStatus, "attempt_status_known"),
            models.UniqueConstraint(fields=["subtask", "number"], name="attempt_number_unique"),
            models.UniqueConstraint(
                fields=["subtask"], condition=models.Q(status__in=sorted(ATTEMPT_LIVE)), name="one_live_attempt"
            ),
            models.CheckConstraint(
                condition=~models.Q(status="running") | ~models.Q(lease_token=""),
                name="running_attempt_has_lease",
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=sorted(ATTEMPT_LIVE)) | models.Q(finished_at__isnull=False),
                name="finished_attempt_has_finished_at",
            ),
        ]
        indexes = [models.Index(fields=["status"], name="attempt_by_status")]  # the tick

    def __str__(self) -> str:
        return f"attempt {self.number}"


class Step(models.Model):
    """One line of an attempt's transcript: what the model said, or one tool call with its result."""

    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="transcript")
    number = models.PositiveIntegerField()
    turn = models.PositiveIntegerField()
    tool = models.CharField(max_length=64, blank=True, help_text="Empty: the model's own words.")
    arguments = models.JSONField(default=dict)
    text = models.TextField(blank=True, help_text="The model's words, or the tool's result (bounded).")
    ok = models.BooleanField(default=True)
    duration_ms = models.PositiveIntegerField(default=0)
    tokens = models.PositiveIntegerField(default=0)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["attempt", "number"], name="step_number_unique")]


class Handoff(models.Model):
    """What an attempt reports: the agent's words, and beside them what we measured. Of a subtask that was split,
    the aggregate of its parts: then it has no attempt."""

    attempt = models.OneToOneField(Attempt, on_delete=models.CASCADE, null=True, related_name="handoff")
    parent = models.ForeignKey(
        Subtask, on_delete=models.CASCADE, null=True, related_name="aggregates", help_text="Whose parts these are."
    )
    status = models.CharField(max_length=10)  # as the agent said: complete, partial, blocked, failed
    summary = models.TextField()
    concerns = models.JSONField(default=list)
    suggestions = models.JSONField(default=list)
    suspicious = models.TextField(blank=True, help_text="Why its word is doubted; empty: it is not.")
    files_changed = models.JSONField(default=list)
    insertions = models.PositiveIntegerField(default=0)
    deletions = models.PositiveIntegerField(default=0)
    duration_ms = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(attempt__isnull=False, parent__isnull=True)
                | models.Q(attempt__isnull=True, parent__isnull=False),
                name="handoff_of_attempt_or_parts",
            ),
        ]

    @property
    def subtask(self) -> Subtask:
        """Whose work is reported."""
        if self.parent:
            return self.parent
        assert self.attempt is not None  # noqa: S101 - for the type checker: the database demands one of the two
        return self.attempt.subtask

    @property
    def ending(self) -> str:
        """How it ended: our verdict on an attempt, the sum of the parts of a subtask that was split."""
        return self.attempt.status if self.attempt else self.status


class Artifact(models.Model):
    """A named piece of content; the bytes lie in the blob store under their SHA-256."""

    public_id = public_id()
    swarm = models.ForeignKey(Swarm, on_delete=models.CASCADE, related_name="artifacts")
    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, null=True, related_name="artifacts")
    type = models.CharField(max_length=40)
    name = models.CharField(max_length=200)
    mime = models.CharField(max_length=100)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
