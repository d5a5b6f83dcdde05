"""What tests of gated mode share: a queue behind gates, the workers that run them, and what must hold afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from orchestration.adapters.cancellation import Cancellation
from orchestration.domain.events import Stage
from orchestration.domain.handoffs import CheckResult
from orchestration.models import GateRun, MergeEntry, Repository, Swarm
from orchestration.stages import gate as gating
from orchestration.stages.gate import definition_of
from orchestration.stages.merge import merge
from orchestration.stages.rows import store_of
from tests.stages.world import Nudges, World

GOOD = "test ! -e bad.txt"


def gated(world: World, *checks: str, at_once: int = 1, strict: bool = False) -> Swarm:
    """A swarm whose commits land only when these commands are green."""
    terms: dict[str, Any] = {"checks": list(checks) or [GOOD], "gates_at_once": at_once, "strict_commits": strict}
    Repository.objects.filter(pk=world.repository.pk).update(**terms)
    world.repository.refresh_from_db()
    return world.running(gate="gated")


def queued(world: World, swarm: Swarm, *names: str, bad: Iterable[str] = ()) -> dict[str, MergeEntry]:
    """Each writes a file of its name; the bad ones bad.txt."""
    files: dict[str, dict[str, str | bytes | None]] = {name: {f"{name}.txt": f"by {name}\n"} for name in names}
    for name in bad:
        files[name]["bad.txt"] = "x\n"
    return {name: world.queued(swarm, name, files[name]) for name in names}


def work(swarm: Swarm, nudges: Nudges, *, most: int = 500) -> None:
    """Merges and gates as their workers would, and nothing else, until it is quiet."""
    merge(swarm.pk)
    while todo := [one for one in nudges.take() if one[0] in {Stage.MERGE, Stage.GATE}]:
        for nudge in dict.fromkeys(todo):
            nudges.run_one(nudge)
            most -= 1
            assert most, "it does not come to rest"


def entries() -> dict[str, str]:
    return dict(MergeEntry.objects.values_list("subtask__name", "status"))


def runs(**which: Any) -> list[str]:
    return list(GateRun.objects.filter(**which).values_list("status", flat=True))


def audit(swarm: Swarm) -> None:
    """Whatever the branch ever was, beyond its base, was green; database and git agree, and nothing is left behind."""
    swarm.refresh_from_db()
    store = store_of(swarm)
    tip = store.tip(swarm.branch)
    assert tip == (swarm.head_sha or swarm.base_sha)
    greens = set(GateRun.objects.filter(status="green").values_list("tree", "definition"))
    definition = definition_of(swarm.repository)
    landed = {entry.landed_sha: entry for entry in MergeEntry.objects.filter(status="landed")}
    for entry in landed.values():
        assert entry.gated
        assert entry.gate_run is not None
        assert entry.gate_run.status == "green"
        assert store.is_ancestor(entry.head_sha, tip)
        assert store.is_ancestor(entry.landed_sha, entry.gate_run.commit)
        assert (store.tree(entry.gate_run.commit), definition) in greens
        assert store.is_ancestor(entry.gate_run.commit, tip)
    assert sorted(sha for sha, _ in store.trailers(swarm.base_sha, tip, "MQ-Request")) == sorted(landed)
    assert store.tree(tip) in {tree for tree, _ in greens} | {store.tree(swarm.base_sha)}
    merge(swarm.pk)
    assert store.pins("candidates") == {}


def said(red: Callable[[GateRun], bool]) -> Callable[..., tuple[CheckResult, ...]]:
    """Stands in for the commands of a gate."""

    def results(box: object, repository: Repository, cancellation: Cancellation) -> tuple[CheckResult, ...]:
        run = GateRun.objects.get(status="running")
        code = int(red(run))
        return tuple(CheckResult(command, code, "printed\n", 1) for command in repository.checks)

    return results


__all__ = ["audit", "entries", "gated", "gating", "queued", "runs", "said", "work"]
