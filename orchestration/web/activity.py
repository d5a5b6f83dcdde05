"""The swarm's log as people read it: without the machine's steps between, and with the names of whom a gate tried."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestration.models import Event, MergeEntry, Swarm

MOST_EVENTS = 50
MOST_NAMES = 3
# What follows from the line beside it, or shows in a panel while it lasts.
QUIET = frozenset(
    {
        "subtask.assigned",
        "subtask.running",
        "attempt.assigned",
        "attempt.progressed",
        "swarm.forecast",
        "merge_entry.queued",
        "merge_entry.merging",
        "merge_entry.gating",
        "gate.waiting",
        "gate.running",
        "gate.green",
        "gate.cancelled",
        "plan.running",
    }
)


def activity(swarm: Swarm, entries: Iterable[MergeEntry]) -> list[Event]:
    """The newest first. One query."""
    events = list(Event.objects.filter(swarm=swarm).exclude(kind__in=QUIET).order_by("-seq")[:MOST_EVENTS])
    names = {entry.public_id: entry.subtask.name for entry in entries}
    for event in events:
        if event.kind.startswith("gate."):
            event.facts = event.facts | {"name": _whom(event.facts.get("entries", ()), names)}
    return events


def _whom(entries: Iterable[str], names: Mapping[str, str]) -> str:
    known = [names[one] for one in entries if one in names]
    more = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
    return ", ".join(known[:MOST_NAMES]) + more
