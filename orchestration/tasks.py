"""Celery's side of the stages: a task is one call, and says only "look at row N"."""

from __future__ import annotations

from celery import shared_task

from orchestration.stages import dispatch as dispatching
from orchestration.stages import execute as executing
from orchestration.stages import finish as finishing
from orchestration.stages import forecast as forecasting
from orchestration.stages import gate as checking
from orchestration.stages import maintain as maintaining
from orchestration.stages import merge as merging
from orchestration.stages import plan as planning
from orchestration.stages import resolve as resolving
from orchestration.stages import subplan as splitting
from orchestration.stages import tick as ticking


@shared_task(name="orchestration.plan", ignore_result=True)
def plan(swarm_id: int) -> None:
    planning.plan(swarm_id)


@shared_task(name="orchestration.subplan", ignore_result=True)
def subplan(subtask_id: int) -> None:
    splitting.subplan(subtask_id)


@shared_task(name="orchestration.dispatch", ignore_result=True)
def dispatch(swarm_id: int) -> None:
    dispatching.dispatch(swarm_id)


@shared_task(name="orchestration.execute", ignore_result=True)
def execute(attempt_id: int) -> None:
    executing.execute(attempt_id)


@shared_task(name="orchestration.merge", ignore_result=True)
def merge(swarm_id: int) -> None:
    merging.merge(swarm_id)


@shared_task(name="orchestration.gate", ignore_result=True)
def gate(run_id: int) -> None:
    checking.gate(run_id)


@shared_task(name="orchestration.resolve", ignore_result=True)
def resolve(swarm_id: int) -> None:
    resolving.resolve(swarm_id)


@shared_task(name="orchestration.forecast", ignore_result=True)
def forecast(swarm_id: int) -> None:
    forecasting.forecast(swarm_id)


@shared_task(name="orchestration.finish", ignore_result=True)
def finish(swarm_id: int) -> None:
    finishing.finish(swarm_id)


@shared_task(name="orchestration.maintain", ignore_result=True)
def maintain(repository_id: int) -> None:
    maintaining.maintain(repository_id)


@shared_task(name="orchestration.tick", ignore_result=True)
def tick() -> None:
    ticking.tick_of_many()
