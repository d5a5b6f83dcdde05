"""How fast the real merge queue lands, beside git's own plumbing in the same repository and the same run."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from orchestration.adapters import storage
from orchestration.adapters.git.runner import run_git
from orchestration.adapters.git.store import BareRepository
from orchestration.domain.errors import SwarmsiteError
from orchestration.domain.states import AttemptStatus, EntryStatus, IterationStatus, SubtaskStatus, SwarmStatus
from orchestration.management.bench.synthetic import IDENTITY, file_name, make_repository
from orchestration.management.bootstrap import bootstrap
from orchestration.models import Attempt, Handoff, MergeEntry, ModelEndpoint, PlanIteration, Repository, Subtask, Swarm
from orchestration.stages.leases import lease_end, new_token
from orchestration.stages.merge import merge as drain
from orchestration.stages.transition import moves

FILES = 2000
BRANCHES = 100
ROUNDS = 3
TRIED, CONFLICTING = 30, 10

Edits = Mapping[str, str]


def beside_plumbing(bench: Bench, seed: int) -> dict[str, Any]:
    """Medians of several rounds, each with its own branches; git alone and the queue take turns at going first."""
    took: dict[str, list[float]] = {"queue": [], "plumbing": []}
    for number in range(ROUNDS):
        for what in sorted(took, reverse=bool(number % 2)):
            # Never the same commits twice: trees that are there already cost git nothing.
            heads = bench.heads(disjoint_edits(f"{seed}/{number}/{what}", BRANCHES))
            seconds = bench.plumbing(heads) if what == "plumbing" else bench.land(heads, {EntryStatus.LANDED: BRANCHES})
            took[what].append(1000 * seconds / BRANCHES)
    per_landing, plumbing = median(took["queue"]), median(took["plumbing"])
    return {
        "landed_per_s": round(1000 / per_landing, 1),
        "ms_per_landing": round(per_landing, 2),
        "plumbing_ms": round(plumbing, 2),
        "ratio": round(per_landing / plumbing, 2),
    }


def merge_conflicts(options: Mapping[str, Any]) -> dict[str, Any]:
    """The time per conflict is what the queue takes longer than for those alone that land."""
    bench = Bench()
    with_them, without = [], []
    good = {EntryStatus.LANDED: TRIED - CONFLICTING}
    for number in range(ROUNDS):
        heads = bench.heads(conflicting_edits(f"{options['seed']}/{number}"))
        with_them.append(bench.land(heads, good | {EntryStatus.CONFLICT: CONFLICTING}))
        heads = bench.heads(disjoint_edits(f"{options['seed']}/{number}/without", TRIED - CONFLICTING))
        without.append(bench.land(heads, good))
    longer = median(with_them) - median(without)
    return {
        "landed_per_s": round((TRIED - CONFLICTING) / median(with_them), 1),
        "ms_of_queue_per_conflict": round(1000 * longer / CONFLICTING, 2),
    }


def disjoint_edits(seed: str, branches: int) -> list[Edits]:
    """One to three files each, and no file twice."""
    chance = random.Random(seed)  # noqa: S311 - a workload, no secret
    files = iter(chance.sample(range(FILES), 3 * branches))
    return [
        {
            file_name(number): f"CHANGED = {seed!r}, {branch}\n"
            for number in (next(files) for _ in range(chance.randint(1, 3)))
        }
        for branch in range(branches)
    ]


def conflicting_edits(seed: str) -> list[Edits]:
    """The last ones each want something else in a file that one of the first changes."""
    good = disjoint_edits(seed, TRIED - CONFLICTING)
    return good + [{next(iter(good[number])): f"OTHERWISE = {seed!r}, {number}\n"} for number in range(CONFLICTING)]


class Bench:
    """A synthetic repository with its rows, in the data directory of this process."""

    def __init__(self, files: int = FILES) -> None:
        team, self._operator = bootstrap()
        path = storage.data_directory() / "synthetic"
        make_repository(path, files)
        self.repository = Repository.objects.create(team=team, name="synthetic", url=str(path), path_allowed=True)
        self._endpoint = ModelEndpoint.objects.create(
            team=team, name="none", base_url="http://127.0.0.1:9/v1", model="none"
        )
        self.store: BareRepository = storage.bare_repository(self.repository.public_id)
        self.store.create()
        self._base = self.store.fetch(str(path), None).sha

    def heads(self, edits: Sequence[Edits]) -> list[str]:
        """A commit on the base for each, in one child."""
        name = f"work-{time.monotonic_ns()}"
        stream = [_commit(f"refs/swarmsite/{name}/{number}", self._base, files) for number, files in enumerate(edits)]
        run_git("fast-import", "--quiet", git_dir=self.store.path, stdin=b"".join(stream))
        refs = self.store.pins(name)
        return [refs[str(number)] for number in range(len(edits))]

    def plumbing(self, heads: Sequence[str]) -> float:
        """Seconds that git alone takes: merge-tree, commit-tree and update-ref for each head."""
        ref = f"refs/heads/plumbing-{time.monotonic_ns()}"
        tip = self._base
        run = self.store.run
        run("update-ref", ref, tip)
        started = time.perf_counter()
        for head in heads:
            tree = run("merge-tree", "--write-tree", tip, head).text.strip()
            commit = run("commit-tree", tree, "-p", tip, "-p", head, "-m", "Land it", env=IDENTITY).text.strip()
            run("update-ref", ref, commit, tip)
            tip = commit
        return time.perf_counter() - started

    def land(self, heads: Sequence[str], expected: Mapping[EntryStatus, int]) -> float:
        """Seconds that the real queue takes, journal, events and content check included."""
        swarm = self.queue(heads)
        started = time.perf_counter()
        drain(swarm.pk)
        took = time.perf_counter() - started
        ended = list(swarm.merge_entries.values_list("status", flat=True))
        if any(ended.count(status) != count for status, count in expected.items()):
            raise SwarmsiteError(f"The queue ended as {sorted(ended)} and not as {dict(expected)}.")
        return took

    def queue(self, heads: Sequence[str]) -> Swarm:
        """A swarm in which they wait to land, in this order, each for a subtask that is called work-NNN."""
        swarm = self._swarm()
        for number, head in enumerate(heads):
            self.enqueue(swarm, f"work-{number:03d}", head)
        return swarm

    def _swarm(self) -> Swarm:
        swarm = Swarm.objects.create(
            repository=self.repository,
            requester=self._operator,
            endpoint=self._endpoint,
            request="Land everything.",
            planning_done=True,
            base_sha=self._base,
            head_sha=self._base,
        )
        self.store.create_branch(swarm.branch, self._base)
        iteration = PlanIteration.objects.create(swarm=swarm, number=1)
        with moves(swarm) as together:
            together.advance(swarm, SwarmStatus.RUNNING)
            together.advance(iteration, IterationStatus.DONE)
        return swarm

    def enqueue(self, swarm: Swarm, name: str, head: str) -> None:
        subtask = Subtask.objects.create(
            swarm=swarm, iteration=swarm.iterations.get(), name=name, instruction=f"Do {name}."
        )
        attempt = Attempt.objects.create(subtask=subtask, number=1, base_sha=self._base, head_sha=head)
        Handoff.objects.create(attempt=attempt, status="complete", summary=f"Did {name}.")
        entry = MergeEntry(swarm=swarm, subtask=subtask, attempt=attempt, head_sha=head)
        with moves(swarm) as together:
            for to in (SubtaskStatus.ASSIGNED, SubtaskStatus.RUNNING, SubtaskStatus.HANDED_OFF):
                together.advance(subtask, to)
            together.advance(attempt, AttemptStatus.RUNNING, lease_token=new_token(), lease_expires_at=lease_end())
            together.advance(attempt, AttemptStatus.COMPLETE)
            entry.save()
            together.created(entry)


def _commit(ref: str, parent: str, files: Edits) -> bytes:
    who = f"{IDENTITY['GIT_AUTHOR_NAME']} <{IDENTITY['GIT_AUTHOR_EMAIL']}> 1735689600 +0000"
    lines = [f"commit {ref}", f"committer {who}", "data 4", f"Work\nfrom {parent}"]
    for path, content in files.items():
        lines += [f"M 100644 inline {path}", f"data {len(content)}", content]
    return ("\n".join(lines) + "\n").encode()
