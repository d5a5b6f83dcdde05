"""The merge queue's live pages. Agents at work hint all the time; only what is the queue's own makes a page look."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_

from django.db.models import Q
from typing_extensions import override

from orchestration.domain.events import BOARD_GROUP, Noun, group_of
from orchestration.models import Event, Repository, Swarm
from orchestration.web import fragments
from orchestration.web.access import repository_of, swarm_of
from orchestration.web.consumers import LivePage
from orchestration.web.queues import RepositoryQueue, SwarmQueue

MOST_ASKED = 50  # swarms at once; where more have moved, the page looks anyway
_KINDS = Q(kind__startswith=f"{Noun.ENTRY}.") | Q(kind__startswith=f"{Noun.GATE}.")
_KINDS |= Q(kind__in=["swarm.noted", "swarm.queue_paused", "swarm.queue_resumed", "swarm.forecast"])


class News:
    """What has happened in the queues of some swarms since the last time it was asked: two short questions."""

    def __init__(self, scope: Swarm | Repository) -> None:
        of = {"pk": scope.pk} if isinstance(scope, Swarm) else {"repository": scope}
        self._swarms = Swarm.objects.filter(**of).order_by()
        self._seen: Mapping[int, int] | None = None

    @property
    def total(self) -> int:
        """Grows with every event of any of them."""
        return sum((self._seen or {}).values())

    def came(self) -> bool:
        """True the first time."""
        before, self._seen = self._seen, dict(self._swarms.values_list("pk", "last_seq"))
        if before is None:
            return True
        moved = {pk: seq for pk, seq in self._seen.items() if seq > before.get(pk, 0)}
        if not moved or len(moved) > MOST_ASKED:
            return bool(moved)
        since = (Q(swarm=pk, seq__gt=before.get(pk, 0), seq__lte=seq) for pk, seq in moved.items())
        return Event.objects.filter(reduce(or_, since), _KINDS).exists()


class _Queue(LivePage):
    """Shows the same to everybody who may see it."""

    _news: News | None = None

    @property
    def public_id(self) -> str:
        return str(self.scope["url_route"]["kwargs"]["public_id"])

    def row(self) -> Swarm | Repository:
        """Raises Http404 where this person may not see it."""
        raise NotImplementedError

    @override
    def look(self) -> None:
        self.row()

    @override
    def newest(self) -> int:
        return self._news.total if self._news else 0

    @override
    def is_due(self, seq: int, *, hinted: bool) -> bool:
        """At a heartbeat too: what is put aside for a while tells nobody."""
        if self._news is None:
            self._news = News(self.row())
            return self._news.came() and self._news.total != seq
        return self._news.came() or not hinted

    @override
    def panels(self) -> tuple[int, dict[str, str]]:
        row, total = self.row(), self.newest()
        return fragments.shared((type(self), self.public_id, total), lambda: (total, rendered(row)))


class SwarmQueuePage(_Queue):
    @override
    def group_name(self) -> str:
        return group_of(self.public_id)

    @override
    def row(self) -> Swarm:
        return swarm_of(self.user, self.public_id)


class RepositoryQueuePage(_Queue):
    @override
    def group_name(self) -> str:
        """What every change of any swarm is told to: nobody is told of a repository alone."""
        return BOARD_GROUP

    @override
    def row(self) -> Repository:
        return repository_of(self.user, self.public_id)


def rendered(row: Swarm | Repository) -> dict[str, str]:
    if isinstance(row, Swarm):
        return fragments.render(fragments.QUEUE, {"queue": SwarmQueue(row)})
    return fragments.render(fragments.REPOSITORY_QUEUE, {"queue": RepositoryQueue(row)})
