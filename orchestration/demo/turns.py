"""One turn of a scripted worker: what it says and which tools it calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.demo.repository import CHECKS

CHANGES = Path(__file__).with_name("changes")

Call = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Turn:
    text: str
    calls: tuple[Call, ...]


def turn(text: str, *calls: Call) -> Turn:
    return Turn(text, calls)


def listing(path: str = ".", depth: int = 2) -> Call:
    return "list_files", {"path": path, "depth": depth}


def read(path: str) -> Call:
    return "read_file", {"path": path}


def grep(pattern: str, path: str = ".") -> Call:
    return "grep", {"pattern": pattern, "path": path}


def content(subtask: str, path: str) -> str:
    """What a worker writes stands as a file under changes/, where it can be read and run."""
    return (CHANGES / subtask / path).read_text(encoding="utf-8")


def write(subtask: str, path: str, *, slip: tuple[str, str] | None = None) -> Call:
    """Write the file from changes/; `slip` is (right, wrong) for what is mended in a later turn."""
    text = content(subtask, path)
    return "write_file", {"path": path, "content": text.replace(*slip) if slip else text}


def edit(path: str, old: str, new: str) -> Call:
    return "edit_file", {"path": path, "old": old, "new": new}


def after(path: str, old: str, new: str) -> Call:
    """Insert `new` behind `old`."""
    return edit(path, old, old + new)


def bash(command: str) -> Call:
    return "bash", {"command": command, "timeout_s": 60}


def one_test(module: str) -> Call:
    return bash(f"python3 -m unittest tests.{module}")


def every_test() -> Call:
    return bash(CHECKS[0])


def artifact(subtask: str, name: str) -> Call:
    return "save_artifact", {
        "type": "report",
        "name": name,
        "content": content(subtask, name),
        "mime": "text/markdown",
    }


def handoff(summary: str, *, concerns: tuple[str, ...] = (), suggestions: tuple[str, ...] = ()) -> Call:
    return "handoff", {
        "status": "complete",
        "summary": summary,
        "concerns": list(concerns),
        "suggestions": list(suggestions),
    }
