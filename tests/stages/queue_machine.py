"""The merge queue against a model, on real git and a real database: whatever happens in whatever order, I1 to I8 hold.

I1 the branch only moves forward  I3 nothing is lost  I4 nothing lands twice  I5 database and git agree  I6 nothing
is silently reverted  I7 every entry comes to an end  I8 the machine's failures evict nobody. I2 is in gated_machine.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from orchestration.adapters import storage
from orchestration.adapters.git.session import Session
from orchestration.adapters.git.values import Person
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.states import ENTRY_OPEN, EntryStatus, SubtaskStatus
from orchestration.models import Attempt, Lease, MergeEntry, Repository, Swarm
from orchestration.stages.maintain import tidy
from orchestration.stages.merge import merge
from orchestration.stages.steer import retry_subtask
from orchestration.stages.transition import moves
from tests import factories
from tests.stages.queue_model import Change, File, Tree, blobs, changed, commit, merged, read, tree_of

STEPS_OF_AN_EXAMPLE = 40
STEPS = ["merge", "merge_is_faithful", "commit", "pin", "swap", "unpin"]
FILES = [f"{letter}.txt" for letter in "abcdef"]
BASE = {path: File(f"{path} as it was\n".encode()) for path in FILES}
KINDS = ["edit", "edit", "conflict", "add", "delete", "rename", "mode", "binary", "empty", "same"]
_number = count(1)
_PERSON = Person("Somebody", "somebody@example.org")


class Killed(BaseException):
    """As a kill: nothing catches it, and what it leaves is left."""


class Queue(RuleBasedStateMachine):
    """One swarm's branch. `trees` holds what every commit on it should contain."""

    repository: Repository
    base: str

    def __init__(self) -> None:
        super().__init__()
        self.store = storage.bare_repository(self.repository.public_id)
        self.swarm = factories.make_swarm(self.repository, base_sha=self.base, head_sha=self.base)
        self.store.create_branch(self.swarm.branch, self.base)
        self.trees: dict[str, Tree] = {self.base: BASE}
        self.history = [self.base]  # the branch, oldest first
        self.looked_from = 0
        self.changes: dict[str, Change] = {}  # by the entry's public id
        self.foreign: dict[str, Change] = {}  # by commit
        self.landed: dict[str, str] = {}  # by trailer
        self.ended: dict[str, str] = {}
        self.packed = False
        self._seen: tuple[str, int] = ("", -1)

    # What agents and people do.

    @rule(kind=st.sampled_from(KINDS), file=st.sampled_from(FILES), age=st.integers(0, 3), priority=st.integers(1, 9))
    def submit(self, kind: str, file: str, age: int, priority: int) -> None:
        self._submit(self._work(kind, file, age), priority)

    @rule(kind=st.sampled_from(KINDS), file=st.sampled_from(FILES))
    def push_again(self, kind: str, file: str) -> None:
        """Another attempt of a subtask that conflicted, from today's head."""
        entry = self._entries(EntryStatus.CONFLICT).first()
        if entry is None:
            return
        retry_subtask(entry.subtask, self.swarm.requester)
        with moves(self.swarm) as together:
            for to in (SubtaskStatus.ASSIGNED, SubtaskStatus.RUNNING, SubtaskStatus.HANDED_OFF):
                together.advance(entry.subtask, to)
        self._enqueue(entry.subtask, self._work(kind, file, 0), entry.priority)

    @rule()
    def cancel_one(self) -> None:
        entry = self._entries(EntryStatus.QUEUED).last()
        if entry:
            with moves(self.swarm) as together:
                together.advance(entry, EntryStatus.CANCELLED)
                together.advance(entry.subtask, SubtaskStatus.CANCELLED)

    @rule(priority=st.integers(1, 9))
    def reprioritise(self, priority: int) -> None:
        entry = self._entries(EntryStatus.QUEUED).last()
        if entry:
            MergeEntry.objects.filter(pk=entry.pk).update(priority=priority)

    @rule(file=st.sampled_from(FILES))
    def somebody_else_moves_the_branch(self, file: str) -> None:
        if self._is_locked():
            return
        self._look()
        self._push({**self.trees[self.history[-1]], file: self._new_content()})

    # What the queue does, and what is done to it.

    @rule()
    def nudge(self) -> None:
        if self._is_locked():
            self._may_fail()
        else:
            merge(self.swarm.pk)

    @rule(step=st.sampled_from(STEPS), when=st.sampled_from(["before", "after"]), nth=st.integers(1, 4))
    def crash(self, step: str, when: str, nth: int) -> None:
        def die() -> None:
            raise Killed

        try:
            with interrupted(step, when, nth, die):
                self._may_fail()
        except Killed:
            end = timezone.now() + timedelta(hours=1)  # a kill gives no lease back
            Lease.objects.filter(name=f"merge:{self.swarm.pk}").update(token="the dead one's", expires_at=end)

    @rule(step=st.sampled_from(STEPS), nth=st.integers(1, 4))
    def second_writer(self, step: str, nth: int) -> None:
        """The first one was stopped for longer than its lease, and goes on when the other has drained the queue."""

        def other() -> None:
            self._lease_runs_out()
            self._may_fail()

        with interrupted(step, "before", nth, other):
            self._may_fail()

    @rule(step=st.sampled_from(STEPS), nth=st.integers(1, 4))
    def git_fails(self, step: str, nth: int) -> None:
        def fail() -> None:
            raise AdapterError(Failure.TRANSIENT, "No space left on device.")

        with interrupted(step, "before", nth, fail):
            self._may_fail()

    @rule(age_s=st.sampled_from([0, 60]))
    def a_lock_is_left(self, age_s: int) -> None:
        self._lock.parent.mkdir(parents=True, exist_ok=True)  # packing refs leaves no empty directory
        self._lock.touch()
        os.utime(self._lock, (time.time() - age_s, time.time() - age_s))

    @rule(hours=st.integers(0, 30))
    def time_passes(self, hours: int) -> None:
        """Or the clock jumps."""
        self._lease_runs_out()
        if self._is_locked():
            os.utime(self._lock, (1, 1))
        then = timezone.now() - timedelta(hours=hours)
        MergeEntry.objects.filter(swarm=self.swarm).update(not_before=None)
        MergeEntry.objects.filter(swarm=self.swarm, pk__gt=self.swarm.pk).update(enqueued_at=then)

    @rule()
    def maintain(self) -> None:
        """Once. No precondition: what depends on how long things took must not decide which rules there are."""
        if self.packed or len(self.history) < 4:
            return
        self.packed = True
        tidy(self.store)
        self.store.pack()

    # What must hold.

    @invariant()
    def all_is_well(self) -> None:
        self._look()

    def teardown(self) -> None:
        """I7: when the machine works again, everything comes to its end."""
        for _ in range(3):
            self.time_passes(1)
            merge(self.swarm.pk)
        self._look()
        left = self._entries(*ENTRY_OPEN).values_list("subtask__name", "status", "status_reason")
        assert not list(left), "an entry never ends"

    def _look(self) -> None:
        """Nothing has to be looked at twice: what changes is on the branch or in the log."""
        tip = self.store.tip(self.swarm.branch) or ""
        head, seq = Swarm.objects.values_list("head_sha", "last_seq").get(pk=self.swarm.pk)
        if self._seen == (tip, seq):
            return
        self._follow()
        rows = dict(self.swarm.merge_entries.values_list("public_id", "status"))
        ended = {one: status for one, status in rows.items() if status not in ENTRY_OPEN}
        news = [one for one, status in ended.items() if self.ended.get(one) != status]
        for entry in self.swarm.merge_entries.filter(public_id__in=news):
            self._judge(entry)
            self.ended[entry.public_id] = entry.status
        if EntryStatus.MERGING not in rows.values():
            recorded = {public_id for public_id, status in ended.items() if status == EntryStatus.LANDED}
            assert set(self.landed) <= recorded, "I5: git has landings that the database has not"
        assert head in self.trees, "I5: the head is no commit of the branch"
        self.looked_from = len(self.history) - 1
        self._seen = (tip, seq)

    def _follow(self) -> None:
        """The commits that are new on the branch, each against the model."""
        tip = self.store.tip(self.swarm.branch) or ""
        if tip == self.history[-1]:
            return
        log = "--format=%H %P %(trailers:key=MQ-Request,valueonly,separator=%x20)"
        lines = self.store.run(
            "log", "--first-parent", "--reverse", log, f"{self.history[-1]}..{tip}"
        ).text.splitlines()
        for sha, parent, *rest in map(str.split, lines):
            assert parent == self.history[-1], "I1: the branch did not move forward"
            self.trees[sha] = self._expected(sha, self.trees[parent], rest)
            self.history.append(sha)
        assert self.history[-1] == tip, "I1: the branch is somewhere else"
        assert tree_of(self.store, tip) == blobs(self.trees[tip]), "I6: the tree is not what the changes make"

    def _expected(self, sha: str, ours: Tree, rest: list[str]) -> Tree:
        if sha in self.foreign:
            return self.foreign[sha].after
        head, public_id = rest
        assert public_id not in self.landed, "I4: it landed twice"
        change = self.changes[public_id]
        assert head == change.head, "I3: something else landed"
        self.landed[public_id] = sha
        verdict = merged(change, ours)
        if verdict.sure:
            assert verdict.tree is not None, "I6: what conflicts has landed"
            return verdict.tree
        found = read(self.store, sha)
        assert changed(ours, found) <= change.paths | changed(change.before, ours), "I6: somebody else's file changed"
        return found

    def _judge(self, entry: MergeEntry) -> None:
        """Whether the end that an entry has come to is the right one."""
        change = self.changes[entry.public_id]
        if entry.status == EntryStatus.REJECTED:
            self._judge_rejected(entry, change)
        if entry.status == EntryStatus.LANDED:
            assert entry.landed_sha in self.trees, "I5: it landed on no commit of the branch"
            if entry.public_id in self.landed:
                assert entry.landed_sha == self.landed[entry.public_id], "I5: it landed elsewhere"
            else:  # nothing was left to do
                there = self.trees[entry.landed_sha]
                verdict = merged(change, there)
                assert not verdict.sure or verdict.tree == there, "I3: it is not contained in what it says"
        if entry.status == EntryStatus.CONFLICT:
            seen = (merged(change, self.trees[sha]) for sha in self.history[self.looked_from :])
            assert any(verdict.tree is None or not verdict.sure for verdict in seen), "I8: it conflicts with nothing"
        if entry.status != EntryStatus.LANDED:
            assert entry.public_id not in self.landed, "I5: git has landed it"

    def _judge_rejected(self, entry: MergeEntry, change: Change) -> None:
        raise AssertionError(f"I8: {entry.status_reason}")

    # How it is done.

    def _entries(self, *statuses: EntryStatus) -> Any:
        return self.swarm.merge_entries.filter(status__in=statuses).select_related("subtask__swarm").order_by("pk")

    def _work(self, kind: str, file: str, age: int) -> tuple[str, Change]:
        """A change of a tree that the branch has, or had a while ago."""
        parent, before = self._parent(age)
        after = edited(kind, file, before, self._new_content())
        return parent, Change(before, after, self._commit(parent, before, after))

    def _parent(self, age: int) -> tuple[str, Tree]:
        self._follow()
        parent = self.history[max(0, len(self.history) - 1 - age)]
        return parent, self.trees[parent]

    def _commit(self, parent: str, before: Tree, after: Tree) -> str:
        return commit(self.store, parent, before, after, f"work-{next(_number)}")

    def _push(self, after: Tree) -> None:
        """By somebody else, who asks nobody."""
        tip = self.history[-1]
        before = self.trees[tip]
        change = Change(before, after, self._commit(tip, before, after))
        self.foreign[change.head] = change
        assert self.store.swap(self.swarm.branch, change.head, tip)

    def _submit(self, work: tuple[str, Change], priority: int) -> None:
        subtask = factories.make_subtask(self.swarm, name=f"t{next(_number)}", status="handed_off", priority=priority)
        self._enqueue(subtask, work, priority)

    def _enqueue(self, subtask: Any, work: tuple[str, Change], priority: int) -> None:
        parent, change = work
        number = subtask.attempts.count() + 1
        attempt = Attempt.objects.create(
            subtask=subtask, number=number, base_sha=parent, head_sha=change.head, status="complete",
            finished_at=timezone.now(),
        )  # fmt: skip
        entry = MergeEntry.objects.create(
            swarm=self.swarm, subtask=subtask, attempt=attempt, head_sha=change.head, priority=priority
        )
        self.changes[entry.public_id] = change

    @staticmethod
    def _new_content() -> File:
        return File(f"content {next(_number)}\n".encode())

    @property
    def _lock(self) -> Path:
        return self.store.path / "refs" / "heads" / f"{self.swarm.branch}.lock"

    def _is_locked(self) -> bool:
        return self._lock.exists()

    def _lease_runs_out(self) -> None:
        past = timezone.now() - timedelta(seconds=1)
        Lease.objects.filter(name=f"merge:{self.swarm.pk}").update(expires_at=past)

    def _may_fail(self) -> None:
        """For a reason that passes."""
        try:
            merge(self.swarm.pk)
        except AdapterError as error:
            if not error.transient:
                raise


