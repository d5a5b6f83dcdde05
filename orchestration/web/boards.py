"""The board: swarms in the order in which a person should look at them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from django.db.models import Count, Q, QuerySet

from orchestration.domain.clashes import from_rows, meetings
from orchestration.domain.rights import Action
from orchestration.domain.states import ATTEMPT_HOLDS_SLOT, SWARM_OVER, QuestionStatus, SwarmStatus
from orchestration.models import Attempt, ModelEndpoint, Question, Repository, Subtask, Swarm, User
from orchestration.reads.questions import conflicts_by_swarm
from orchestration.web.access import repositories_of, swarms_of
from orchestration.web.bars import Bar, bar

NEEDS_YOU = frozenset({SwarmStatus.AWAITING_APPROVAL, SwarmStatus.PAUSED})
MOST_DONE = 20
MOST_ACTIVE = 100


@dataclass(frozen=True)
class Filter:
    """What the address says: part of a title, a repository, only one's own."""

    text: str = ""
    repository: str = ""
    mine: bool = False

    def apply(self, swarms: QuerySet[Swarm], user: User) -> QuerySet[Swarm]:
        wanted = Q()
        if self.text:
            wanted &= Q(title__icontains=self.text) | Q(public_id__startswith=self.text)
        if self.repository:
            wanted &= Q(repository__public_id=self.repository)
        if self.mine:
            wanted &= Q(requester=user)
        return swarms.filter(wanted)

    @property
    def active(self) -> bool:
        return bool(self.text or self.repository or self.mine)


@dataclass
class Card:
    swarm: Swarm
    bar: Bar
    agents: int
    broken: int
    questions: int = 0
    conflicts: int = 0  # for a person to settle

    @property
    def ahead(self) -> int:
        """Conflicts that are foreseen; agents know of them."""
        return 0 if self.over else meetings(from_rows(self.swarm.clashes))

    @property
    def over(self) -> bool:
        return self.swarm.status in SWARM_OVER

    @property
    def took(self) -> float:
        end: datetime = self.swarm.finished_at or self.swarm.created_at
        return (end - self.swarm.created_at).total_seconds()

    @property
    def unverified(self) -> bool:
        return self.swarm.status == SwarmStatus.SUCCEEDED and self.swarm.verified is False


@dataclass
class Column:
    key: str
    title: str
    empty: str
    cards: list[Card] = field(default_factory=list)


class Board:
    def __init__(self, user: User, chosen: Filter) -> None:
        self.user = user
        self.chosen = chosen

    @cached_property
    def columns(self) -> list[Column]:
        """Every column is always there, so that the board does not jump."""
        needs = Column("needs", "Needs you", "Nothing waits for you.")
        running = Column("running", "Running", "Nothing is running.")
        done = Column("done", "Done lately", "Nothing has finished yet.")
        for swarm in self._rows:
            status = SwarmStatus(swarm.status)
            asks = status not in SWARM_OVER and (self._questions.get(swarm.pk) or self._conflicts.get(swarm.pk))
            column = needs if asks or status in NEEDS_YOU else done if status in SWARM_OVER else running
            column.cards.append(self._card(swarm))
        return [needs, running, done]

    @cached_property
    def _rows(self) -> list[Swarm]:
        visible = self.chosen.apply(swarms_of(self.user), self.user)
        active = visible.exclude(status__in=SWARM_OVER).order_by("-pk")[:MOST_ACTIVE]
        over = visible.filter(status__in=SWARM_OVER).order_by("-finished_at")[:MOST_DONE]
        return [*active, *over]

    @cached_property
    def _statuses(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = defaultdict(list)
        rows = Subtask.objects.filter(swarm__in=[swarm.pk for swarm in self._rows])
        counted = rows.order_by().values_list("swarm_id", "status").annotate(count=Count("pk"))
        for swarm, status, count in counted:
            found[swarm] += [status] * count
        return found

    @cached_property
    def _agents(self) -> dict[int, int]:
        rows = Attempt.objects.filter(
            status__in=ATTEMPT_HOLDS_SLOT, subtask__swarm__in=[swarm.pk for swarm in self._rows]
        )
        return dict(rows.order_by().values_list("subtask__swarm").annotate(count=Count("pk")))

    @cached_property
    def _questions(self) -> dict[int, int]:
        rows = Question.objects.filter(status=QuestionStatus.OPEN, swarm__in=[swarm.pk for swarm in self._rows])
        return dict(rows.order_by().values_list("swarm").annotate(count=Count("pk")))

    @cached_property
    def _conflicts(self) -> dict[int, int]:
        return conflicts_by_swarm([swarm.pk for swarm in self._rows])

    def _card(self, swarm: Swarm) -> Card:
        progress = bar(self._statuses[swarm.pk])
        questions = self._questions.get(swarm.pk, 0)
        conflicts = self._conflicts.get(swarm.pk, 0)
        return Card(swarm, progress, self._agents.get(swarm.pk, 0), progress.broken, questions, conflicts)

    @cached_property
    def repositories(self) -> list[Repository]:
        return list(repositories_of(self.user).order_by("name"))

    @cached_property
    def may_submit(self) -> bool:
        return self.user.teams_for(Action.SUBMIT).exists()

    @cached_property
    def may_configure(self) -> bool:
        return self.user.teams_for(Action.CONFIGURE).exists()

    @cached_property
    def is_fresh(self) -> bool:
        """Nobody has asked for anything yet: the page shows the first steps."""
        return not self.chosen.active and not self._rows

    @cached_property
    def demo(self) -> Repository | None:
        """The demo's repository, where this person may hand in a request for it."""
        offered = repositories_of(self.user, Action.SUBMIT).filter(is_demo=True)
        with_model = offered.filter(team__endpoints__is_demo=True, team__endpoints__enabled=True)
        return with_model.first()

    @cached_property
    def has_model(self) -> bool:
        teams = self.user.teams_for(Action.VIEW)
        return ModelEndpoint.objects.filter(team__in=teams, enabled=True, is_demo=False).exists()

    @cached_property
    def has_repository(self) -> bool:
        return any(not repository.is_demo for repository in self.repositories)

    @property
    def announcement(self) -> str:
        needs, running, _ = self.columns
        return f"{len(needs.cards)} need you, {len(running.cards)} running."

    @property
    def urgency(self) -> str:
        return ",".join(card.swarm.public_id for card in self.columns[0].cards)
