"""Kills the merge queue, and who settles its conflicts, with -9 again and again, lets the next process go on, and
compares the database with git."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestration.adapters.git.store import BareRepository
from orchestration.domain.errors import SwarmsiteError
from orchestration.domain.merging import TRAILER
from orchestration.domain.states import EntryStatus, SubtaskStatus, SwarmStatus
from orchestration.management.bench import killing, settling
from orchestration.management.bench.killing import STEPS, Kill
from orchestration.management.bench.merging import Bench, Edits
from orchestration.management.bench.synthetic import file_name
from orchestration.models import MergeEntry, Subtask, Swarm
from orchestration.stages.maintain import maintain
from orchestration.stages.merge import merge
from orchestration.stages.transition import advance

FILES = 25
MOST_KILLS = 3  # in one round
MOST_TRIES = 100
SETTLES_EVERY = 4  # rounds
LEFT = {EntryStatus.LANDED: 7, EntryStatus.CONFLICT: 1}  # where nobody settles the conflict
SETTLED = {EntryStatus.LANDED: 8, EntryStatus.SUPERSEDED: 1}
LONG_AGO_S = 7200.0
WORK = {False: merge, True: settling.land_and_settle}


def crash(options: Mapping[str, Any]) -> dict[str, Any]:
    """Every numbered step with git's children alive and killed, then `rounds` rounds at random moments; in some of them
    conflicts are settled, too."""
    arena, began = Arena(options["seed"]), time.monotonic()
    for step in STEPS:
        for git_dies in (False, True):
            arena.play([Kill(step, 1, git_dies)])
    for number, step in enumerate(settling.STEPS):
        arena.play([Kill(step, 1, bool(number % 2))], settles=True)
    for number in range(options["rounds"]):
        settles = number % SETTLES_EVERY == 0
        arena.play(arena.random_kills(settles=settles), settles=settles)
    arena.finish()
    report = arena.report() | {"seconds": round(time.monotonic() - began, 1)}
    if arena.wrong:
        raise SwarmsiteError(f"{report}\n" + "\n".join(arena.wrong))
    return report


def edits(seed: str) -> list[Edits]:
    """Two that want the same file, two that want the same of it, and others."""
    own: list[Edits] = [{file_name(number): f"CHANGED = {seed!r}, {number}\n"} for number in range(6)]
    return [*own, {file_name(0): f"OTHERWISE = {seed!r}\n"}, own[1]]


@dataclass
class Arena:
    """One repository in which every round has a branch of its own."""

    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    at: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - a workload, no secret
        self._bench = Bench(FILES)
        self._store = self._bench.store
        self._work: Callable[[int], None] = merge
        self._longest_s = {settles: self._measure(settles=settles) for settles in (False, True)}

    def random_kills(self, *, settles: bool) -> list[Kill | float]:
        """Moments, and now and then a step in the middle of a chain or of a resolution."""
        return [self._random_kill(settles=settles) for _ in range(self._chance.randint(1, MOST_KILLS))]

    def play(self, kills: Sequence[Kill | float], *, settles: bool = False) -> None:
        """One branch: killed, taken over, killed again, taken over, and then looked at."""
        self._work = WORK[settles]
        work = edits(f"{self.seed}/{self.counts['rounds']}")
        swarm = self._bench.queue(self._bench.heads(work))
        self.counts["rounds"] += 1
        for kill in kills:
            self._kill(swarm, kill)
            self._plant_lock(swarm)
        self._recover(swarm)
        found = audit(swarm, self._store, work, SETTLED if settles else LEFT)
        self.wrong += [f"{swarm.public_id} after {kills}: {what}" for what in found]

    def finish(self) -> None:
        """When the swarms are over, what the dead left is let go; git finds nothing wrong in the whole repository."""
        for swarm in Swarm.objects.filter(status=SwarmStatus.RUNNING):
            advance(swarm, swarm, SwarmStatus.CANCELLED)
        self.counts["candidates_left"] = len(self._store.pins("candidates"))
        for path in self._locks():
            os.utime(path, (time.time() - LONG_AGO_S,) * 2)
        maintain(self._bench.repository.pk)
        self.wrong += [f"It is still there: {left}" for left in [*self._store.pins("candidates"), *self._locks()]]
        self.wrong += [f"git finds: {line}" for line in faults(self._store)]

    def report(self) -> dict[str, Any]:
        kinds = Counter(what.split(": ", 1)[1].split(" ", 1)[0] for what in self.wrong)
        found = {name: kinds[name] for name in ("lost", "twice", "disagree")}
        other = {"otherwise_wrong": len(self.wrong) - sum(found.values())}
        return dict(self.counts) | {"at": dict(sorted(self.at.items()))} | found | other

    def _measure(self, *, settles: bool) -> float:
        self._work = WORK[settles]
        swarm = self._bench.queue(self._bench.heads(edits(f"measure {settles}")))
        began = time.monotonic()
        self._recover(swarm)
        return time.monotonic() - began

    def _random_kill(self, *, settles: bool) -> Kill | float:
        if self._chance.random() < 0.25:
            steps = [*STEPS, *settling.STEPS] if settles else list(STEPS)
            return Kill(self._chance.choice(steps), self._chance.randint(1, 5), self._chance.random() < 0.5)
        return self._chance.uniform(0, self._longest_s[settles])

    def _kill(self, swarm: Swarm, kill: Kill | float) -> None:
        before, git = set(self._locks()), self._store.path
        if isinstance(kill, Kill):
            died = killing.ended(killing.start(swarm.pk, git, kill, self._work)) == -signal.SIGKILL
        else:
            git_dies = self._chance.random() < 0.5
            died, running = killing.kill_after(
                killing.start(swarm.pk, git, work=self._work), kill, git, git_dies=git_dies
            )
            self.counts["git_children_killed" if git_dies else "git_children_left_alive"] += running
        self.counts["kills" if died else "ended_before_the_kill"] += 1
        if died:
            self.at[kill.step if isinstance(kill, Kill) else "a random moment"] += 1
        self.counts["locks_left"] += len(set(self._locks()) - before)

    def _plant_lock(self, swarm: Swarm) -> None:
        if self._chance.random() < 0.3:
            names = (f"refs/heads/{swarm.branch}.lock", "packed-refs.lock", "HEAD.lock", "objects/pack/tmp_pack_dead")
            lock = self._store.path / self._chance.choice(names)
            lock.touch()
            os.utime(lock, (time.time() - LONG_AGO_S,) * 2)
            self.counts["locks_planted"] += 1

    def _locks(self) -> Iterator[Path]:
        return self._store.matching(
            "*.lock", "refs/**/*.lock", "objects/**/*.lock", "objects/pack/tmp_*", "objects/??/tmp_*"
        )

    def _recover(self, swarm: Swarm) -> None:
        """Until the queue is drained. While a git child of the dead still runs, its lock is respected; after it, time
        passes: locks are old, and what was put aside is due."""
        for _ in range(MOST_TRIES):
            if not list(killing.git_children(self._store.path)):
                for lock in self._locks():
                    os.utime(lock, (time.time() - LONG_AGO_S,) * 2)
            MergeEntry.objects.filter(swarm=swarm).update(not_before=None)
            Subtask.objects.filter(swarm=swarm).update(not_before=None)
            code = killing.ended(killing.start(swarm.pk, self._store.path, work=self._work))
            open_ones = swarm.merge_entries.filter(status__in=[EntryStatus.QUEUED, EntryStatus.MERGING])
            if code == 0 and not open_ones.exists():
                return
            self.counts["tried_again"] += 1
        self.wrong.append(f"{swarm.public_id}: lost in the queue after {MOST_TRIES} tries")


def audit(
    swarm: Swarm, store: BareRepository, work: Sequence[Edits], expected: Mapping[EntryStatus, int] = LEFT
) -> list[str]:
    """What is lost, what is there twice, and where the database and git do not agree."""
    swarm.refresh_from_db()
    tip = store.tip(swarm.branch) or ""
    entries = list(swarm.merge_entries.select_related("subtask").order_by("pk"))
    return [
        *_ended(entries, expected),
        *_lost(store, tip, entries, work),
        *_twice(swarm, store, tip),
        *_disagreeing(swarm, store, tip, entries),
    ]


def _ended(entries: Sequence[MergeEntry], expected: Mapping[EntryStatus, int]) -> Iterator[str]:
    found = Counter(EntryStatus(entry.status) for entry in entries)
    if found != Counter(expected):
        yield f"lost: the entries ended as {dict(found)}"


def _latest(entries: Sequence[MergeEntry]) -> Sequence[MergeEntry]:
    """Of each subtask, in the subtasks' order: the resolution in the place of its conflict."""
    return list({entry.subtask_id: entry for entry in entries}.values())


