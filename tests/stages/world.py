"""What a test of the stages is made of: a team with a clone and a scripted model, rows made just so, answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from itertools import count
from time import time
from typing import Any

from django.db import connection

from orchestration.demo.service import Answer, Request, ScriptedService
from orchestration.domain.events import Stage
from orchestration.domain.rights import Role
from orchestration.domain.states import AttemptStatus, SubtaskStatus, SwarmStatus
from orchestration.models import Attempt, MergeEntry, Subtask, Swarm, User
from orchestration.stages.dispatch import dispatch
from orchestration.stages.execute import execute
from orchestration.stages.finish import finish
from orchestration.stages.forecast import forecast
from orchestration.stages.gate import gate
from orchestration.stages.leases import lease_end, new_token
from orchestration.stages.maintain import maintain
from orchestration.stages.merge import merge
from orchestration.stages.plan import plan
from orchestration.stages.prepare import prepare
from orchestration.stages.resolve import resolve
from orchestration.stages.rows import store_of
from orchestration.stages.submit import submit
from orchestration.stages.subplan import subplan
from orchestration.stages.transition import moves
from tests import factories
from tests.adapters.git.conftest import Clone

STAGES: Mapping[Stage, Callable[[int], None]] = {
    Stage.PLAN: plan,
    Stage.SUBPLAN: subplan,
    Stage.DISPATCH: dispatch,
    Stage.EXECUTE: execute,
    Stage.MERGE: merge,
    Stage.GATE: gate,
    Stage.RESOLVE: resolve,
    Stage.FINISH: finish,
    Stage.FORECAST: forecast,
    Stage.MAINTAIN: maintain,
}
FAST = {"base_delay_ms": 0, "max_delay_ms": 0}
_number = count(1)


class Nudges:
    """Stands in for the broker. Nothing runs unless `run` is called, as a worker would."""

    def __init__(self) -> None:
        self.all: list[tuple[Stage, int]] = []
        self._waiting: list[tuple[Stage, int]] = []

    def __call__(self, stage: Stage, row_id: int) -> None:
        self.all.append((stage, row_id))
        self._waiting.append((stage, row_id))

    def take(self) -> list[tuple[Stage, int]]:
        """What came since the last look; none of it will run."""
        taken, self._waiting = self._waiting, []
        return taken

    def run(self) -> None:
        """Runs nudged stages, one after another, until it is quiet."""
        while self._waiting:
            self.run_one(self._waiting.pop(0))

    def run_only_what_is_there(self) -> None:
        """What these stages nudge in turn is lost."""
        for nudge in self.take():
            self.run_one(nudge)

    def run_until(self, over: Callable[[], bool]) -> None:
        """One of several workers at once."""
        while not over():
            try:
                self.run_one(self._waiting.pop(0))
            except IndexError:
                threading.Event().wait(0.01)

    def run_one(self, nudge: tuple[Stage, int]) -> None:
        stage, row_id = nudge
        STAGES[stage](row_id)


def call(name: str, /, **arguments: Any) -> tuple[str, dict[str, Any]]:
    return name, arguments


def says(*calls: tuple[str, Mapping[str, Any] | str], **answer: Any) -> Answer:
    return Answer(calls=calls, **answer)


def write(path: str, content: str) -> Answer:
    return says(call("write_file", path=path, content=content))


def bash(command: str) -> Answer:
    return says(call("bash", command=command))


def hand_off(status: str = "complete", summary: str = "Did it.", **more: Any) -> Answer:
    return says(call("handoff", status=status, summary=summary, **more))


def task(name: str, *needs: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "instruction": f"Do {name}.", "dependencies": list(needs)} | fields


def planned(*tasks: Mapping[str, Any], done: bool = True, scratchpad: str = "All covered.") -> Answer:
    return says(call("submit_plan", scratchpad=scratchpad, done=done, tasks=list(tasks)))


class Model:
    """What the service says: one answer after another to planners (the last one again and again), and to a
    subtask's worker the answer of its turn. A worker without lines writes <subtask>.txt and hands off."""

    def __init__(self) -> None:
        self.plans: list[Answer] = [planned(task("one"))]
        self.workers: dict[str, list[Answer]] = {}
        self.asked = 0

    def __call__(self, request: Request) -> Answer:
        if request.closing == "submit_plan":
            self.asked += 1
            return self.plans[min(self.asked, len(self.plans)) - 1]
        name = request.subtask
        lines = self.workers.get(name) or [write(f"{name}.txt", f"by {name}\n"), hand_off()]
        return lines[min(request.turns, len(lines) - 1)]


