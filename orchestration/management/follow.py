"""Follows a swarm to its end from the command line: events to standard error, the result as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from django.db import connection

from orchestration.domain.states import SWARM_OVER, PublicationStatus, QuestionStatus, SwarmStatus
from orchestration.models import Event, Publication, Swarm
from orchestration.reads.questions import conflicts_for_people, only_answers_help

POLL_SECONDS = 0.25
STILL_SECONDS = 3.0  # longer than between two ticks
NEEDS_PERSON = frozenset({SwarmStatus.AWAITING_APPROVAL, SwarmStatus.PAUSED})

SUCCEEDED, NOT_SUCCEEDED, SET_UP, PERSON = 0, 1, 2, 3


def follow(swarm: Swarm, tell: Callable[[str], None], going_on: Callable[[], bool] = lambda: True) -> int:
    """Until the swarm is over or needs a person; the exit code of the contract."""
    seq, still = 0, Stillness()
    while True:
        over = _look(swarm)
        if over is None and still.lasts(swarm):
            over = PERSON
        for event in Event.objects.filter(swarm=swarm, seq__gt=seq):
            tell(line(event))
            seq = event.seq
        if over is not None:
            return over
        if not going_on():
            return SET_UP
        if connection.vendor != "sqlite":
            connection.close()
        time.sleep(POLL_SECONDS)


class Stillness:
    """Nothing has happened for a while, and nothing will until somebody answers a question."""

    def __init__(self) -> None:
        self._seq = -1
        self._since = 0.0

    def lasts(self, swarm: Swarm) -> bool:
        now = time.monotonic()
        if swarm.last_seq != self._seq or not only_answers_help(swarm):
            self._seq, self._since = swarm.last_seq, now
        return now - self._since > STILL_SECONDS


def _look(swarm: Swarm) -> int | None:
    swarm.refresh_from_db()
    status = SwarmStatus(swarm.status)
    if status in NEEDS_PERSON or _is_refused(swarm):
        return PERSON
    if status in SWARM_OVER:
        return SUCCEEDED if status is SwarmStatus.SUCCEEDED else NOT_SUCCEEDED
    return None


def _is_refused(swarm: Swarm) -> bool:
    """Its result cannot leave, and a person has to choose what becomes of it."""
    refused = Publication.objects.filter(swarm=swarm, status=PublicationStatus.REFUSED)
    return swarm.status == SwarmStatus.FINALIZING and refused.exists()


def needs(swarm: Swarm) -> list[str]:
    """What a person is to do, a line each; empty where the swarm goes on by itself or is over."""
    id_, command = swarm.public_id, "manage.py swarm"
    found = []
    if swarm.status == SwarmStatus.AWAITING_APPROVAL:
        found.append(f"The plan waits for approval: {command} show {id_}, then {command} approve {id_}")
    if swarm.status == SwarmStatus.PAUSED:
        found.append(f"It is paused: {command} resume {id_}, or first {command} change {id_} --config JSON")
    if _is_refused(swarm):
        found.append(f"Its result cannot leave ({swarm.publication.status_reason}): {command} land {id_} [--to MODE]")
    asked = swarm.questions.filter(status=QuestionStatus.OPEN)
    found += [f"An agent asks: {one.text} Answer: {command} answer {one.public_id} TEXT" for one in asked]
    found += [
        f"{one.subtask.name} conflicts with what landed. Settle it on its page, or: "
        f"{command} conflict {id_} {one.subtask.name}"
        for one in conflicts_for_people(swarm)
    ]
    return found


def line(event: Event) -> str:
    facts = event.facts
    who = facts.get("name") or facts.get("text") or facts.get("command") or facts.get("title") or ""
    reason = facts.get("reason") or facts.get("ending") or ""
    return " ".join(part for part in (f"{event.at:%H:%M:%S}", event.kind, who, reason and f"- {reason}") if part)


def as_json(value: Any) -> str:
    return json.dumps(value, default=str)
