"""The planner's conversation: it may look at the repository, and ends with a plan that was judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestration.adapters import prompts
from orchestration.adapters.git.store import BareRepository
from orchestration.agents.conversation import Conversation
from orchestration.domain.conversation import Reply, ToolCall, find_json_object, parse_arguments
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.planning import SubmittedPlan, parse_plan

MAX_TURNS = 40
MAX_RESULT_CHARACTERS = 30_000


@dataclass(frozen=True, slots=True)
class Planned:
    """`plan` is None where the answer was unusable twice; `problems` are those of the first try."""

    plan: SubmittedPlan | None
    problems: tuple[str, ...]


def plan(
    conversation: Conversation, store: BareRepository, sha: str, judge: Callable[[SubmittedPlan], list[str]]
) -> Planned:
    """Runs until a usable plan, or until a second one that cannot be used. Raises AdapterError."""
    first_problems: tuple[str, ...] = ()
    for _ in range(MAX_TURNS):
        reply = conversation.ask()
        submitted = next((call for call in reply.tool_calls if call.name == "submit_plan"), None)
        if reply.tool_calls and submitted is None:
            for call in reply.tool_calls:
                conversation.answer(call.id, _look(call, store, sha))
            continue
        found, problems = _read(reply, submitted, judge)
        if found:
            return Planned(found, first_problems)
        if first_problems:
            return Planned(None, (*first_problems, *problems))
        first_problems = tuple(problems)
        _ask_again(conversation, reply, submitted, problems)
    raise AdapterError(Failure.PERMANENT, f"The planner submitted no plan in {MAX_TURNS} turns.")


def _read(
    reply: Reply, submitted: ToolCall | None, judge: Callable[[SubmittedPlan], list[str]]
) -> tuple[SubmittedPlan | None, list[str]]:
    """The plan in the call, or in the text of a model that answered in prose; and what is wrong with it."""
    try:
        arguments = parse_arguments(submitted) if submitted else find_json_object(reply.text)
        if arguments is None:
            return None, ["The answer is no call of submit_plan and contains no JSON object."]
        parsed = parse_plan(arguments)
    except InvalidInput as error:
        return None, [str(error)]
    problems = judge(parsed)
    return (None, problems) if problems else (parsed, [])


def _ask_again(conversation: Conversation, reply: Reply, submitted: ToolCall | None, problems: list[str]) -> None:
    text = prompts.render("planner-repair", problems=" ".join(problems))
    for call in reply.tool_calls:
        conversation.answer(call.id, text if call is submitted else "Not run: the plan came first.")
    if not reply.tool_calls:
        conversation.tell(text)


def _look(call: ToolCall, store: BareRepository, sha: str) -> str:
    """A read-only look at the repository's objects; errors are told to the model."""
    try:
        result = _run(call.name, parse_arguments(call), store, sha)
    except (InvalidInput, AdapterError) as error:
        return f"Error: {error}"
    if len(result) > MAX_RESULT_CHARACTERS:
        return result[:MAX_RESULT_CHARACTERS] + "\n... cut; ask for less at once."
    return result or "(nothing)"


def _run(name: str, arguments: dict[str, Any], store: BareRepository, sha: str) -> str:
    path = str(arguments.get("path") or "")
    match name:
        case "list_files":
            return "\n".join(store.list_files(sha, under="" if path == "." else path, limit=2000))
        case "read_file":
            return _lines(store, sha, path, arguments)
        case "grep":
            hits = store.grep(sha, str(arguments.get("pattern") or ""), under="" if path == "." else path, limit=200)
            return "\n".join(f"{hit.path}:{hit.line}: {hit.text}" for hit in hits)
        case "git_log":
            entries = store.log(sha, limit=_whole(arguments, "limit", 20))
            return "\n".join(f"{entry.sha[:10]} {entry.author}: {entry.subject}" for entry in entries)
    raise InvalidInput(f"There is no tool {name!r}; end with submit_plan.")


def _lines(store: BareRepository, sha: str, path: str, arguments: dict[str, Any]) -> str:
    content = store.read_file(sha, path)
    if content is None:
        raise InvalidInput(f"There is no file {path!r}.")
    start = _whole(arguments, "offset", 0)
    lines = content.decode("utf-8", "replace").splitlines()
    return "\n".join(lines[start : start + _whole(arguments, "limit", 2000)])


def _whole(arguments: dict[str, Any], name: str, default: int) -> int:
    value = arguments.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInput(f"{name} must be a whole number from 0.")
    return value
