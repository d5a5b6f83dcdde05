"""The twelve: three dependency levels of changes, each of which reads what it builds on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from orchestration.demo.service import Answer, Request
from tests.stories.rig import Call, git, handoff, plan, task, team

NAMES = [f"part-{number:02d}" for number in range(12)]
DEPENDENCIES: dict[str, list[str]] = {
    name: [] if number < 4 else [NAMES[number - 4]] + ([NAMES[(number - 3) % 8]] if number >= 8 else [])
    for number, name in enumerate(NAMES)
}


def content(name: str) -> str:
    """What the worker of `name` writes: it can only be right when its dependencies were in its tree."""
    return "".join([f"{name}\n", *(content(needed) for needed in DEPENDENCIES[name])])


def calls(name: str) -> list[Call]:
    needed = " ".join(f"out/{one}.txt" for one in DEPENDENCIES[name])
    return [
        ("read_file", {"path": "README.md"}),
        ("write_file", {"path": f"out/{name}.txt", "content": "draft\n"}),
        ("edit_file", {"path": f"out/{name}.txt", "old": "draft", "new": name}),
        ("bash", {"command": f"cat {needed} >> out/{name}.txt; cat out/{name}.txt" if needed else "ls out"}),
        handoff(summary=f"Wrote {name}."),
    ]


def script(delay_s: float = 0.0) -> Callable[[Request], Answer]:
    tasks = [
        task(name, *needed, acceptance_checks=[f"grep -qx {name} out/{name}.txt"], scope=[f"out/{name}.txt"])
        for name, needed in DEPENDENCIES.items()
    ]
    return team([plan(*tasks)], calls, delay_s=delay_s)


def assert_landed(repository: Path, base: str, branch: str) -> None:
    """Exactly the twelve changes, each once and as its worker wrote it, and a repository that git finds sound."""
    changed = git(repository, "diff", "--name-only", base, branch).split()
    assert changed == sorted(f"out/{name}.txt" for name in NAMES)
    for name in NAMES:
        assert git(repository, "show", f"{branch}:out/{name}.txt") == content(name)
    trailers = git(
        repository, "log", "--first-parent", "--format=%(trailers:key=MQ-Task,valueonly)", f"{base}..{branch}"
    ).split()
    assert sorted(trailers) == NAMES
    git(repository, "fsck", "--strict", "--no-dangling")
