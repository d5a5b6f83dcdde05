"""The merge queue's machine in gated mode: the same rules and invariants, and gates that say anything in any order.

I2 the branch never stands on a commit whose files no gate found green  I8 nobody is evicted who is not red alone on a
branch that is green without. A candidate is red where it holds what is bad, or two things that are bad together.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest import mock

from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from typing_extensions import override

from orchestration.adapters.git.session import Session
from orchestration.domain.states import ENTRY_OPEN, GateStatus
from orchestration.models import GateRun, MergeEntry, Repository, Swarm
from orchestration.stages import gate as gating
from orchestration.stages.branch import PIN, pin_of
from orchestration.stages.gate import Verdict, definition_of
from tests.stages.queue_machine import FILES, Queue, edited
from tests.stages.queue_model import Change, File, Tree, merged

BAD, LEFT, RIGHT = (b"bad alone\n", b"bad beside the right one\n", b"bad beside the left one\n")
MARKS = [BAD, BAD, LEFT, RIGHT]
ENDINGS = ["says", "says", "says", "flakes", "infra", "dies"]
MOST_ROUNDS = 100


def is_red(tree: Tree) -> bool:
    there = {mark for mark in (BAD, LEFT, RIGHT) if any(mark in file.content for file in tree.values())}
    return BAD in there or {LEFT, RIGHT} <= there


class GatedQueue(Queue):
    """Gates begin and end by rules. `proved` is what they found green, kept apart from what the queue remembers."""

    def __init__(self) -> None:
        super().__init__()
        self._set(checks=["make test"], gates_at_once=1, strict_commits=False)
        self.swarm.config |= {"gate": "gated"}
        self.swarm.save()
        self.proved: set[tuple[str, str]] = set()  # tree and definition
        self.flaked: set[str] = set()
        self.red: dict[str, bool] = {}  # by tree
        self.running: list[GateRun] = []
        self.swaps: list[tuple[str, str, str, bool]] = []

    # What agents and people do.

    @initialize(at_once=st.integers(1, 4), strict=st.booleans())
    def terms(self, at_once: int, strict: bool) -> None:
        self._set(gates_at_once=at_once, strict_commits=strict)

    @rule(mark=st.sampled_from(MARKS), file=st.sampled_from(FILES), new=st.booleans(), age=st.integers(0, 2))
    def submit_what_is_bad(self, mark: bytes, file: str, new: bool, age: int) -> None:
        parent, before = self._parent(age)
        content = File(self._new_content().content + mark)
        after = edited("add" if new else "edit", file, before, content)
        self._submit((parent, Change(before, after, self._commit(parent, before, after))), 5)

    @rule(checks=st.sampled_from(["make test", "make check"]))
    def checks_are_changed(self, checks: str) -> None:
        self._set(checks=[checks])

    @rule(strict=st.booleans())
    def terms_are_changed(self, strict: bool) -> None:
        self._set(strict_commits=strict)

    @rule(file=st.sampled_from(FILES))
    def somebody_else_breaks_the_branch(self, file: str) -> None:
        if not self._is_locked():
            self._look()
            self._push({**self.trees[self.history[-1]], file: File(self._new_content().content + BAD)})

    # What gates do.

    @rule(which=st.integers(0, 7))
    def gate_begins(self, which: int) -> None:
        waiting = self.swarm.gate_runs.filter(status=GateStatus.WAITING).select_related("swarm__repository")
        if runs := list(waiting):
            run = runs[which % len(runs)]
            if gating._claim(run):
                self.running.append(run)

    @rule(which=st.integers(0, 7), how=st.sampled_from(ENDINGS))
    def gate_ends(self, which: int, how: str) -> None:
        if self.running:
            self._end(self.running.pop(which % len(self.running)), how)

    @rule(how=st.sampled_from(ENDINGS[2:]), times=st.integers(1, 3))
    def gates_are_run(self, how: str, times: int) -> None:
        """All that wait, so often: a day on which they say what is, and one on which the machine fails."""
        for _ in range(times):
            for _ in range(self.swarm.gate_runs.filter(status=GateStatus.WAITING).count()):
                self.gate_begins(0)
            while self.running:
                self.gate_ends(0, how)
            self._rest_is_over()
            self.nudge()

    @override
    def time_passes(self, hours: int) -> None:
        super().time_passes(hours)
        self._rest_is_over()
        past = timezone.now() - timedelta(seconds=1)
        runs = self.swarm.gate_runs.filter(status=GateStatus.RUNNING)
        runs.exclude(pk__in=[run.pk for run in self.running]).update(lease_expires_at=past)
        for run in runs.filter(lease_expires_at__lte=timezone.now()).select_related("swarm"):
            gating.lose(run)

    # What must hold.

    @override
    def _look(self) -> None:
        super()._look()
        swaps, self.swaps = self.swaps, []
        for old, new, definition, strict in swaps:
            between = self.history[self.history.index(old) + 1 : self.history.index(new) + 1]
            for sha in between if strict else [new]:
                proof = (self.store.tree(sha), definition)
                assert proof in self.proved, "I2: the branch was moved to what no gate had found green"
            assert not is_red(self.trees[new]), "I2: the branch was moved to what is red"

    @override
    def _judge_rejected(self, entry: MergeEntry, change: Change) -> None:
        seen = [self.trees[sha] for sha in self.history[self.looked_from :]]
        alone = [(tree, merged(change, tree)) for tree in seen if not is_red(tree)]
        red = any(not one.sure or (one.tree is not None and is_red(one.tree)) for _, one in alone)
        assert red, f"I8: it is not red alone: {entry.status_reason}"

    @override
    def teardown(self) -> None:
        """I7: and a branch that somebody else broke is mended by somebody else."""
        for number in range(MOST_ROUNDS):
            self.time_passes(1)
            if number % 10 == 9:
                self._look()
                self._mend()
            self.gates_are_run("says", 1)
            if not self._entries(*ENTRY_OPEN).exists():
                break
        super().teardown()
        pins = [pin for pin in self.store.pins(PIN) if pin.startswith(pin_of(self.swarm, ""))]
        assert pins == [], "a candidate is kept that nobody needs"

    # How it is done.

    @override
    def nudge(self) -> None:
        with self._watched():
            super().nudge()

    @override
    def _may_fail(self) -> None:
        with self._watched():
            super()._may_fail()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Every move of the branch, with the terms on which it was made."""
        real = Session.swap

        def swap(store: Session, branch: str, new: str, old: str) -> bool:
            moved = real(store, branch, new, old)
            if moved:
                terms = Repository.objects.get(pk=self.repository.pk)
                self.swaps.append((old, new, definition_of(terms), terms.strict_commits))
            return moved

        with mock.patch.object(Session, "swap", swap):
            yield

    def _rest_is_over(self) -> None:
        Swarm.objects.filter(pk=self.swarm.pk).update(gate_not_before=None)

    def _set(self, **terms: Any) -> None:
        Repository.objects.filter(pk=self.repository.pk).update(**terms)

    def _end(self, run: GateRun, how: str) -> None:
        red = self._is_red(run)
        flakes = how == "flakes" and not red and run.tree not in self.flaked
        if how == "dies":
            return
        if how == "infra":
            gating._record(run, Verdict(GateStatus.INFRA, "No space left on device."))
        elif red or flakes:
            self.flaked |= {run.tree} if flakes else set()
            gating._record(run, Verdict(GateStatus.RED, "`make test` is red (exit code 1)."))
        else:
            self.proved.add((run.tree, run.definition))
            gating._record(run, Verdict(GateStatus.GREEN))

    def _is_red(self, run: GateRun) -> bool:
        """What its commands would say: of the files as git has them, whoever thinks what of them."""
        if run.tree not in self.red:
            words = self.store.run("grep", "-h", "^bad ", run.commit, ok=(0, 1)).stdout
            self.red[run.tree] = is_red({"all": File(words)})
        return self.red[run.tree]

    def _mend(self) -> None:
        tree = self.trees[self.history[-1]]
        if is_red(tree) and not self._is_locked():
            self._push({path: self._new_content() if is_red({path: file}) else file for path, file in tree.items()})
