"""Merges one entry after another into a chain of commits, which land together under one swap of the branch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orchestration.adapters.git.session import Session
from orchestration.adapters.git.settling import settle
from orchestration.adapters.git.values import CleanMerge, MergeConflict
from orchestration.domain.merging import landing_message
from orchestration.domain.policies import Rule, policy_for
from orchestration.models import MergeEntry
from orchestration.stages.inspection import COMMITTER
from orchestration.stages.recall import Remembered
from orchestration.stages.taking import TARGET


class Laps:
    """Milliseconds of one part after another."""

    def __init__(self) -> None:
        self.took: dict[str, float] = {}
        self._since = time.perf_counter()

    def end(self, part: str) -> None:
        now = time.perf_counter()
        self.took[part] = round(1000 * (now - self._since), 2)
        self._since = now


@dataclass(frozen=True, slots=True)
class Link:
    """An entry with the commit that will have landed it: its own, or the one that contains it already."""

    entry: MergeEntry
    old: str
    new: str
    took: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conflicted:
    entry: MergeEntry
    paths: tuple[str, ...]
    tip: str  # against which it was tried


@dataclass(frozen=True, slots=True)
class Unfaithful:
    entry: MergeEntry
    paths: tuple[str, ...]

    @property
    def reason(self) -> str:
        return f"The merge would change what nobody changed: {', '.join(self.paths[:5])}."


@dataclass(slots=True)
class Chain:
    """Grows from the branch's tip. Every commit is deterministic: the same entries on the same tip give the same."""

    store: Session
    start: str
    rules: tuple[Rule, ...]
    links: list[Link] = field(default_factory=list)

    @property
    def tip(self) -> str:
        return self.links[-1].new if self.links else self.start

    def add(self, entry: MergeEntry) -> Link | Conflicted | Unfaithful:
        """Raises AdapterError where git fails; the chain is as it was before."""
        tip, head = self.tip, entry.head_sha
        if self.store.is_ancestor(head, tip):
            return self._link(entry, tip)
        laps = Laps()
        merged, declared = self.store.merge(tip, head), frozenset[bytes]()
        remembered = Remembered(entry.subtask.swarm.repository_id)
        if isinstance(merged, MergeConflict):
            tree = settle(self.store, merged, lambda path: policy_for(path, self.rules), remembered)
            if tree is None:
                return Conflicted(entry, merged.paths, tip)
            declared = frozenset(one.raw_path for one in merged.staged)
            merged = CleanMerge(tree)
        if merged.tree == self.store.tree(tip) and entry.subtask.origin != TARGET:  # its history has to be in ours
            return self._link(entry, tip)
        laps.end("merge")
        commit = self._commit(entry, tip, merged.tree)
        laps.end("commit")
        broken = self.store.merge_is_faithful(entry.attempt.base_sha, tip, head, commit, declared=declared)
        laps.end("check")
        if broken:
            return Unfaithful(entry, broken)
        remembered.count()
        self.store.step_to(commit, head)
        return self._link(entry, commit, laps.took)

    def _link(self, entry: MergeEntry, new: str, took: Mapping[str, float] | None = None) -> Link:
        link = Link(entry, self.tip, new, took or {})
        self.links.append(link)
        return link

    def _commit(self, entry: MergeEntry, tip: str, tree: str) -> str:
        return self.store.commit(
            tree,
            (tip, entry.head_sha),
            _message(entry),
            author=COMMITTER,
            committer=COMMITTER,
            when=entry.enqueued_at,
        )


def begin(store: Session, tip: str, since: str, rules: Iterable[Rule]) -> Chain:
    if store.stands_on != tip:
        store.stand_on(tip, since)
    return Chain(store, tip, tuple(rules))


def _message(entry: MergeEntry) -> str:
    handoff = getattr(entry.attempt, "handoff", None)
    return landing_message(
        name=entry.subtask.name,
        summary=handoff.summary if handoff else "",
        entry_id=entry.public_id,
        head_sha=entry.head_sha,
    )
