"""What people say to agents while they work, and what agents ask people."""

from __future__ import annotations

from django.db import models

from orchestration.domain.states import DeliveryStatus, QuestionStatus
from orchestration.domain.steering import SYSTEM
from orchestration.models.accounts import User
from orchestration.models.fields import one_of, public_id, status_field
from orchestration.models.swarms import PlanIteration, Swarm
from orchestration.models.work import Attempt, Subtask


class Message(models.Model):
    """What a person said to the whole swarm, or to one subtask; no sender: we did. Who hears it are its deliveries."""

    public_id = public_id()
    swarm = models.ForeignKey(Swarm, on_delete=models.CASCADE, related_name="messages")
    subtask = models.ForeignKey(
        Subtask, on_delete=models.CASCADE, null=True, related_name="messages", help_text="None: the whole swarm."
    )
    sender = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    text = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"message {self.public_id}"

    @property
    def author(self) -> str:
        return self.sender.username if self.sender else SYSTEM


class Delivery(models.Model):
    """One message for one listener: the planner of the swarm, or whoever works on the subtask."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="deliveries")
    subtask = models.ForeignKey(
        Subtask, on_delete=models.CASCADE, null=True, related_name="deliveries", help_text="None: the swarm's planner."
    )
    status = status_field(DeliveryStatus, DeliveryStatus.WAITING)
    status_reason = models.TextField(blank=True)
    attempt = models.ForeignKey(
        Attempt, on_delete=models.CASCADE, null=True, related_name="heard", help_text="Whose conversation holds it."
    )
    iteration = models.ForeignKey(PlanIteration, on_delete=models.CASCADE, null=True, related_name="heard")
    only = models.ForeignKey(
        Attempt, on_delete=models.CASCADE, null=True, related_name="+", help_text="Nobody hears it after this attempt."
    )
    turn = models.PositiveIntegerField(default=0, help_text="Of that conversation, the first that it was in.")
    delivered_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    reply = models.TextField(blank=True, help_text="What the model said to the request that it was first in.")
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            one_of("status", DeliveryStatus, "delivery_status_known"),
            models.UniqueConstraint(fields=["message", "subtask"], name="delivery_once"),
            models.UniqueConstraint(
                fields=["message"], condition=models.Q(subtask=None), name="delivery_to_planner_once"
            ),
        ]
        indexes = [models.Index(fields=["subtask", "status"], name="delivery_by_subtask")]  # before every turn

    def __str__(self) -> str:
        return f"{self.message} to {self.subtask.name if self.subtask else 'the planner'}"


class Question(models.Model):
    """What agents of a swarm ask people, once however many of them ask it."""

    public_id = public_id()
    swarm = models.ForeignKey(Swarm, on_delete=models.CASCADE, related_name="questions")
    key = models.CharField(max_length=64, help_text="SHA-256 of the normalised text and options.")
    text = models.TextField()
    options = models.JSONField(default=list)
    asked_by = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="questions")
    status = status_field(QuestionStatus, QuestionStatus.OPEN)
    status_reason = models.TextField(blank=True)
    answer = models.TextField(blank=True)
    answered_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    asked_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            one_of("status", QuestionStatus, "question_status_known"),
            models.UniqueConstraint(fields=["swarm", "key"], name="question_asked_once"),
        ]
        indexes = [models.Index(fields=["status"], name="question_by_status")]  # the board and the tick

    def __str__(self) -> str:
        return f"question {self.public_id}"


class Suspension(models.Model):
    """An attempt that waits for an answer: what its agent needs to go on as if nothing had happened."""

    attempt = models.OneToOneField(Attempt, on_delete=models.CASCADE, related_name="suspension")
    call_id = models.CharField(max_length=200, help_text="Of the tool call that the answer belongs to.")
    conversation = models.JSONField(help_text="domain.context.dump of its messages, bounded and without secrets.")
    memory = models.JSONField(default=dict, help_text="What its loop counts.")
    used_s = models.FloatField(help_text="Of its time limit.")
    created_at = models.DateTimeField(auto_now_add=True)
