"""What a test of subplans is made of: a model that is asked by subplanners too, and a subtask of many places."""

from __future__ import annotations

from typing import Any

from orchestration.demo.service import Answer, Request
from orchestration.models import Subtask, Swarm
from tests import factories
from tests.stages.world import Model, hand_off, planned, task, write

FOUR = ["big/a.txt", "big/b.txt", "big/c/**", "big/d.txt"]
PARTS = planned(task("big-a", scope=["big/a.txt"]), task("big-b", "big-a", scope=["big/b.txt"]))


class Office(Model):
    """The planner answers with `plans`; the subplanner of a subtask with its own answers, in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: dict[str, list[Answer]] = {}
        self.heard: dict[str, list[Request]] = {}

    def __call__(self, request: Request) -> Answer:
        if request.closing == "submit_plan" and request.subtask:
            heard = self.heard.setdefault(request.subtask, [])
            heard.append(request)
            answers = self.parts[request.subtask]
            return answers[min(len(heard), len(answers)) - 1]
        return super().__call__(request)


def again(row: Any) -> Any:
    row.refresh_from_db()
    return row


def big(swarm: Swarm, **fields: Any) -> Subtask:
    return factories.make_subtask(swarm, **{"name": "big", "scope": FOUR, "acceptance_checks": []} | fields)


def put_by(name: str, path: str) -> list[Answer]:
    return [write(path, f"by {name}\n"), hand_off(summary=f"Wrote {path}.", concerns=["It creaks."])]