def edited(kind: str, file: str, before: Tree, new: File) -> Tree:
    old = before.get(file, new)
    rest = {path: kept for path, kept in before.items() if path != file}
    mode = "100755" if old.mode == "100644" else "100644"
    after: dict[str, Tree] = {
        "edit": {**before, file: new},
        "conflict": {**before, FILES[0]: new},
        "add": {**before, f"new-{next(_number)}.txt": new},
        "delete": rest or before,
        "rename": {**rest, f"moved-{next(_number)}.txt": old},
        "mode": {**before, file: File(old.content, mode)},
        "binary": {**before, file: File(new.content + bytes(range(256)))},
        "empty": before,
        "same": {**before, file: File(b"what everybody wants\n")},
    }
    return after[kind]


@contextmanager
def interrupted(step: str, when: str, nth: int, act: Callable[[], None]) -> Iterator[None]:
    """`act` happens at the n-th call of the step, once."""
    real, calls = getattr(Session, step), count(1)

    def function(*args: Any, **kwargs: Any) -> Any:
        this_one = next(calls) == nth
        if this_one and when == "before":
            act()
        result = real(*args, **kwargs)
        if this_one and when == "after":
            act()
        return result

    with mock.patch.object(Session, step, function):
        yield


def run_machine(kind: type[Queue], examples: int) -> None:
    """In a repository of its own; each example has a branch of its own there."""
    repository = factories.make_repository()
    store = storage.bare_repository(repository.public_id)
    store.create()
    empty = store.write_object("tree", b"")
    root = store.commit(empty, [], "Begin", author=_PERSON, committer=_PERSON, when=timezone.now() - timedelta(days=1))
    base = commit(store, root, {}, BASE, "base")
    machine = type("Machine", (kind,), {"repository": repository, "base": base})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS_OF_AN_EXAMPLE,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        ),
    )
