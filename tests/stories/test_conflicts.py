"""Thirty agents of whom ten really conflict with what another one landed, in every way that git knows: all land."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestration.demo.service import Answer, Request, ScriptedService
from tests.stories.rig import Call, git, handoff, make_repository, plan, task

pytestmark = pytest.mark.sandbox
ALL = 30
DONE = handoff()
KEEP_BOTH = "sed -i -e '/^<<<<<<</d' -e '/^=======$/d' -e '/^>>>>>>>/d'"


def write(path: str, content: str) -> Call:
    return ("write_file", {"path": path, "content": content})


def bash(command: str) -> Call:
    return ("bash", {"command": command})


def base(number: int) -> str:
    return "".join(f"line {line} of {number}\n" for line in range(5))


@dataclass(frozen=True)
class Pair:
    """What each of two does, how whoever comes second settles it, and what is to be in which files at the end.

    `again`: what it does at its second try, where the first comes to nothing.
    """

    one: Call
    other: Call
    settles: Sequence[Call]
    ends: dict[str, list[str] | None]
    again: Sequence[Call] = ()


def overwriting(number: int, *settles: Call, again: Sequence[Call] = ()) -> Pair:
    path = f"pair-{number}.txt"
    one, other = (write(path, f"by {who}\n") for who in ("one", "other"))
    return Pair(one, other, settles, {path: ["by one", "by other"]}, again)


def mending(path: str) -> list[Call]:
    """Without bash: it looks, and takes a marker out before it writes the whole."""
    looks = ("read_file", {"path": path})
    edits = ("edit_file", {"path": path, "old": "<<<<<<<", "new": "", "replace_all": True})
    return [looks, edits, write(path, "by one\nby other\n")]


def adding(number: int) -> Pair:
    path = f"new-{number}.txt"
    settle = bash(f"{KEEP_BOTH} {path}")
    return Pair(write(path, "by one\n"), write(path, "by other\n"), [settle], {path: ["by one", "by other"]})


def deleting(number: int, *, stays: bool) -> Pair:
    path = f"pair-{number}.txt"
    settle = write(path, "of both\n") if stays else bash(f"rm -f {path}")
    return Pair(write(path, "by one\n"), bash(f"rm {path}"), [settle], {path: ["of both"] if stays else None})


def renaming(number: int) -> Pair:
    path, one, other = f"pair-{number}.txt", f"one-name-{number}.txt", f"other-name-{number}.txt"
    ends = {path: None, other: None, one: base(number).splitlines()}
    return Pair(bash(f"mv {path} {one}"), bash(f"mv {path} {other}"), [bash(f"rm -f {other}")], ends)


PAIRS = [
    overwriting(0, bash(f"{KEEP_BOTH} pair-0.txt")),
    overwriting(1, write("pair-1.txt", "by one\nby other\n")),
    overwriting(2, *mending("pair-2.txt")),
    overwriting(3, DONE, write("pair-3.txt", "by one\nby other\n")),  # it is told of the markers, and mends
    overwriting(4, handoff("failed"), again=[write("pair-4.txt", "by one\nby other\n")]),
    adding(5),
    adding(6),
    deleting(7, stays=True),
    deleting(8, stays=False),
    renaming(9),
]


@dataclass
class Script:
    """Of a pair nobody is answered before the other one has begun: so both know only the base."""

    service: ScriptedService | None = None
    begun: set[str] = field(default_factory=set)

    def __call__(self, request: Request) -> Answer:
        if request.closing == "submit_plan":
            names = [f"{who}-{number}" for number in range(len(PAIRS)) for who in ("one", "other")]
            return Answer(calls=(plan(*map(task, names), *(task(f"free-{n}") for n in range(ALL - len(names)))),))
        who, _, number = request.subtask.partition("-")
        if who == "free":
            return _turn(request, [write(f"free-{number}.txt", "free\n"), DONE])
        pair = PAIRS[int(number)]
        if "cannot be merged" in request.first_text:
            second = "came to nothing" in request.first_text
            return _turn(request, [*(pair.again if second else pair.settles), DONE])
        if request.turns == 0:
            self._begin(request.subtask, number)
        return _turn(request, [getattr(pair, who), DONE], held=number)

    def _begin(self, name: str, number: str) -> None:
        self.begun.add(name)
        if self.service and {f"one-{number}", f"other-{number}"} <= self.begun:
            self.service.release(number)


def _turn(request: Request, calls: Sequence[Call], held: str = "") -> Answer:
    return Answer(calls=(calls[min(request.turns, len(calls) - 1)],), held=held)


def test_ten_real_conflicts_of_every_kind_are_settled_and_all_thirty_land(install, tmp_path: Path):
    repository = make_repository(tmp_path / "repository", {f"pair-{n}.txt": base(n) for n in range(len(PAIRS))})
    script = Script()
    installation = install(script)
    script.service = installation.service

    done = installation.run(repository, "--wait")

    assert done.code == 0, done.err
    result = done.last
    assert (result["status"], result["landed"], result["failed"]) == ("succeeded", ALL, 0)
    assert files(repository, result["branch"]) == expected()
    entries = installation.swarm("show", result["id"], "--json").last["merge_entries"]
    ends = [entry["status"] for entry in entries]
    assert (ends.count("landed"), ends.count("superseded")) == (ALL, len(PAIRS)), "each conflict was a real one"
    git(repository, "fsck", "--strict", "--no-dangling")


def files(repository: Path, branch: str) -> dict[str, list[str]]:
    """Lines in order of their words: who came second is not known."""
    names = git(repository, "ls-tree", "-r", "--name-only", branch).split()
    return {name: sorted(git(repository, "show", f"{branch}:{name}").splitlines()) for name in names}


def expected() -> dict[str, list[str]]:
    free = {f"free-{number}.txt": ["free"] for number in range(ALL - 2 * len(PAIRS))}
    left = {f"pair-{number}.txt": base(number).splitlines() for number in (5, 6)}  # nobody touched it
    ends = {path: lines for pair in PAIRS for path, lines in pair.ends.items() if lines is not None}
    return free | left | ends
