"""Tells running agents of the conflicts that are ahead of them, each once, as messages of the merge queue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from orchestration.adapters.git.store import BareRepository
from orchestration.domain.clashes import MOST_FILES, MOST_WARNINGS, Branch, Clash, Lander, Place, untold
from orchestration.domain.errors import AdapterError, InvalidInput
from orchestration.domain.states import AttemptStatus
from orchestration.domain.texts import first_line
from orchestration.domain.warnings import MOST_DIFF, Told, warning
from orchestration.models import Draft, Handoff, Swarm
from orchestration.stages.tell import tell_of_conflict
from orchestration.stages.transition import Moves

MAX_SUMMARY = 200


class Warnings:
    """What `about` found to be new is written by `send`, in a transaction without any git in it."""

    def __init__(
        self,
        swarm: Swarm,
        store: BareRepository,
        tip: str,
        branches: Sequence[Branch],
        landers: Mapping[tuple[str, str], Lander],
    ) -> None:
        self._swarm, self._store, self._tip = swarm, store, tip
        self._branches = {one.subtask: one for one in branches}
        self._summaries = {one.subtask: one.summary for one in landers.values()}
        self._ready: list[tuple[Draft, list[str], str]] = []

    def about(self, clashes: Sequence[Clash]) -> Warnings:
        threatened = {one.subtask for one in clashes if one.is_told}
        if threatened:
            self._summaries |= self._handed_off(one.other for one in clashes if one.place is Place.QUEUED)
        for draft in self._drafts(threatened):
            new = untold(clashes, draft.attempt.subtask.public_id, draft.warned)
            if new and draft.warnings < MOST_WARNINGS:
                told = [*draft.warned, *(key for one in new for key in sorted(one.keys))]
                self._ready.append((draft, told, warning([self._told(one) for one in new])))
        return self

    def send(self, together: Moves) -> int:
        """To those that still work; how many that were."""
        sent = 0
        for draft, warned, text in self._ready:
            fresh = Draft.objects.filter(pk=draft.pk, attempt__status=AttemptStatus.RUNNING, warnings=draft.warnings)
            if fresh.update(warned=warned, warnings=draft.warnings + 1) == 1:
                tell_of_conflict(draft.attempt, text, together)
                sent += 1
        return sent

    def _drafts(self, subtasks: Iterable[str]) -> Iterable[Draft]:
        rows = Draft.objects.filter(attempt__subtask__swarm=self._swarm, attempt__status=AttemptStatus.RUNNING)
        threatened = rows.filter(attempt__subtask__public_id__in=set(subtasks)).order_by("pk")
        return threatened.select_related("attempt__subtask")

    def _handed_off(self, subtasks: Iterable[str]) -> dict[str, str]:
        rows = Handoff.objects.filter(attempt__subtask__public_id__in=set(subtasks)).order_by("pk")
        return {
            subtask: first_line(summary, MAX_SUMMARY)
            for subtask, summary in rows.values_list("attempt__subtask__public_id", "summary")
        }

    def _told(self, clash: Clash) -> Told:
        return Told(clash, self._summaries.get(clash.other, ""), self._diffs(clash))

    def _diffs(self, clash: Clash) -> dict[str, str]:
        """The other's change; of what landed, all that happened to the file since we began."""
        if clash.place is Place.LANDED:
            start, end = self._branches[clash.subtask].base, self._tip
        else:
            other = self._branches[clash.other]
            start, end = other.base, other.commit
        return {path: self._diff(start, end, path) for path in clash.paths[:MOST_FILES] if end}

    def _diff(self, start: str, end: str, path: str) -> str:
        try:
            diff = self._store.diff(start, end, path=path, max_bytes=2 * MOST_DIFF)
        except (AdapterError, InvalidInput) as error:
            return f"({error})"
        return diff[diff.find("\n@@") + 1 :] if "\n@@" in diff else diff
