"""What a pull request says of a swarm: what became of each subtask, in words that call nobody and close nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MARK = "<!-- swarmsite:{id} -->"
MOST_CHARACTERS = 60_000
MOST_SUBTASKS = 100
_GAP = "\u200b"


@dataclass(frozen=True, slots=True)
class Done:
    name: str
    status: str
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    id: str
    request: str
    requester: str
    outcome: str
    url: str
    subtasks: Sequence[Done]
    checks: Sequence[tuple[str, bool]] = ()
    figures: str = ""


def harmless(text: str) -> str:
    """Agents' words as text: no mention, no reference that closes an issue, no markup of theirs, no picture."""
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]", " ", text)
    text = text.replace("<", "&lt;").replace("![", "!\\[")
    text = re.sub(r"@(?=\w)", f"@{_GAP}", text)
    return re.sub(r"#(?=\d)|(?<=\b[Gg][Hh]-)(?=\d)", lambda found: f"{found[0]}{_GAP}", text)


def body(report: Report) -> str:
    lines = [MARK.format(id=report.id), harmless(report.request.strip()), "", f"**{harmless(report.outcome)}**", ""]
    if report.checks:
        lines += ["Checks on the result:", ""]
        lines += [f"- `{command.replace('`', chr(39))}`: {'passed' if ok else 'red'}" for command, ok in report.checks]
        lines.append("")
    lines += ["| subtask | end | what was done |", "|---|---|---|"]
    lines += [_row(one) for one in report.subtasks[:MOST_SUBTASKS]]
    if len(report.subtasks) > MOST_SUBTASKS:
        lines.append(f"| and {len(report.subtasks) - MOST_SUBTASKS} more | | |")
    lines += ["", f"{report.figures} Asked for by {harmless(report.requester)}. [The whole swarm]({report.url})"]
    return "\n".join(lines)[:MOST_CHARACTERS]


def _row(one: Done) -> str:
    first = harmless(" ".join(one.summary.split())[:300]).replace("|", "\\|")
    return f"| {one.name} | {one.status.replace('_', ' ')} | {first} |"
