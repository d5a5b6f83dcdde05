"""What a running attempt has changed so far, looked at between two of its turns, in its own process and thread.

Names first, which costs a few milliseconds and writes nothing; a commit only where somebody else has the same file.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from django.conf import settings

from orchestration.adapters.git.foreseeing import landed_since, touched
from orchestration.adapters.git.snapshots import snapshot
from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.git.values import Person
from orchestration.adapters.git.workspaces import Workspace
from orchestration.adapters.secrets import redactor
from orchestration.domain.clashes import Clash, from_rows
from orchestration.domain.errors import AdapterError, InvalidInput
from orchestration.domain.events import Stage
from orchestration.domain.states import ENTRY_OPEN, AttemptStatus
from orchestration.models import Attempt, Draft, MergeEntry, Swarm
from orchestration.models.prepared import PreparedRead
from orchestration.stages.inspection import COMMITTER
from orchestration.stages.leases import release_connection
from orchestration.stages.transition import look_again

logger = logging.getLogger(__name__)
SHARE = 20  # a look may take a twentieth of the time until the next one
AGENT = Person("draft (agent)", "agent@localhost")
_news = PreparedRead(lambda swarm: Swarm.objects.filter(pk=swarm).values_list("head_sha", "clashes"))

_waiting_to_land = PreparedRead(
    lambda swarm: (
        MergeEntry.objects.filter(swarm=swarm, status__in=ENTRY_OPEN)
        .order_by()
        .values_list("attempt__handoff__files_changed")
    )
)
_changed_by_others = PreparedRead(
    lambda swarm, attempt: (
        Draft.objects.filter(attempt__subtask__swarm=swarm, attempt__status=AttemptStatus.RUNNING)
        .exclude(attempt=attempt)
        .order_by()
        .values_list("paths")
    )
)


class Drafting:
    """Of one attempt. Of an agent that is not ours, every sign of life may mean that files have changed."""

    def __init__(
        self, store: BareRepository, workspace: Callable[[], Workspace], attempt: Attempt, *, looks: bool = True
    ) -> None:
        self._store, self._workspace, self._attempt = store, workspace, attempt
        self._swarm = attempt.subtask.swarm
        self._looks = looks and settings.SWARM["FORECAST_SECONDS"] > 0
        self._next = time.monotonic() + settings.SWARM["FORECAST_SECONDS"]
        self._changed = False
        self._seen: tuple[str, list[str], str] = ("", [], "")  # the tip, names and commit of the last look
        self.outside = False

    def changed(self) -> None:
        """The agent has done something that may have changed files."""
        self._changed = True

    def alive(self) -> None:
        if self.outside:
            self.changed()
            self.look()

    def look(self) -> None:
        """Does nothing most of the time. What fails here is tried again later, and never ends the attempt."""
        began = time.monotonic()
        if not self._looks or began < self._next:
            return
        try:
            self._look_if_due()
        except (AdapterError, InvalidInput) as error:
            logger.info("The draft of attempt %s could not be taken: %s", self._attempt.public_id, error)
        finally:
            release_connection()
        took = time.monotonic() - began
        self._next = time.monotonic() + max(settings.SWARM["FORECAST_SECONDS"], SHARE * took)

    def _look_if_due(self) -> None:
        [(tip, rows)] = _news(swarm=self._swarm.pk)
        clashes = from_rows(rows)
        if self._changed or tip != self._seen[0] or self._is_asked_for(clashes):
            self._changed = False
            self._look(tip, is_known=any(one.subtask == self._attempt.subtask.public_id for one in clashes))

    def _is_asked_for(self, clashes: list[Clash]) -> bool:
        """Somebody has a file that we have too, and nothing of ours could be merged with theirs."""
        us = self._attempt.subtask.public_id
        return any(not one.sure and us in {one.subtask, one.other} for one in clashes)

    def _look(self, tip: str, *, is_known: bool) -> None:
        paths = touched(self._store, self._workspace(), self._attempt.base_sha)
        meets = bool(paths) and not self._elsewhere(tip).isdisjoint(paths)
        commit = self._commit() if meets else ""
        paths = [] if commit is None else paths
        seen = (tip, paths, commit or "")
        if seen[1:] != self._seen[1:] or not self._seen[0]:
            _keep(Draft(attempt=self._attempt, paths=paths, commit=seen[2]))
            if meets or is_known:
                look_again(self._swarm, Stage.FORECAST)
        self._seen = seen

    def _elsewhere(self, tip: str) -> set[str]:
        """Files that landed since our base, wait to land, or are changed by others at this moment."""
        base = self._attempt.base_sha
        found = set(landed_since(self._store, [base], tip)[base]) if tip else set()
        for (names,) in (
            *_waiting_to_land(swarm=self._swarm.pk),
            *_changed_by_others(swarm=self._swarm.pk, attempt=self._attempt.pk),
        ):
            found.update(names or ())
        return found

    def _commit(self) -> str | None:
        """The same for the same content; None where nothing differs, empty where it would hold a secret of ours. It is
        pinned by nothing and lands nowhere."""
        made = snapshot(
            self._store,
            self._workspace(),
            parent=self._attempt.base_sha,
            message=f"{self._attempt.subtask.name}: draft\n",
            author=AGENT,
            committer=COMMITTER,
            when=self._attempt.started_at or self._attempt.created_at,
        )
        secrets = redactor()
        if any(map(secrets.is_in, self._store.blobs([blob for _, blob in made.written]))):
            return ""
        return made.sha if made.changed else None


def _keep(draft: Draft) -> None:
    """In place of an earlier one, of which only the warnings stay."""
    kept = ["paths", "commit", "taken_at"]
    Draft.objects.bulk_create([draft], update_conflicts=True, unique_fields=["attempt"], update_fields=kept)
