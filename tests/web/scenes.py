"""A swarm in the middle of its work, as people will see it: for browsers, screenshots and query counts."""

from __future__ import annotations

import re
from datetime import timedelta

from django.utils import timezone

from orchestration.models import Repository, Subtask, Swarm
from tests import factories as make

PLAN = {
    "survey": ((), "complete"),
    "redis-client": (("survey",), "complete"),
    "settings": (("survey",), "complete"),
    "session-schema": (("survey",), "complete"),
    "store-write": (("redis-client", "session-schema"), "running"),
    "store-read": (("redis-client", "session-schema"), "handed_off"),
    "migration-of-old-sessions": (("session-schema", "settings"), "conflict"),
    "expiry": (("store-write",), "pending"),
    "middleware": (("store-read", "store-write"), "pending"),
    "docs": (("settings", "survey"), "running"),
    "load-test": (("middleware",), "pending"),
    "login-flow": (("middleware",), "pending"),
    "logout-flow": (("middleware", "survey"), "pending"),
    "metrics": (("redis-client",), "failed"),
}
EVENTS = [
    ("swarm.submitted", {"requester": "member"}),
    ("swarm.started", {"base": make.SHA}),
    ("plan.done", {"number": 1}),
    ("swarm.running", {}),
    ("attempt.running", {"name": "survey", "number": 1}),
    ("merge_entry.landed", {"name": "survey"}),
    ("subtask.complete", {"name": "survey"}),
    ("attempt.failed", {"name": "metrics", "number": 1, "reason": "The acceptance check `make lint` did not pass."}),
    ("subtask.conflict", {"name": "migration-of-old-sessions", "reason": "shop/settings.py was changed by settings."}),
]


LONG_PATH = "shop/sessions/backends/redis/write_through_cache_with_a_long_name.py"


def busy_swarm(repository: Repository, **fields: object) -> Swarm:
    now = timezone.now()
    began = now - timedelta(minutes=18)
    swarm = make.make_swarm(repository, created_at=began, cost_usd="4.18", tokens=1_900_000, **fields)
    swarm.iterations.update(scratchpad=SCRATCHPAD, started_at=began, finished_at=began + timedelta(seconds=4))
    subtasks: dict[str, Subtask] = {}
    for name, (needs, status) in PLAN.items():
        wait = f"Waits for {' and '.join(needs)}." if status == "pending" else ""
        subtasks[name] = make.make_subtask(
            swarm, name=name, needs=[subtasks[need] for need in needs], status=status, wait_reason=wait
        )
    for at, (name, subtask) in enumerate(subtasks.items()):
        if subtask.status != "pending":
            _work(subtask, began + timedelta(minutes=subtask.level * 4, seconds=5 + 7 * at), name)
    for kind, facts in EVENTS:
        make.make_event(swarm, kind, **facts)
    make.make_clash(swarm, subtasks["store-write"], subtasks["settings"], LONG_PATH, place="landed")
    make.make_clash(swarm, subtasks["docs"], subtasks["store-read"], "docs/sessions.md", place="queued", sure=False)
    return swarm


def _work(subtask: Subtask, start: object, name: str) -> None:
    assert hasattr(start, "timestamp")
    first = {"started_at": start, "tokens": 88_000, "cost_usd": "0.22"}
    if name == "docs":
        end = start + timedelta(minutes=2)  # type: ignore[operator]
        make.make_attempt(
            subtask, status="failed", finished_at=end, status_reason="The model answered with garbage twice.", **first
        )
        make.make_attempt(subtask, status="running", started_at=end + timedelta(seconds=20), doing="bash make docs")
    elif subtask.status == "running":
        make.make_attempt(subtask, **first)
    else:
        end = start + timedelta(minutes=3, seconds=20)  # type: ignore[operator]
        status = "failed" if subtask.status == "failed" else "complete"
        attempt = make.make_attempt(subtask, status=status, finished_at=end, **first)
        _land(subtask, attempt)


def _land(subtask: Subtask, attempt: object) -> None:
    entry = {"complete": "landed", "handed_off": "merging", "conflict": "conflict"}.get(subtask.status)
    if subtask.status == "conflict":
        make.make_entry(
            attempt,  # type: ignore[arg-type]
            status=entry,
            conflict_paths=["shop/settings.py", "shop/sessions/schema.py"],
            status_reason="Both changed the same lines.",
        )
    elif entry:
        handed_off = attempt.finished_at  # type: ignore[attr-defined]
        landed = {"finished_at": handed_off + timedelta(seconds=4)} if entry == "landed" else {}
        row = make.make_entry(attempt, status=entry, **landed)  # type: ignore[arg-type]
        type(row).objects.filter(pk=row.pk).update(enqueued_at=handed_off)
    if subtask.status == "failed":
        subtask.status_reason = "All 3 attempts failed. The acceptance check `make lint` did not pass (exit code 1)."
        subtask.save()


def awaiting_swarm(repository: Repository) -> Swarm:
    """A plan that waits for approval, with two subtasks that may meet and one of unknown scope."""
    endpoint = make.make_endpoint(repository.team, input_price="2", output_price="10")
    swarm = make.make_swarm(repository, status="awaiting_approval", endpoint=endpoint, cost_usd="0.02")
    survey = make.make_subtask(swarm, name="survey", kind="research", scope=[])
    client = make.make_subtask(swarm, name="redis-client", needs=[survey], scope=["shop/redis/**", "pyproject.toml"])
    make.make_subtask(swarm, name="session-schema", needs=[survey], scope=["shop/sessions/schema.py"])
    make.make_subtask(swarm, name="store-write", needs=[client], scope=["shop/sessions/**"], priority=2)
    make.make_subtask(swarm, name="metrics", needs=[client], scope=[])
    make.make_subtask(swarm, name="docs", scope=["docs/**"], status="cancelled")
    return swarm


SCRATCHPAD = """\
## Goals and coverage

- Sessions live in Redis: *store-write*, *store-read* in flight
- Old sessions stay readable for a week: **migration-of-old-sessions** conflicts

## Why this sprint

The middleware needs both halves of the store, so it waits.
"""


def gated(swarm: Swarm) -> Swarm:
    """Its commits land only behind gates."""
    swarm.config |= {"gate": "gated"}
    swarm.save()
    return swarm


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))
