"""The demo model: plays the planner and every worker of one fixed story, from the request alone.

Nothing is remembered between requests, so a story that was interrupted goes on where its messages say it was.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from orchestration.demo import building, foundations
from orchestration.demo.plan import FIRST_PLAN, FOLLOW_UPS, TASKS, FollowUp
from orchestration.demo.turns import Turn, listing, read, turn
from orchestration.demo.wire import Answer, Request, text_of
from orchestration.domain.conversation import Usage, estimate_tokens
from orchestration.domain.demonstration import REQUEST
from orchestration.domain.planning import PlannedTask
from orchestration.domain.states import SUBTASK_LOST, SUBTASK_SETTLED, SubtaskStatus

FIRST_WORDS = "I am a scripted demo model: I tell one fixed story, whatever I am asked."
OTHER_REQUEST = "This request is not the demo's own; the story is the same all the same."
GOALS = (
    "Goals and coverage: a plan of meals, a pantry, one shopping list in the order of the shop, readable amounts, "
    "an example, tests and the README."
)
ONLY_STORY = "I am a scripted demo model and know only the subtasks of my own story. Connect a real model for this one."
REFUSED = "I am a scripted demo model: I have one answer to this subtask, and it was not accepted."

CONFLICT = "cannot be merged: others changed the same files"  # so says prompts/resolve-task.md

TURNS: Mapping[str, tuple[Turn, ...]] = {**foundations.TURNS, **building.TURNS}

_LOOKS = (
    turn("I look at what the project is and what its rules are.", listing(), read("AGENTS.md"), read("SPEC.md")),
    turn(
        "Commands are found by themselves, so new ones need no common file. I look at the parts that a plan would "
        "build on.",
        read("larder/quantities.py"),
        read("larder/ingredients.py"),
    ),
)
_LOOKS_AGAIN = (turn("I look at what has landed since.", ("git_log", {})),)

_TOKENS_PER_TOOL = 110  # what a tool's description costs in a prompt
_CHARACTERS_PER_SECOND = 500
_LONGEST_STREAM_S = 1.2
_PIECES_PER_SECOND = 25
_STATUS = re.compile(
    rf"^\W*({'|'.join(TASKS)})\W+({'|'.join(SubtaskStatus)})\b",
    re.MULTILINE,
)


def story(speed: float = 1.0) -> Callable[[Request], Answer]:
    """The script for a ScriptedService. With a speed of 10 it takes a tenth of the time."""

    def script(request: Request) -> Answer:
        said = _answer(request)
        return _paced(request, said, speed)

    return script


def _answer(request: Request) -> Turn:
    if request.closing == "submit_plan":
        return _plan(request)
    if request.closing == "handoff":
        return _work(request)
    return Turn(ONLY_STORY, ())


# The planner.


def _plan(request: Request) -> Turn:
    """What is planned already is told by the newest list of tasks with their status, in whichever message it is."""
    known, turns = _newest_list(request), _turns_since_asked(request)
    looks = _offered(request, _LOOKS_AGAIN if known else _LOOKS)
    if turns < len(looks):
        return looks[turns]
    if not known:
        return _submit(request, FIRST_PLAN, done=False, state="Nothing is built yet.", why=_WHY_FIRST)
    if turns > len(looks):  # the plan was refused: there is nothing else to plan
        return _submit(request, (), done=True, state="", why="My last plan was refused, so I add nothing.")
    return _again(request, known)


_WHY_FIRST = (
    "The parts that need nothing but what is there can be built at once: plans, pantry, names, aisles, readable "
    "amounts, an example. The list, the commands and the texts follow as these land."
)


def _again(request: Request, known: Mapping[str, SubtaskStatus]) -> Turn:
    done = sum(status is SubtaskStatus.COMPLETE for status in known.values())
    state = f"{done} of {len(known)} tasks have landed or needed no change."
    missing = [each for each in FOLLOW_UPS if each.task.name not in known]
    possible = [each for each in missing if known.get(each.origin) not in SUBTASK_LOST]
    due = [each for each in possible if _has_reported(known.get(each.origin))]
    if due:
        why = " ".join(each.why for each in due)
        return _submit(request, _tasks(due), done=False, state=state, why=why)
    if any(status not in SUBTASK_SETTLED for status in known.values()) and possible:
        why = "What is reported so far asks for nothing new; I wait for the rest."
        return _submit(request, (), done=False, state=state, why=why)
    return _submit(request, (), done=True, state=state, why="Everything that the request asks for is planned.")


def _has_reported(status: SubtaskStatus | None) -> bool:
    return status in {SubtaskStatus.HANDED_OFF, SubtaskStatus.COMPLETE}


def _tasks(follow_ups: Iterable[FollowUp]) -> tuple[PlannedTask, ...]:
    return tuple(each.task for each in follow_ups)


def _submit(request: Request, tasks: Iterable[PlannedTask], *, done: bool, state: str, why: str) -> Turn:
    scratchpad = "\n\n".join(
        part
        for part in (
            FIRST_WORDS,
            "" if REQUEST.strip() in request.first_text else OTHER_REQUEST,
            GOALS,
            f"Current state: {state}" if state else "",
            f"Why this now: {why}",
        )
        if part
    )
    plan = {"scratchpad": scratchpad, "done": done, "tasks": [task.model_dump(mode="json") for task in tasks]}
    return Turn("", (("submit_plan", plan),))


def _newest_list(request: Request) -> dict[str, SubtaskStatus]:
    """A list is sent again only when it changed, so it may stand in an older message than the last."""
    texts = (text_of(message) for message in reversed(request.messages) if message.get("role") == "user")
    return next(filter(None, map(_statuses, texts)), {})


def _turns_since_asked(request: Request) -> int:
    """Answers to the newest question: those before it belong to earlier iterations."""
    roles = [message.get("role") for message in request.messages]
    asked = len(roles) - 1 - roles[::-1].index("user") if "user" in roles else 0
    return roles[asked:].count("assistant")


def _statuses(text: str) -> dict[str, SubtaskStatus]:
    """The first status that stands beside each name."""
    found: dict[str, SubtaskStatus] = {}
    for name, status in _STATUS.findall(text):
        found.setdefault(name, SubtaskStatus(status))
    return found


# The workers.


def _work(request: Request) -> Turn:
    scripts = foundations.RESOLUTIONS if CONFLICT in request.first_text else TURNS
    turns = scripts.get(request.subtask)
    if turns is None:
        return Turn("", (("handoff", {"status": "blocked", "summary": ONLY_STORY}),))
    script = _offered(request, turns)
    if request.turns > len(script):  # its handoff was refused, twice
        return Turn("", (("handoff", {"status": "failed", "summary": REFUSED}),))
    return script[min(request.turns, len(script) - 1)]


def _offered(request: Request, turns: Iterable[Turn]) -> list[Turn]:
    """The turns as far as the offered tools go: a read-only subtask may have fewer."""
    kept = (Turn(each.text, tuple(call for call in each.calls if call[0] in request.tools)) for each in turns)
    return [each for each in kept if each.calls]


# Time and tokens.


def _paced(request: Request, said: Turn, speed: float) -> Answer:
    length = len(said.text) + sum(len(_raw(arguments)) for _, arguments in said.calls)
    stream_s = min(_LONGEST_STREAM_S, length / _CHARACTERS_PER_SECOND)
    pieces = max(1, round(stream_s * _PIECES_PER_SECOND / max(1, len(said.calls) + bool(said.text))))
    return Answer(
        text=said.text,
        calls=said.calls,
        delay_s=_delay_s(request) / speed,
        pace_s=1 / _PIECES_PER_SECOND / speed,
        chunks=pieces,
        usage=_usage(request, said),
    )


def _delay_s(request: Request) -> float:
    """How long it thinks: 0.4 to 1.6 s, the same for the same turn of the same subtask."""
    return 0.4 + zlib.crc32(f"{request.subtask} {request.turns}".encode()) % 1200 / 1000


def _usage(request: Request, said: Turn) -> Usage:
    heard = sum(map(_tokens, request.messages)) + _TOKENS_PER_TOOL * len(request.tools)
    spoken = estimate_tokens(said.text) + sum(estimate_tokens(_raw(arguments)) for _, arguments in said.calls)
    return Usage(input_tokens=heard, output_tokens=spoken)


def _tokens(message: Mapping[str, Any]) -> int:
    calls = message.get("tool_calls") or ()
    return estimate_tokens(text_of(message)) + sum(estimate_tokens(call["function"]["arguments"]) for call in calls)


def _raw(arguments: Mapping[str, Any]) -> str:
    return orjson.dumps(arguments).decode()
