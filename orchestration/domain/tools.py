"""The tools of the contract: what a planner and a worker are offered, as names and JSON schemas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestration.domain.conversation import ToolCall, ToolSpec
from orchestration.domain.planning import MAX_TASKS_IN_PLAN
from orchestration.domain.sharing import MAX_VALUE_BYTES


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def _text(description: str = "") -> dict[str, Any]:
    return {"type": "string", "description": description} if description else {"type": "string"}


def _whole(default: int, description: str = "") -> dict[str, Any]:
    return {"type": "integer", "default": default} | ({"description": description} if description else {})


_TEXTS = {"type": "array", "items": {"type": "string"}}

_TASK = _object(
    ("name", "instruction"),
    name=_text("1 to 50 of a-z, 0-9 and -, new in this swarm"),
    instruction=_text("what to do, complete in itself"),
    acceptance=_text("how to see that it is done"),
    acceptance_checks=_TEXTS | {"description": "shell commands that exit with 0 when it is done"},
    scope=_TEXTS | {"description": "globs of the paths it may change"},
    dependencies=_TEXTS | {"description": "names of tasks that must have landed before"},
    priority={"type": "integer", "minimum": 1, "maximum": 10, "default": 5},
    specialty=_text(),
    kind={"type": "string", "enum": ["change", "verify", "research"], "default": "change"},
    decompose={"type": "boolean", "default": False},
    variants=_whole(1),
)

SUBMIT_PLAN = ToolSpec(
    "submit_plan",
    "Submit the plan of this iteration.",
    _object(
        ("scratchpad", "done", "tasks"),
        scratchpad=_text("goals and coverage, current state, reasoning, what workers reported"),
        done={"type": "boolean", "description": "nothing more is needed once the work in flight lands"},
        tasks={"type": "array", "items": _TASK, "maxItems": MAX_TASKS_IN_PLAN},
    ),
)

HANDOFF = ToolSpec(
    "handoff",
    "Hand off the work and end.",
    _object(
        ("status", "summary"),
        status={"type": "string", "enum": ["complete", "partial", "blocked", "failed"]},
        summary=_text("what was done, in 2 to 4 sentences"),
        concerns=_TEXTS,
        suggestions=_TEXTS,
        split={
            "type": "array",
            "items": _TASK,
            "description": "where the task is too large for one agent: its parts; what you changed so far lands first",
        },
    ),
)

LIST_FILES = ToolSpec(
    "list_files",
    "List files and folders.",
    _object(path=_text() | {"default": "."}, depth=_whole(2)),
    parallel=True,
)
READ_FILE = ToolSpec(
    "read_file",
    "Read a text file, by lines.",
    _object(("path",), path=_text(), offset=_whole(0, "first line, from 0"), limit=_whole(2000)),
    parallel=True,
)
GREP = ToolSpec(
    "grep",
    "Search file contents by an extended regular expression.",
    _object(("pattern",), pattern=_text(), path=_text() | {"default": "."}, glob=_text()),
    parallel=True,
)
GLOB = ToolSpec(
    "glob", "Find files by a glob such as src/**/*.py.", _object(("pattern",), pattern=_text()), parallel=True
)
GIT_LOG = ToolSpec("git_log", "The latest commits.", _object(limit=_whole(20)), parallel=True)

SHARE_RESULT = ToolSpec(
    "share_result",
    "Publish a value for the other agents of this swarm, such as a name, an interface or a finding they must agree on. "
    "The first subtask that takes a key owns it; sharing it again replaces your own value.",
    _object(
        ("key", "value"),
        key=_text("letters, digits and . _ / : -"),
        value={"description": f"any JSON, at most {MAX_VALUE_BYTES:,} bytes"},
        tags=_TEXTS,
    ),
)
GET_RESULTS = ToolSpec(
    "get_results",
    "Read what other agents of this swarm shared: those that fit every condition given (one of several tags is "
    "enough); without conditions, all.",
    _object(key=_text(), tags=_TEXTS, prefix=_text("how the key begins"), producer=_text("the name of a task")),
    parallel=True,
)

PLANNER_TOOLS = (SUBMIT_PLAN, LIST_FILES, READ_FILE, GREP, GIT_LOG)

ASK_HUMAN = ToolSpec(
    "ask_human",
    "Ask the people who follow this work, where only they can decide. You go on with their answer, which may take "
    "hours: look first whether the repository or your instruction answers it.",
    _object(
        ("question",),
        question=_text("complete in itself, with what you would do"),
        options=_TEXTS | {"description": "answers to choose from, if there are some"},
    ),
)
SAVE_ARTIFACT = ToolSpec(
    "save_artifact",
    "Keep a result beside the commit: give `content`, or the `path` of a file.",
    _object(("type", "name", "mime"), type=_text(), name=_text(), path=_text(), content=_text(), mime=_text()),
)

# What an agent that is not ours cannot have brought along.
OUTSIDE_TOOLS = (SAVE_ARTIFACT, SHARE_RESULT, GET_RESULTS, ASK_HUMAN, HANDOFF)

WORKER_TOOLS = (
    LIST_FILES,
    READ_FILE,
    ToolSpec("write_file", "Write a whole file.", _object(("path", "content"), path=_text(), content=_text())),
    ToolSpec(
        "edit_file",
        "Replace text in a file. `old` must occur exactly once, or set replace_all.",
        _object(
            ("path", "old", "new"),
            path=_text(),
            old=_text(),
            new=_text(),
            replace_all={"type": "boolean", "default": False},
        ),
    ),
    GLOB,
    GREP,
    ToolSpec(
        "bash",
        "Run a shell command in the repository's root, in a sandbox without network.",
        _object(("command",), command=_text(), timeout_s=_whole(120)),
    ),
    SAVE_ARTIFACT,
    SHARE_RESULT,
    GET_RESULTS,
    ASK_HUMAN,
    HANDOFF,
)

_WRITING = frozenset({"write_file", "edit_file"})
_WITHHELD = {"verify": _WRITING, "research": _WRITING | {"bash"}}

PARALLEL = frozenset(tool.name for tool in (*PLANNER_TOOLS, *WORKER_TOOLS) if tool.parallel)


def in_groups(calls: Sequence[ToolCall]) -> list[list[ToolCall]]:
    """In their order: neighbours that only look are one group, each other call is one of its own."""
    groups: list[list[ToolCall]] = []
    for call in calls:
        looks = call.name in PARALLEL
        if looks and groups and groups[-1][0].name in PARALLEL:
            groups[-1].append(call)
        else:
            groups.append([call])
    return groups


def tools_for(kind: str) -> tuple[ToolSpec, ...]:
    """Of a worker: a change needs all of them, a check runs commands but writes nothing, research only looks."""
    withheld = _WITHHELD.get(kind, frozenset())
    return tuple(tool for tool in WORKER_TOOLS if tool.name not in withheld)
