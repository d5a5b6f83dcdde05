"""Figures and events in words for people. The page's script knows the same words for times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

UNITS = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))


def duration(seconds: float) -> str:
    """The two largest units: `3 m 12 s`; one of ten or more stands alone: `18 m`."""
    left = max(0, int(seconds))
    for index, (unit, size) in enumerate(UNITS):
        if left < size:
            continue
        whole, rest = divmod(left, size)
        if index + 1 < len(UNITS) and whole < 10:
            smaller, smaller_size = UNITS[index + 1]
            if rest >= smaller_size:
                return f"{whole} {unit} {rest // smaller_size} {smaller}"
        return f"{whole} {unit}"
    return "0 s"


def span(seconds: float) -> str:
    """As `duration`, but what is short keeps its tenths: `0.4 s`."""
    return f"{max(0.0, seconds):.1f} s" if seconds < 10 else duration(seconds)


def between(low: str, high: str) -> str:
    """A range of figures in words; what reads the same at both ends is told once."""
    return low if low == high else f"{low} to {high}"


def ago(when: datetime, now: datetime) -> str:
    seconds = (now - when).total_seconds()
    return "now" if seconds < 5 else f"{' '.join(duration(seconds).split()[:2])} ago"


def money(dollars: Decimal | float) -> str:
    if 0 < dollars < Decimal("0.01"):
        return "< $0.01"
    return f"${dollars:,.2f}"


def tokens(count: int) -> str:
    if count < 1000:
        return str(count)
    if count < 999_500:
        return f"{count / 1000:.0f} k" if count >= 9_950 else f"{count / 1000:.1f} k"
    return f"{count / 1_000_000:.1f} M"


def milliseconds(count: int) -> str:
    if count < 1000:
        return f"{count} ms"
    return f"{count / 1000:.1f} s" if count < 10_000 else duration(count / 1000)


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


_SWARM: Mapping[str, str] = {
    "swarm.started": "The base commit is pinned and the swarm's branch is made",
    "swarm.planning": "Planning began",
    "swarm.awaiting_approval": "The plan waits for approval",
    "swarm.running": "Agents may work",
    "swarm.paused": "Paused: nothing new starts",
    "swarm.finalizing": "Everything is in: the result is being checked",
    "swarm.succeeded": "The swarm succeeded",
    "swarm.partly_succeeded": "The swarm partly succeeded",
    "swarm.failed": "The swarm failed",
    "swarm.cancelled": "The swarm was cancelled",
    "swarm.noted": "Note",
    "swarm.published": "The branch was published",
    "swarm.queue_paused": "The merge queue pauses",
    "swarm.forecast": "Other conflicts are ahead",
    "swarm.queue_resumed": "The merge queue goes on",
}
_SUBTASK: Mapping[str, str] = {
    "subtask.pending": "is planned",
    "subtask.blocked": "is blocked",
    "subtask.assigned": "has an agent",
    "subtask.running": "is being worked on",
    "subtask.waiting": "waits",
    "subtask.handed_off": "is handed off to the merge queue",
    "subtask.conflict": "conflicts with what landed before",
    "subtask.complete": "is complete",
    "subtask.failed": "failed",
    "subtask.timed_out": "ran out of time",
    "subtask.cancelled": "was cancelled",
    "merge_entry.queued": "waits in the merge queue",
    "merge_entry.merging": "is being merged",
    "merge_entry.gating": "is being checked before it lands",
    "merge_entry.conflict": "cannot be merged as it is",
    "merge_entry.resolving": "is in conflict, and this is the next step",
    "merge_entry.landed": "landed on the branch",
    "merge_entry.rejected": "was refused by the merge queue",
    "merge_entry.superseded": "left the queue for a newer attempt",
    "merge_entry.cancelled": "left the merge queue",
}
_ATTEMPT: Mapping[str, str] = {
    "attempt.assigned": "is assigned",
    "attempt.running": "started",
    "attempt.waiting": "waits",
    "attempt.complete": "is complete",
    "attempt.partial": "did part of the work",
    "attempt.blocked": "could not go on",
    "attempt.failed": "failed",
    "attempt.timed_out": "ran out of time",
    "attempt.cancelled": "was cancelled",
    "attempt.lost": "was lost: its process ended without a word",
    "attempt.progressed": "made progress",
}
_PLAN: Mapping[str, str] = {
    "plan.running": "The planner is at work",
    "plan.done": "The planner answered",
    "plan.failed": "The planner's call failed",
    "plan.lost": "The planner's call was lost",
    "plan.retrying": "The planner will be asked again",
}
_GATE: Mapping[str, str] = {
    "gate.waiting": "is to be run",
    "gate.running": "runs",
    "gate.green": "is green",
    "gate.red": "is red",
    "gate.infra": "came to no verdict",
    "gate.cancelled": "is not needed any more",
    "gate.flaked": "was red, and is proved innocent by a green one",
}
_PUBLICATION: Mapping[str, str] = {
    "publication.pending": "Landing the result outward is due",
    "publication.pushing": "The result is being pushed",
    "publication.waiting": "Landing outward waits for the remote",
    "publication.refused": "The result could not be landed outward",
    "publication.landed": "The result has arrived, and the remote confirmed it",
    "publication.cancelled": "The result stays on the swarm's branch",
}
_MESSAGE: Mapping[str, str] = {
    "message.waiting": "waits again to be delivered",
    "message.delivered": "was delivered",
    "message.answered": "was answered",
    "message.expired": "was not delivered",
}
Facts = Mapping[str, Any]
_SPECIAL: Mapping[str, Callable[[Facts], str]] = {
    "swarm.submitted": lambda facts: f"{facts.get('requester', 'Somebody')} handed in the request",
    "swarm.steered": lambda facts: (
        f"{facts.get('by', 'Somebody')} changed the plan or its limits: {facts.get('text', '')}".rstrip(": .")
    ),
    "swarm.checked": lambda facts: (
        f"The check {facts.get('command', '')} {'passed' if facts.get('passed') else 'did not pass'}"
    ),
    "result.shared": lambda facts: f"{facts.get('name', 'A subtask')} shared the result {facts.get('key', '')}",
    "message.sent": lambda facts: (
        f"{facts.get('by', 'Somebody')} wrote to {facts.get('name') or 'the swarm'}: “{facts.get('text', '')}”"
    ),
    "question.open": lambda facts: f"An agent asks people: “{facts.get('text', '')}”",
    "question.answered": lambda facts: (
        f"{facts.get('by', 'Somebody')} answered “{facts.get('text', '')}”: “{facts.get('answer', '')}”"
    ),
    "question.expired": lambda facts: f"Nobody answered the question “{facts.get('text', '')}”",
    "question.withdrawn": lambda facts: f"Nobody waits any more for an answer to “{facts.get('text', '')}”",
    "artifact.saved": lambda facts: f"The artifact {facts.get('name', '')} was saved",
}
_TABLES = (
    (_GATE, "{gate} {what}"),
    (_MESSAGE, "The message {what}{to}"),
    (_PUBLICATION, "{what}"),
    (_SWARM, "{what}"),
    (_PLAN, "{what}"),
    (_SUBTASK, "{name} {what}"),
    (_ATTEMPT, "{name}: attempt {number} {what}"),
)


def subject_and_sentence(kind: str, facts: Facts) -> str:
    """What happened, without its reason."""
    if kind in _SPECIAL:
        return _SPECIAL[kind](facts)
    for table, shape in _TABLES:
        if kind in table:
            name = facts.get("name", "A subtask")
            to = f" to {facts.get('name') or 'the planner'}"
            gate = f"The gate of {facts['name']}" if facts.get("name") else "A gate"
            return shape.format(what=table[kind], name=name, number=facts.get("number", ""), to=to, gate=gate)
    raise KeyError(kind)


def sentence(kind: str, facts: Facts) -> str:
    """An event as a person would say it, with its reason where it has one."""
    said = subject_and_sentence(kind, facts)
    reason = str(facts.get("reason") or facts.get("sentence") or "")
    if not reason:
        return f"{said}."
    return reason if kind == "swarm.noted" else f"{said}: {reason}"


def role_of_event(kind: str) -> str:
    """The status at its end, for the look of its line; empty where it is no status."""
    return kind.partition(".")[2]
