"""Everything the subtask page shows: one attempt at a time, with what it said, did, changed and reported."""

from __future__ import annotations

from functools import cached_property

from orchestration.domain.states import SUBTASK_LOST, SUBTASK_SETTLED, SubtaskStatus, SwarmStatus
from orchestration.models import Artifact, Attempt, CheckRun, Event, Handoff, MergeEntry, Step, Subtask
from orchestration.reads.diffs import Diff, diff_of
from orchestration.reads.questions import conflicts_for_people
from orchestration.stages.revert import is_reverted, may_revert
from orchestration.web.clashes import Ahead, ahead
from orchestration.web.looks import look
from orchestration.web.shared import Shared
from orchestration.web.talk import Talk

MOST_STEPS = 200
MOST_EVENTS = 50


class SubtaskPanels:
    """One look at a subtask; `number` chooses the attempt, the newest where it is None or unknown."""

    def __init__(
        self,
        subtask: Subtask,
        *,
        may_steer: bool,
        number: int | None = None,
        whole: bool = False,
        draft: str = "",
    ) -> None:
        self.subtask = subtask
        self.swarm = subtask.swarm
        self.may_steer = may_steer
        self.number = number
        self.whole = whole
        self.draft = draft

    @cached_property
    def attempts(self) -> list[Attempt]:
        rows = list(Attempt.objects.filter(subtask=self.subtask).order_by("number"))
        for attempt in rows:
            attempt.subtask = self.subtask
        return rows

    @cached_property
    def attempt(self) -> Attempt | None:
        chosen = next((one for one in self.attempts if one.number == self.number), None)
        return chosen or (self.attempts[-1] if self.attempts else None)

    @property
    def reason(self) -> str:
        return self.subtask.status_reason or self.subtask.wait_reason

    @cached_property
    def needs(self) -> list[Subtask]:
        return list(self.subtask.dependencies.order_by("pk").only("public_id", "name", "status"))

    @cached_property
    def dependents(self) -> list[Subtask]:
        return list(self.subtask.dependents.order_by("pk").only("public_id", "name", "status"))

    @cached_property
    def before(self) -> Subtask | None:
        return Subtask.objects.filter(swarm=self.swarm, pk__lt=self.subtask.pk).order_by("-pk").first()

    @cached_property
    def after(self) -> Subtask | None:
        return Subtask.objects.filter(swarm=self.swarm, pk__gt=self.subtask.pk).order_by("pk").first()

    @property
    def may_retry(self) -> bool:
        swarm_goes_on = self.swarm.status in {SwarmStatus.RUNNING, SwarmStatus.PAUSED}
        retryable = (SUBTASK_LOST | {SubtaskStatus.CONFLICT}) - {SubtaskStatus.CANCELLED}
        return self.may_steer and swarm_goes_on and self.subtask.status in retryable

    @cached_property
    def ahead(self) -> list[Ahead]:
        return ahead(self.swarm, of=self.subtask)

    @cached_property
    def conflict(self) -> MergeEntry | None:
        """That waits for a person."""
        return conflicts_for_people(self.swarm).filter(subtask=self.subtask).first()

    @cached_property
    def is_reverted(self) -> bool:
        return self.subtask.status == SubtaskStatus.COMPLETE and is_reverted(self.subtask)

    @property
    def may_revert(self) -> bool:
        """A maintainer may; who is none is told so there."""
        done = self.subtask.status == SubtaskStatus.COMPLETE and self.subtask.kind == "change"
        return done and self.may_steer and may_revert(self.swarm) and not self.is_reverted

    @property
    def may_edit(self) -> bool:
        return self.may_steer and self.subtask.status == SubtaskStatus.PENDING

    @property
    def may_cancel(self) -> bool:
        settled = SUBTASK_SETTLED | {SubtaskStatus.HANDED_OFF}
        return self.may_steer and SubtaskStatus(self.subtask.status) not in settled

    @cached_property
    def entry(self) -> MergeEntry | None:
        return MergeEntry.objects.filter(attempt=self.attempt).first() if self.attempt else None

    @cached_property
    def handoff(self) -> Handoff | None:
        """The attempt's, or the sum of the parts where no agent ran."""
        if self.attempt:
            return Handoff.objects.filter(attempt=self.attempt).first()
        return self.subtask.aggregates.last()

    @cached_property
    def transcript(self) -> list[Step]:
        rows = Step.objects.filter(attempt=self.attempt).order_by("-number")
        return list(rows if self.whole else rows[:MOST_STEPS])[::-1]

    @property
    def hidden_steps(self) -> int:
        return self.transcript[0].number - 1 if self.transcript else 0

    @cached_property
    def checks(self) -> list[CheckRun]:
        return list(CheckRun.objects.filter(attempt=self.attempt)) if self.attempt else []

    @cached_property
    def artifacts(self) -> list[Artifact]:
        return list(Artifact.objects.filter(attempt=self.attempt)) if self.attempt else []

    @cached_property
    def talk(self) -> Talk:
        return Talk(self.swarm, self.subtask, may_steer=self.may_steer)

    @cached_property
    def shared(self) -> Shared:
        return Shared(self.swarm, self.subtask)

    @cached_property
    def diff(self) -> Diff | None:
        return diff_of(self.attempt) if self.attempt else None

    @cached_property
    def events(self) -> list[Event]:
        """Of this subtask alone: its own, its attempts' and its places in the queue."""
        own = Event.objects.filter(swarm=self.swarm, facts__name=self.subtask.name)
        return list(own.order_by("-seq")[:MOST_EVENTS])

    @property
    def announcement(self) -> str:
        return f"{self.subtask.name}: {look(self.subtask.status).word.lower()}."
