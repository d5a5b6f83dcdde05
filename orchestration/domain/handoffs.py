"""What an agent hands off, and what we make of it: done is our verdict, never the agent's word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, ValidationError

from orchestration.domain.errors import InvalidInput
from orchestration.domain.planning import MAX_TASKS_IN_PLAN, PlannedTask
from orchestration.domain.states import AttemptStatus
from orchestration.domain.texts import storable
from orchestration.domain.validation import FromModel, sentences

NOTHING_OF_ITS_OWN = "It settled its conflict by keeping what landed: nothing of its own work is left."


class Claim(StrEnum):
    COMPLETE = "complete"
    PARTIAL = "partial"
    BLOCKED = "blocked"
    FAILED = "failed"


Remark = Annotated[str, Field(max_length=4000)]


class SubmittedHandoff(FromModel):
    status: Claim
    summary: Annotated[str, Field(min_length=1, max_length=20_000)]
    concerns: Annotated[list[Remark], Field(max_length=50)] = []
    suggestions: Annotated[list[Remark], Field(max_length=50)] = []
    split: Annotated[list[PlannedTask], Field(max_length=MAX_TASKS_IN_PLAN)] = []


def parse_handoff(arguments: Mapping[str, Any]) -> SubmittedHandoff:
    """The shape of `handoff`; raises InvalidInput with what is wrong."""
    try:
        return SubmittedHandoff.model_validate(storable(arguments))
    except ValidationError as error:
        raise InvalidInput(" ".join(sentences(error))) from None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One command's end. `output` is bounded; `exit_code` is None where it was killed."""

    command: str
    exit_code: int | None
    output: str
    duration_ms: int
    limit: str = ""
    whole: str = ""  # where `output` is only a part of it

    @property
    def passed(self) -> bool:
        return self.exit_code == 0 and not self.limit

    @property
    def ending(self) -> str:
        return self.limit or f"exit code {self.exit_code}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What we found in the workspace when the agent handed off."""

    changed: bool
    marked_paths: tuple[str, ...]  # added conflict markers
    outside_paths: tuple[str, ...]  # changed, but outside the bound directory
    checks: tuple[CheckResult, ...]
    merges: bool = False  # it settles a conflict: to keep what landed, and nothing else, is an answer too
    made_up_paths: tuple[str, ...] = ()  # of a merge: that git named, because the real name was taken
    strayed_paths: tuple[str, ...] = ()  # of a merge: beside the conflict, and not as git merged them


@dataclass(frozen=True, slots=True)
class Verdict:
    status: AttemptStatus
    reason: str
    suspicious: str = ""


def objections(kind: str, evidence: Evidence) -> list[str]:
    """Why a claim of `complete` cannot be believed, a sentence each; the agent is told them and may mend."""
    found = []
    if kind == "change" and not evidence.changed and not evidence.merges:
        found.append("Nothing was changed although the subtask asks for a change.")
    if evidence.marked_paths:
        found.append(f"Conflict markers stand in {_named(evidence.marked_paths)}.")
    if evidence.outside_paths:
        found.append(f"Files outside the allowed directory were changed: {_named(evidence.outside_paths)}.")
    if evidence.made_up_paths:
        found.append(f"Git made up these names, give them others or take them away: {_named(evidence.made_up_paths)}.")
    if evidence.strayed_paths:
        found.append(
            f"These were merged without a conflict and must stay as they were: {_named(evidence.strayed_paths)}."
        )
    found += [
        f"The acceptance check `{check.command}` did not pass ({check.ending})."
        for check in evidence.checks
        if not check.passed
    ]
    return found


def verdict(claim: Claim, kind: str, evidence: Evidence) -> Verdict:
    """The attempt's status: the agent's own where it admits less than complete, otherwise what we found."""
    if claim is not Claim.COMPLETE:
        return Verdict(AttemptStatus(claim.value), f"The agent handed off as {claim}.")
    found = objections(kind, evidence)
    if found:
        return Verdict(AttemptStatus.FAILED, " ".join(found), suspicious=f"It was handed off as complete. {found[0]}")
    if evidence.merges and not evidence.changed:
        return Verdict(AttemptStatus.COMPLETE, "", suspicious=NOTHING_OF_ITS_OWN)
    thrown_away = kind != "change" and evidence.changed
    reason = f"What it changed was thrown away: a {kind} task lands nothing." if thrown_away else ""
    return Verdict(AttemptStatus.COMPLETE, reason)


def _named(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(paths[:3]) + more
