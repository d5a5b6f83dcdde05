"""How a status looks: its word and one of nine roles. Colours and glyphs hang on the role alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestration.domain.states import (
    AttemptStatus,
    DeliveryStatus,
    EntryStatus,
    GateStatus,
    IterationStatus,
    PublicationStatus,
    QuestionStatus,
    SubtaskStatus,
    SwarmStatus,
)

ROLES = ("queued", "ready", "running", "waiting", "merging", "done", "failed", "conflict", "cancelled")


@dataclass(frozen=True)
class Look:
    role: str
    word: str


# A person who must act is amber (waiting), never red; red is for what broke.
LOOKS: Mapping[str, Look] = {
    SwarmStatus.PLANNING: Look("running", "Planning"),
    SwarmStatus.AWAITING_APPROVAL: Look("waiting", "Needs approval"),
    SwarmStatus.RUNNING: Look("running", "Running"),
    SwarmStatus.PAUSED: Look("waiting", "Paused"),
    SwarmStatus.FINALIZING: Look("merging", "Finishing"),
    SwarmStatus.SUCCEEDED: Look("done", "Succeeded"),
    SwarmStatus.PARTLY_SUCCEEDED: Look("conflict", "Partly succeeded"),
    SwarmStatus.FAILED: Look("failed", "Failed"),
    SwarmStatus.CANCELLED: Look("cancelled", "Cancelled"),
    SubtaskStatus.PENDING: Look("queued", "Pending"),
    SubtaskStatus.BLOCKED: Look("waiting", "Blocked"),
    SubtaskStatus.ASSIGNED: Look("ready", "Assigned"),
    SubtaskStatus.WAITING: Look("waiting", "Waiting"),
    SubtaskStatus.HANDED_OFF: Look("merging", "Handed off"),
    SubtaskStatus.CONFLICT: Look("conflict", "Conflict"),
    SubtaskStatus.COMPLETE: Look("done", "Complete"),
    SubtaskStatus.TIMED_OUT: Look("failed", "Timed out"),
    AttemptStatus.PARTIAL: Look("waiting", "Partial"),
    AttemptStatus.LOST: Look("conflict", "Lost"),
    EntryStatus.QUEUED: Look("queued", "Queued"),
    EntryStatus.MERGING: Look("merging", "Merging"),
    EntryStatus.GATING: Look("running", "Checking"),
    EntryStatus.LANDED: Look("done", "Landed"),
    EntryStatus.REJECTED: Look("failed", "Rejected"),
    EntryStatus.SUPERSEDED: Look("cancelled", "Superseded"),
    GateStatus.GREEN: Look("done", "Green"),
    GateStatus.RED: Look("failed", "Red"),
    GateStatus.INFRA: Look("conflict", "No verdict"),
    PublicationStatus.PUSHING: Look("merging", "Pushing"),
    PublicationStatus.REFUSED: Look("waiting", "Needs you"),
    IterationStatus.DONE: Look("done", "Done"),
    DeliveryStatus.DELIVERED: Look("running", "Delivered"),
    DeliveryStatus.ANSWERED: Look("done", "Answered"),
    DeliveryStatus.EXPIRED: Look("cancelled", "Expired"),
    QuestionStatus.OPEN: Look("waiting", "Needs an answer"),
    QuestionStatus.WITHDRAWN: Look("cancelled", "Withdrawn"),
}


def look(status: str) -> Look:
    return LOOKS[status]
