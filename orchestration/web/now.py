"""What happens at the moment, in a sentence or two that a stranger understands."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from orchestration.domain.resolving import Rung
from orchestration.domain.states import (
    ENTRY_OPEN,
    SUBTASK_SETTLED,
    EntryStatus,
    GateStatus,
    SubtaskStatus,
    SwarmStatus,
)
from orchestration.models import Attempt, GateRun, MergeEntry, Subtask

MOST_NAMES = 3


@dataclass(frozen=True)
class Moment:
    """What the sentences are made of; everything has been read already."""

    status: str
    planning: bool
    subtasks: Sequence[Subtask]
    live: Sequence[Attempt]
    entries: Sequence[MergeEntry]
    gates: Sequence[GateRun]
    disbelieved: Collection[int] = ()  # attempts whose handoff was refused, since the checks did not pass


def told(moment: Moment) -> str:
    """Empty where the status says it all."""
    if moment.status == SwarmStatus.FINALIZING:
        return "All work has landed. The repository's checks run once more, on everything together."
    if moment.status not in {SwarmStatus.PLANNING, SwarmStatus.RUNNING}:
        return ""
    said = (
        _planning(moment),
        _working(moment),
        _disbelieved(moment),
        _conflict(moment),
        _red(moment),
        _landing(moment),
    )
    return " ".join(part for part in said if part)


def _planning(moment: Moment) -> str:
    if not moment.planning:
        return ""
    if not moment.subtasks:
        return "The planner reads the repository and splits the request into subtasks."
    return "The planner looks at what was reported and decides what comes next."


def _working(moment: Moment) -> str:
    names = names_of(attempt.subtask.name for attempt in moment.live)
    if not names:
        return ""
    if len(moment.live) == 1:
        return f"An agent works on {names}, in a copy of the files of its own."
    return f"{len(moment.live)} agents work at the same time, each in a copy of the files of its own: {names}."


def _disbelieved(moment: Moment) -> str:
    names = names_of(attempt.subtask.name for attempt in moment.live if attempt.pk in moment.disbelieved)
    return f"{names} was handed off as done, but its checks did not pass, so it is being mended." if names else ""


def _conflict(moment: Moment) -> str:
    """Whoever works at one that is in conflict is settling it."""
    entries = {entry.subtask_id: entry for entry in moment.entries if entry.status == EntryStatus.CONFLICT}
    unsettled = [one for one in moment.subtasks if SubtaskStatus(one.status) not in SUBTASK_SETTLED]
    names = [one.name for one in unsettled if one.pk in entries]
    if not names:
        return ""
    paths = names_of(path for one in unsettled if one.pk in entries for path in entries[one.pk].conflict_paths)
    where = f" in {paths}" if paths else ""
    verb = "changes" if len(names) == 1 else "change"
    end = _settling(moment, [entries[one.pk] for one in unsettled if one.pk in entries])
    return f"{names_of(names)} {verb} lines that another subtask changed as well{where}; {end}."


def _settling(moment: Moment, entries: Sequence[MergeEntry]) -> str:
    if any(entry.rung == Rung.PERSON for entry in entries):
        return "that needs a person"
    at_work = {attempt.subtask_id for attempt in moment.live}
    if any(entry.subtask_id in at_work for entry in entries):
        return "an agent is putting both together"
    return "that is settled next"


def _red(moment: Moment) -> str:
    """The newest verdict counts; a green one after it ends the alarm."""
    verdicts = [run for run in moment.gates if run.status in {GateStatus.GREEN, GateStatus.RED} and not run.flake]
    if not verdicts or verdicts[-1].status != GateStatus.RED:
        return ""
    by_id = {entry.public_id: entry for entry in moment.entries}
    tried = [by_id[one] for one in verdicts[-1].entries if one in by_id]
    names = names_of(entry.subtask.name for entry in tried)
    if not names:
        return "The repository's checks do not pass on the branch."
    landed = any(entry.status == EntryStatus.LANDED for entry in tried)
    after = "as it is after" if landed else "with"
    return f"The repository's checks do not pass on the branch {after} {names}."


def _landing(moment: Moment) -> str:
    waiting = [entry for entry in moment.entries if entry.status in ENTRY_OPEN]
    if not waiting:
        return ""
    names = names_of(entry.subtask.name for entry in waiting)
    return f"{names} {'is' if len(waiting) == 1 else 'are'} done and on the way to the swarm's branch."


def names_of(names: Iterable[str]) -> str:
    """`a, b and c`; of many the first few."""
    known = list(dict.fromkeys(names))
    if len(known) > MOST_NAMES + 1:
        return f"{', '.join(known[:MOST_NAMES])} and {len(known) - MOST_NAMES} more"
    return " and ".join(filter(None, (", ".join(known[:-1]), known[-1]))) if known else ""