def _lost(store: BareRepository, tip: str, entries: Sequence[MergeEntry], work: Sequence[Edits]) -> Iterator[str]:
    history = set(store.run("rev-list", tip).text.split())
    made = list(zip(_latest(entries), work, strict=True))
    landed = [files for entry, files in made if entry.status == EntryStatus.LANDED]
    for entry, files in made:
        if entry.head_sha not in history and not store.contains(entry.head_sha):
            yield f"lost the commit of {entry.subtask.name}"
        if entry.status != EntryStatus.LANDED:
            continue
        if entry.head_sha not in history:
            yield f"lost {entry.subtask.name}: its commit is not in the history"
        for path in files:
            if _lines(store, tip, path) != sorted({each[path] for each in landed if path in each}):
                yield f"lost {entry.subtask.name}: {path} is not as it was written"


def _lines(store: BareRepository, tip: str, path: str) -> list[str]:
    """In order of their words: who lands first is not known."""
    return sorted((store.read_file(tip, path) or b"").decode().splitlines(keepends=True))


def _twice(swarm: Swarm, store: BareRepository, tip: str) -> Iterator[str]:
    landings = Counter(value for _, value in store.trailers(swarm.base_sha, tip, TRAILER))
    yield from (f"twice in the history: {name}" for name, times in landings.items() if times > 1)
    events = Counter(event.facts["id"] for event in swarm.events.filter(kind="merge_entry.landed"))
    yield from (f"twice in the log: {name}" for name, times in events.items() if times > 1)


