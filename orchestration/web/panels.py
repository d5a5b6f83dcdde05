"""Everything the swarm page shows, read in a bounded number of queries however large the swarm is."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.utils import timezone

from orchestration.domain.states import (
    ATTEMPT_LIVE,
    ENTRY_OPEN,
    SUBTASK_SETTLED,
    SWARM_OVER,
    SubtaskStatus,
    SwarmStatus,
)
from orchestration.domain.stats import Executed, statistics
from orchestration.domain.tools import HANDOFF
from orchestration.models import Attempt, CheckRun, Event, MergeEntry, PlanIteration, Step, Subtask, Swarm
from orchestration.models.figures import executed
from orchestration.reads.results import Fetch, fetch_of
from orchestration.web import diagrams
from orchestration.web import now as moments
from orchestration.web import timeline as timelines
from orchestration.web.activity import activity
from orchestration.web.bars import Bar, bar
from orchestration.web.clashes import Ahead, ahead
from orchestration.web.gates import Gates
from orchestration.web.landings import Outlook
from orchestration.web.limits import AtLimit, at_limit
from orchestration.web.looks import look
from orchestration.web.shared import Shared
from orchestration.web.talk import Talk
from orchestration.web.words import counted, duration, span

MOST_LISTED = 60
MOST_ROWS = 40
MOST_LANDED = 5
MOST_OUTPUT = 4000
NOTHING_YET: dict[str, Any] = statistics(Executed(wall_s=0.0))
_MOVING_FIRST = {
    role: at
    for at, role in enumerate(
        ("failed", "conflict", "waiting", "running", "merging", "ready", "queued", "done", "cancelled")
    )
}


@dataclass(frozen=True)
class Line:
    """A subtask in the list twin of the plan."""

    subtask: Subtask
    needs: tuple[str, ...]
    attempts: int

    @property
    def reason(self) -> str:
        return self.subtask.status_reason or self.subtask.wait_reason


@dataclass(frozen=True)
class Place:
    """A merge entry with its position among those that still wait."""

    entry: MergeEntry
    position: int | None
    gates: str  # what they said of it


class SwarmPanels:
    """One look at a swarm. Each question is asked once; templates and the socket read from here."""

    def __init__(self, swarm: Swarm, *, may_steer: bool, now: datetime | None = None) -> None:
        self.swarm = swarm
        self.may_steer = may_steer
        self.now = now or timezone.now()

    # Rows

    @cached_property
    def subtasks(self) -> list[Subtask]:
        rows = Subtask.objects.filter(swarm=self.swarm)
        return list(rows.defer("instruction", "acceptance", "acceptance_checks", "scope"))

    @cached_property
    def by_id(self) -> dict[int, Subtask]:
        return {subtask.pk: subtask for subtask in self.subtasks}

    @cached_property
    def needs(self) -> dict[str, list[str]]:
        """Names by name."""
        found: dict[str, list[str]] = {subtask.name: [] for subtask in self.subtasks}
        through = Subtask.dependencies.through.objects.filter(from_subtask__swarm=self.swarm)
        for source, target in through.values_list("from_subtask_id", "to_subtask_id"):
            if source in self.by_id and target in self.by_id:
                found[self.by_id[source].name].append(self.by_id[target].name)
        return found

    @cached_property
    def attempts(self) -> list[Attempt]:
        rows = list(Attempt.objects.filter(subtask__swarm=self.swarm).order_by("pk"))
        for attempt in rows:
            attempt.subtask = self.by_id[attempt.subtask_id]
        return rows

    @cached_property
    def runs(self) -> dict[int, list[Attempt]]:
        found: dict[int, list[Attempt]] = defaultdict(list)
        for attempt in self.attempts:
            found[attempt.subtask_id].append(attempt)
        return found

    @cached_property
    def entries(self) -> list[MergeEntry]:
        rows = list(MergeEntry.objects.filter(swarm=self.swarm).order_by("pk"))
        for entry in rows:
            entry.subtask = self.by_id[entry.subtask_id]
        return rows

    @cached_property
    def iterations(self) -> list[PlanIteration]:
        return list(PlanIteration.objects.filter(swarm=self.swarm).defer("messages").order_by("number"))

    # Header

    @property
    def over(self) -> bool:
        return SwarmStatus(self.swarm.status) in SWARM_OVER

    @property
    def unverified(self) -> bool:
        """Never a bare "succeeded" where nothing was checked."""
        return self.over and self.swarm.verified is False and self.swarm.status == SwarmStatus.SUCCEEDED

    @property
    def is_demo(self) -> bool:
        return self.swarm.endpoint.is_demo

    @cached_property
    def bar(self) -> Bar:
        return bar(subtask.status for subtask in self.subtasks)

    @cached_property
    def live(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.status in ATTEMPT_LIVE]

    @property
    def busy(self) -> int:
        return len(self.live) + bool(self.planner)

    @cached_property
    def planner(self) -> PlanIteration | None:
        return next((one for one in self.iterations if one.status == "running"), None)

    @cached_property
    def landed(self) -> int:
        return sum(entry.status == "landed" for entry in self.entries)

    @cached_property
    def wall(self) -> float:
        return self.swarm.wall_s(self.now)

    @property
    def reason(self) -> str:
        """Why it stands as it stands; every waiting thing shows its reason."""
        if self.swarm.status_reason or self.over:
            return self.swarm.status_reason
        if self.swarm.plan_not_before and self.swarm.plan_not_before > self.now and not self.planner:
            wait = duration((self.swarm.plan_not_before - self.now).total_seconds())
            return f"The planner's last call failed; it is asked again in {wait}."
        return ""

    @property
    def happening(self) -> str:
        refused = Step.objects.filter(attempt__in=self.live, tool=HANDOFF.name, ok=False).values_list(
            "attempt", flat=True
        )
        rows = (self.subtasks, self.live, self.entries, self.gates.rows)
        return moments.told(moments.Moment(self.swarm.status, bool(self.planner), *rows, disbelieved=set(refused)))

    @cached_property
    def fetch(self) -> Fetch | None:
        """Only when it is over: until then the branch may still move."""
        return fetch_of(self.swarm) if self.over and self.landed else None

    @property
    def announcement(self) -> str:
        return f"{look(self.swarm.status).word}. {self.bar.text}."

    @property
    def urgency(self) -> str:
        """Changes when something ended well or badly: then the page says so at once."""
        return f"{self.swarm.status if self.over else 'active'}-{self.bar.broken}"

    @property
    def may_pause(self) -> bool:
        return self.may_steer and self.swarm.status in {SwarmStatus.PLANNING, SwarmStatus.RUNNING}

    @property
    def may_resume(self) -> bool:
        return self.may_steer and self.swarm.status == SwarmStatus.PAUSED

    @property
    def may_approve(self) -> bool:
        return self.may_steer and self.swarm.status == SwarmStatus.AWAITING_APPROVAL

    @cached_property
    def at_limit(self) -> list[AtLimit]:
        return at_limit(self.swarm)

    @property
    def may_cancel(self) -> bool:
        return self.may_steer and not self.over

    # Plan

    @cached_property
    def graph(self) -> diagrams.Graph:
        nodes = [self._node(subtask) for subtask in self.subtasks]
        return diagrams.layout(*diagrams.fold(nodes, self.needs, href="#plan-list"))

    def _node(self, subtask: Subtask) -> diagrams.Node:
        look_of = look(subtask.status)
        return diagrams.Node(
            subtask.name,
            subtask.name,
            look_of.role,
            look_of.word,
            detail=self._detail(subtask),
            href=f"/subtasks/{subtask.public_id}/",
        )

    def _detail(self, subtask: Subtask) -> str:
        """Short enough for a box: how often it was tried."""
        tries = len(self.runs[subtask.pk])
        return f"attempt {tries}" if tries > 1 else ""

    @cached_property
    def lines(self) -> list[Line]:
        """What moves or is broken first; a long tail of finished ones has a page of its own."""
        ordered = sorted(self.subtasks, key=lambda one: (_MOVING_FIRST[look(one.status).role], one.level, one.pk))
        chosen = ordered if len(ordered) > MOST_LISTED else self.subtasks
        return [
            Line(subtask, tuple(self.needs[subtask.name]), len(self.runs[subtask.pk]))
            for subtask in chosen[:MOST_LISTED]
        ]

    @property
    def unlisted(self) -> int:
        return len(self.subtasks) - len(self.lines)

    # Timeline

    @cached_property
    def timeline(self) -> timelines.Timeline:
        critical = set(self.critical)
        started = [subtask for subtask in self.subtasks if self.runs[subtask.pk]]
        shown = started
        if len(started) > MOST_ROWS:
            recent = sorted(started, key=lambda one: self.runs[one.pk][-1].pk)[-MOST_ROWS:]
            shown = [one for one in started if one in recent]
        rows = [self._row(subtask, critical=subtask.name in critical) for subtask in shown]
        return timelines.layout(rows, now=self.wall, over=self.over)

    @property
    def folded_rows(self) -> int:
        return sum(bool(self.runs[subtask.pk]) for subtask in self.subtasks) - len(self.timeline.rows)

    @property
    def critical(self) -> list[str]:
        return list(self.stats["critical_path"])

    def _row(self, subtask: Subtask, *, critical: bool) -> timelines.Row:
        href = f"/subtasks/{subtask.public_id}/"
        runs = tuple(self._run(attempt, href) for attempt in self.runs[subtask.pk])
        return timelines.Row(subtask.name, href, runs, critical)

    def _run(self, attempt: Attempt, href: str) -> timelines.Run:
        look_of = look(attempt.status)
        start = self._at(attempt.started_at or attempt.created_at)
        end = self._at(attempt.finished_at) if attempt.finished_at else None
        took = duration((end if end is not None else self.wall) - start)
        title = f"{attempt.subtask.name}, attempt {attempt.number}: {look_of.word.lower()}, {took}"
        return timelines.Run(start, end, look_of.role, title, f"{href}?attempt={attempt.number}")

    def _at(self, when: datetime) -> float:
        return max(0.0, (when - self.swarm.created_at).total_seconds())

    # Queue, checks, scratchpad, activity

    @cached_property
    def queue(self) -> list[Place]:
        waiting = [entry for entry in self.entries if entry.status in ENTRY_OPEN]
        waiting.sort(key=lambda entry: (entry.status == "queued", entry.priority, entry.pk))
        stuck = [entry for entry in self.entries if entry.status in {"conflict", "rejected"}]
        done = [entry for entry in self.entries if entry.status == "landed"]
        positions = {entry.pk: at for at, entry in enumerate(waiting, start=1)}
        shown = waiting + stuck + done[::-1][:MOST_LANDED]
        return [Place(entry, positions.get(entry.pk), self.gates.told(entry)) for entry in shown]

    @cached_property
    def gates(self) -> Gates:
        return Gates(self.swarm, self.entries)

    @cached_property
    def ahead(self) -> list[Ahead]:
        return ahead(self.swarm, subtasks=self.subtasks)

    @property
    def more_landed(self) -> int:
        return max(0, self.landed - MOST_LANDED)

    @property
    def waiting_to_land(self) -> int:
        return sum(entry.status in ENTRY_OPEN for entry in self.entries)

    @cached_property
    def checks(self) -> list[CheckRun]:
        runs = list(CheckRun.objects.filter(swarm=self.swarm, attempt=None).order_by("pk"))
        latest = runs[-1].sha if runs else ""
        return [run for run in runs if run.sha == latest]

    @cached_property
    def scratchpad(self) -> PlanIteration | None:
        """The planner's own: those of subplanners belong to their subtasks."""
        own = (one for one in reversed(self.iterations) if one.parent_id is None)
        return next((one for one in own if one.scratchpad), None)

    @cached_property
    def events(self) -> list[Event]:
        return activity(self.swarm, self.entries)

    @cached_property
    def shared(self) -> Shared:
        return Shared(self.swarm)

    @cached_property
    def outlook(self) -> Outlook:
        return Outlook(self.swarm, may_steer=self.may_steer)

    @cached_property
    def talk(self) -> Talk:
        return Talk(self.swarm, may_steer=self.may_steer)

    # Statistics

    @cached_property
    def stats(self) -> dict[str, Any]:
        """Written once at the end; until then reckoned from what has been done so far."""
        if self.swarm.stats:
            return NOTHING_YET | dict(self.swarm.stats)
        return statistics(
            executed(
                self.swarm,
                self.subtasks,
                self.attempts,
                needs=self.needs,
                entries=self.entries,
                iterations=self.iterations,
                now=self.now,
            )
        )

    @property
    def merges(self) -> list[tuple[str, str]]:
        """In words, for the panel; what was not measured has no line."""
        told = self.stats["merges"]
        counts = [(word.title(), str(told[word])) for word in ("landed", "conflicted", "rejected") if word in told]
        waits = [(part, told.get(f"handoff_to_landed_p{part}_s")) for part in (50, 95)]
        words = {50: "half landed within", 95: "95 of 100 within"}
        return counts + [
            (f"Handed off, {words[part]}", span(seconds)) for part, seconds in waits if seconds is not None
        ]

    @property
    def stopping(self) -> str:
        """What a cancel would stop, for the page that asks twice."""
        running = counted(len(self.live), "running agent")
        left = sum(SubtaskStatus(one.status) not in SUBTASK_SETTLED for one in self.subtasks)
        return f"{running} and {counted(left, 'subtask')} that {'is' if left == 1 else 'are'} not finished"