def _change(path: str, content: str | bytes | None) -> bytes:
    if content is None:
        return f"D {path}\n".encode()
    data = content.encode() if isinstance(content, str) else content
    return f"M 100644 inline {path}\ndata {len(data)}\n".encode() + data + b"\n"


class World:
    """One team with a repository and a model, and rows made just so."""

    def __init__(self, clone: Clone, model: Model, service: ScriptedService) -> None:
        self.clone, self.model, self.service = clone, model, service
        self.team = factories.make_team(ada=Role.OWNER)
        self.ada = User.objects.get(username="ada")
        self.repository = factories.make_repository(self.team, url=str(clone.path), path_allowed=True, checks=[])
        self.endpoint = factories.make_endpoint(self.team, base_url=service.base_url)

    def submit(self, request: str = "Make it better.", **config: Any) -> Swarm:
        return submit(self.ada, self.repository, request, FAST | config)

    def running(self, *, done: bool = True, **config: Any) -> Swarm:
        """A swarm with its base pinned and its (empty) plan made; the planner said `done`."""
        swarm = self.submit(**config)
        prepare(swarm)
        with moves(swarm) as together:
            together.advance(swarm, SwarmStatus.RUNNING)
            factories.make_iteration(swarm)
        Swarm.objects.filter(pk=swarm.pk).update(planning_done=done)
        swarm.refresh_from_db()
        return swarm

    def assigned(self, swarm: Swarm, name: str = "one", **fields: Any) -> Attempt:
        """A subtask with an attempt that waits to be claimed."""
        subtask = factories.make_subtask(swarm, name=name, status="assigned", **{"acceptance_checks": []} | fields)
        return Attempt.objects.create(subtask=subtask, number=1)

    def commit(self, swarm: Swarm, files: dict[str, str | bytes | None], *, base: str = "") -> str:
        """A commit on `base` (else the swarm's base) in the store, as a worker's snapshot would be. By one child of
        git: these are made by the hundred."""
        name = f"work-{next(_number)}"
        lines = [
            f"commit refs/swarmsite/source/{name}\nmark :1\ncommitter User <user@example.org> {time():.0f} +0000\n",
            f"data {len(name)}\n{name}\nfrom {base or swarm.base_sha}\n",
        ]
        stream = "".join(lines).encode() + b"".join(_change(path, content) for path, content in files.items())
        done = store_of(swarm).run("fast-import", "--quiet", stdin=stream + b"\nget-mark :1\n")
        return done.text.strip()

    def queued(self, swarm: Swarm, name: str, files: dict[str, str | bytes | None], **fields: Any) -> MergeEntry:
        """A subtask whose commit waits to land."""
        base = fields.pop("base", "") or swarm.base_sha
        head = self.commit(swarm, files, base=base)
        subtask = factories.make_subtask(swarm, name=name, status="handed_off", priority=fields.get("priority", 5))
        attempt = factories.make_attempt(subtask, status="complete", base_sha=base, head_sha=head)
        factories.make_handoff(attempt, summary=f"Wrote {name}.")
        return MergeEntry.objects.create(swarm=swarm, subtask=subtask, attempt=attempt, head_sha=head, **fields)


def claimed(attempt: Attempt) -> Attempt:
    """The attempt as its worker holds it."""
    with moves(attempt.subtask.swarm) as together:
        together.advance(attempt, AttemptStatus.RUNNING, lease_token=new_token(), lease_expires_at=lease_end())
        together.advance(attempt.subtask, SubtaskStatus.RUNNING)
    return attempt


def at_once(*functions: Callable[[], Any]) -> list[Any]:
    """Runs them in threads that start together; the result of each, or the exception that it raised."""
    barrier = threading.Barrier(len(functions))
    results: list[Any] = [None] * len(functions)

    def run(index: int, function: Callable[[], Any]) -> None:
        barrier.wait(120)
        try:
            results[index] = function()
        except Exception as error:
            results[index] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
        assert not thread.is_alive(), "a thread did not come to its end"
    return results


def statuses(swarm: Swarm) -> dict[str, str]:
    return dict(Subtask.objects.filter(swarm=swarm).values_list("name", "status"))


def hand_offs(swarm: Swarm, count: int, **fields: Any) -> None:
    for _ in range(count):
        subtask = factories.make_subtask(swarm, **{"status": "complete"} | fields)
        attempt = factories.make_attempt(subtask, status="complete")
        factories.make_handoff(attempt, summary=f"Finished {subtask.name}.", concerns=["It creaks."])