def _disagreeing(swarm: Swarm, store: BareRepository, tip: str, entries: Sequence[MergeEntry]) -> Iterator[str]:
    if swarm.head_sha != tip:
        yield f"disagree: the head is {swarm.head_sha} and the branch is at {tip}"
    landings = {value: sha for sha, value in store.trailers(swarm.base_sha, tip, TRAILER)}
    firsts = store.run("rev-list", "--first-parent", f"{swarm.base_sha}..{tip}").text.split()
    if sorted(firsts) != sorted(landings.values()):
        yield "disagree: there are commits on the branch that are no landing"
    known = {entry.public_id: entry.landed_sha for entry in entries if entry.status == EntryStatus.LANDED}
    if not landings.items() <= known.items():
        yield "disagree: git has landings that the database has not"
    if not set(known.values()) <= {*firsts, swarm.base_sha}:
        yield "disagree: the database has landings that git has not"
    ends = {EntryStatus.LANDED: SubtaskStatus.COMPLETE, EntryStatus.CONFLICT: SubtaskStatus.CONFLICT}
    for entry in _latest(entries):
        if entry.subtask.status != ends.get(EntryStatus(entry.status)):
            yield f"disagree: {entry.subtask.name} is {entry.subtask.status} and its entry {entry.status}"


def faults(store: BareRepository) -> list[str]:
    """What git finds wrong; that our HEAD is on no branch is meant so."""
    said = store.run("fsck", "--strict", "--no-dangling", "--no-progress", ok=(0, 8), timeout_s=600)
    return [line for line in (said.text + said.stderr).splitlines() if "HEAD points to something strange" not in line]
