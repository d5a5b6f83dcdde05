"""A conflict that needs a person, on the command line: what it shows, and what a person does about it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestration.domain.errors import InvalidInput
from orchestration.domain.texts import first_line
from orchestration.models import MergeEntry, Swarm, User
from orchestration.reads.questions import conflicts_for_people
from orchestration.stages.mediate import Choice, Take, give_up, guide, settle
from orchestration.stages.sides import Conflicting, File, Side, conflicting

TAKES = {
    Take.OURS: "what landed",
    Take.THEIRS: "what the subtask has",
    Take.BOTH: "the lines of both, what landed first",
}
STDIN = "-"


def describe(parser: ArgumentParser) -> None:
    parser.add_argument("id")
    parser.add_argument("subtask", nargs="?", default="", help="its name; without it: the only one that needs you")
    for take, what in TAKES.items():
        parser.add_argument(
            f"--{take}",
            action="append",
            default=[],
            metavar="PATH",
            help=f"this file becomes {what}; may be given again",
        )
    parser.add_argument(
        "--file",
        action="append",
        nargs=2,
        default=[],
        metavar=("PATH", "FILE"),
        help=f"PATH becomes what FILE holds, {STDIN} for standard input; may be given again",
    )
    parser.add_argument(
        "--again", action="store_true", help="the branch has moved and nothing conflicts any more: land it"
    )
    parser.add_argument("--tell", default="", metavar="TEXT", help="send it back to its agent, with this")
    parser.add_argument("--give-up", action="store_true", help="its work does not land; the planner hears of it")


def act(entry: MergeEntry, person: User, options: Mapping[str, Any]) -> str:
    """What was done, as a sentence; empty where nothing was asked for. Raises InvalidInput."""
    choices = dict(_choices(options))
    if sum([bool(choices), options["again"], bool(options["tell"]), options["give_up"]]) > 1:
        raise InvalidInput("Settle it, try it again, tell its agent, or give it up: one of them at a time.")
    if options["tell"]:
        guide(entry, person, options["tell"])
        return "Told: the agent tries again as soon as it has a place."
    if options["give_up"]:
        give_up(entry, person)
        return "Given up. Its work is kept as a commit, and the planner hears of it."
    if not choices and not options["again"]:
        return ""
    settle(entry, person, choices)
    return "Settled: it is in its place in the merge queue again."


def find_conflict(swarm: Swarm, name: str) -> MergeEntry:
    """That needs a person: this subtask's, or the only one there is."""
    rows = conflicts_for_people(swarm).select_related("swarm__repository__team", "attempt__handoff")
    found = list(rows.filter(subtask__name=name) if name else rows)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(one.subtask.name for one in found)
        raise InvalidInput(f"{len(found)} conflicts need you. Name one of them: {names}.")
    raise InvalidInput(f"No conflict of {name or 'this swarm'} needs you.")


def _choices(options: Mapping[str, Any]) -> Iterator[tuple[str, Choice]]:
    given = [(path, Choice(take)) for take in TAKES for path in options[take.value]]
    given += [(path, Choice(Take.EDITED, _content(file))) for path, file in options["file"]]
    seen: set[str] = set()
    for path, choice in given:
        if path in seen:
            raise InvalidInput(f"Say once what becomes of {path}.")
        seen.add(path)
        yield path, choice


def _content(file: str) -> str:
    try:
        return sys.stdin.read() if file == STDIN else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} cannot be read: {error}.") from None


def as_facts(entry: MergeEntry) -> dict[str, Any]:
    """All that the page shows, for a script."""
    found = conflicting(entry)
    return {
        "swarm": entry.swarm.public_id,
        "subtask": entry.subtask.name,
        "reason": entry.subtask.status_reason,
        "mergeable": found.gone,
        "problem": found.problem,
        "tries": [
            {"attempt": one.number, "rung": one.rung, "status": one.status, "reason": one.status_reason}
            for one in entry.resolutions.order_by("number")
        ],
        "rivals": [{"subtask": one.name, "instruction": one.instruction, "said": one.said} for one in found.rivals],
        "files": [_file_facts(one) for one in found.files],
    }


def _file_facts(file: File) -> dict[str, Any]:
    sides = {"base": file.base, "ours": file.ours, "theirs": file.theirs}
    return {
        "path": file.path,
        "lines": file.lines,
        "merged": file.merged,
        **{name: {"exists": side.exists, "text": side.text, "note": side.note} for name, side in sides.items()},
    }


def as_text(entry: MergeEntry) -> Iterator[str]:
    """The same for a reader: each file as git merged it, with its markers, or else what there is of each side."""
    name, found = entry.subtask.name, conflicting(entry)
    yield f"{name}: {entry.subtask.status_reason}"
    for one in entry.resolutions.order_by("number"):
        yield f"  attempt {one.number} {one.status}: {one.status_reason}"
    for rival in found.rivals:
        yield f"  landed by {rival.name}: {first_line(rival.instruction, 200)}"
    yield from _files(found)
    yield from _hints(entry.swarm, name, found)


def _files(found: Conflicting) -> Iterator[str]:
    if found.problem:
        yield f"The conflict cannot be shown: {found.problem}"
    for file in found.files:
        yield f"\n== {file.path}: {file.what}"
        if file.lines and file.merged is not None:
            yield file.merged.rstrip("\n")
            continue
        for side in file.sides:
            yield from _side(side)


def _side(side: Side) -> Iterator[str]:
    yield f"-- {side.name}{f': {side.note}' if side.note else ''}"
    if side.text is not None:
        yield side.text.rstrip("\n")


def _hints(swarm: Swarm, name: str, found: Conflicting) -> Iterator[str]:
    command = f"manage.py swarm conflict {swarm.public_id} {name}"
    if found.gone:
        yield f"By now it can be merged as it is: the branch has moved. {command} --again"
        return
    yield "\nAbove ======= is what landed, below it what the subtask has. Say what becomes of each file:"
    yield f"  {command} [--ours PATH] [--theirs PATH] [--both PATH] [--file PATH FILE] ..."
    yield f"Or: {command} --tell TEXT, or: {command} --give-up"
