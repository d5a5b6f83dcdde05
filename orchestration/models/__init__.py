"""The rows: fields, constraints made from the domain's enums, and the reads that need one table."""

from __future__ import annotations

from orchestration.models.accounts import ApiToken, Membership, Team, User
from orchestration.models.agents import Agent
from orchestration.models.checks import CheckRun
from orchestration.models.drafts import Draft
from orchestration.models.events import Event
from orchestration.models.gates import GateRun
from orchestration.models.leases import Lease
from orchestration.models.merges import MergeEntry, Resolution
from orchestration.models.publications import Publication
from orchestration.models.repositories import ModelEndpoint, Repository
from orchestration.models.sharing import CacheEntry, SharedResult
from orchestration.models.steering import Delivery, Message, Question, Suspension
from orchestration.models.swarms import ModelCall, PlanIteration, Swarm
from orchestration.models.work import Artifact, Attempt, Handoff, Step, Subtask

__all__ = [
    "Agent",
    "ApiToken",
    "Artifact",
    "Attempt",
    "CacheEntry",
    "CheckRun",
    "Delivery",
    "Draft",
    "Event",
    "GateRun",
    "Handoff",
    "Lease",
    "Membership",
    "MergeEntry",
    "Message",
    "ModelCall",
    "ModelEndpoint",
    "PlanIteration",
    "Publication",
    "Question",
    "Repository",
    "Resolution",
    "SharedResult",
    "Step",
    "Subtask",
    "Suspension",
    "Swarm",
    "Team",
    "User",
]
