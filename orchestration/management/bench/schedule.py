"""A whole swarm on the real engine with a simulated model: how near its makespan comes to what is possible."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from orchestration.adapters import storage
from orchestration.domain.errors import SwarmsiteError
from orchestration.management.bench.figures import Spent, most_at_once, percentile, resident_mb
from orchestration.management.bench.model import ModelProcess, serving
from orchestration.management.bench.synthetic import make_repository
from orchestration.management.bench.workload import TURNS, Workload
from orchestration.management.bootstrap import bootstrap
from orchestration.management.engine import running
from orchestration.models import Attempt, ModelEndpoint, Repository, Swarm, Team, User
from orchestration.stages.submit import submit

FILES = 300
LOOK_EVERY_S = 0.25
OVER = ("succeeded", "partly_succeeded", "failed", "cancelled")


def schedule(options: Mapping[str, Any]) -> dict[str, Any]:
    workload = Workload(**{name: options[name] for name in ("subtasks", "layers", "agents", "seed", "pace")})
    with serving(workload) as model:
        team, operator = bootstrap()
        repository = _repository(team, warm=min(workload.agents, workload.subtasks))
        _connect(team, model)
        with running():
            measured = _run(operator, repository, workload)
        asked = model.asked()
    return _judged(workload, measured, asked)


def _repository(team: Team, warm: int) -> Repository:
    path = storage.data_directory() / "synthetic"
    make_repository(path, FILES)
    row = Repository.objects.create(team=team, name="synthetic", url=str(path), path_allowed=True)
    store, pool = storage.bare_repository(row.public_id), storage.workspace_pool(row.public_id)
    store.create()
    base = store.fetch(str(path), None).sha
    for workspace in [pool.acquire(base) for _ in range(warm)]:
        pool.release(workspace)
    return row


def _connect(team: Team, model: ModelProcess) -> None:
    ModelEndpoint.objects.create(team=team, name="simulated", base_url=model.base_url, model="scripted")


def _run(operator: User, repository: Repository, workload: Workload) -> dict[str, Any]:
    config = {
        "max_subagents": workload.agents,
        "max_concurrent_requests": workload.agents,
        "max_total_steps": 2 * workload.steps,
    }
    before, memory, started = Spent.so_far(), resident_mb(), time.monotonic()
    swarm = submit(operator, repository, "Write every module of the plan.", config)
    peak = memory
    while _status(swarm) not in OVER:
        time.sleep(LOOK_EVERY_S)
        peak = max(peak, resident_mb())
    finished = Swarm.objects.values_list("finished_at", flat=True).get(pk=swarm.pk)
    makespan = (finished - swarm.created_at).total_seconds() if finished else time.monotonic() - started
    spent = Spent.so_far().since(before)
    swarm.refresh_from_db()
    landed = swarm.merge_entries.filter(status="landed").count()
    if landed != workload.subtasks:
        raise SwarmsiteError(f"Only {landed} of {workload.subtasks} landed: {swarm.status}, {swarm.status_reason}")
    at_once = most_at_once(_spans(swarm))
    return {"makespan_s": makespan, "spent": spent, "grown_mb": peak - memory, "at_once": at_once}


def _status(swarm: Swarm) -> str:
    return Swarm.objects.values_list("status", flat=True).get(pk=swarm.pk)


def _spans(swarm: Swarm) -> list[tuple[float, float]]:
    rows = Attempt.objects.filter(subtask__swarm=swarm).values_list("started_at", "finished_at")
    return [(_seconds(start), _seconds(end)) for start, end in rows]


def _seconds(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0


def _judged(workload: Workload, measured: Mapping[str, Any], asked: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    spent, makespan = measured["spent"], measured["makespan_s"]
    delays = handoff_delays_ms(workload, asked)
    return {
        "makespan_s": round(makespan, 2),
        "lower_bound_s": round(workload.lower_bound_s, 2),
        "ratio": round(makespan / workload.lower_bound_s, 3) if workload.pace else None,
        "handoff_to_next_request_ms": {"p50": round(percentile(delays, 0.5)), "p95": round(percentile(delays, 0.95))},
        "cpu_ms_per_step": round(1000 * spent.own_s / workload.steps, 2),
        "children_ms_per_step": round(1000 * spent.children_s / workload.steps, 2),
        "rss_mb_per_agent": round(measured["grown_mb"] / max(measured["at_once"], 1), 2),
        "agents_at_once": measured["at_once"],
        "steps": sum(len(times) for times in asked.values()),
    }


def handoff_delays_ms(workload: Workload, asked: Mapping[str, Sequence[float]]) -> list[float]:
    """From the end of the last model answer that a subtask had to wait for to its own first request: in between
    lie that attempt's snapshot, its checks, its landing, dispatch, and the new attempt's workspace and sandbox.
    """
    ended = {name: times[-1] + workload.latency_s(name, TURNS - 1) for name, times in asked.items() if name}
    return [
        1000 * (asked[name][0] - max(ended[one] for one in needed)) for name, needed in workload.needs.items() if needed
    ]
