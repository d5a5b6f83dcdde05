"""The planner's conversation: it may look at the repository, and ends with a plan that was judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestration.adapters import prompts
from orchestration.adapters.git.store import BareRepository
from orchestration.agents.conversation import Conversation
from orchestration.agents.looking import look
from orchestration.agents.together import together
from orchestration.domain.conversation import Reply, ToolCall, find_json_object, parse_arguments
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.planning import SubmittedPlan, parse_plan

MAX_TURNS = 40
CUT_OFF = "Your answer was cut off: make the plan shorter, the rest can follow in the next iteration."

NOT_RUN = "Not run: the plan came first."
ACCEPTED = "The plan was taken."


@dataclass(frozen=True, slots=True)
class Planned:
    """`plan` is None where the answer was unusable twice; `problems` are those of the first try."""

    plan: SubmittedPlan | None
    problems: tuple[str, ...]

    @property
    def failure(self) -> AdapterError:
        """Of one without a plan; what was wrong both times is said once."""
        return AdapterError(Failure.TRANSIENT, " ".join(dict.fromkeys(self.problems)))


def plan(
    conversation: Conversation,
    store: BareRepository,
    sha: str,
    judge: Callable[[SubmittedPlan], list[str]],
    on_looks: Callable[[int], None] = lambda _: None,
) -> Planned:
    """Runs until a usable plan, or until a second one that cannot be used. `on_looks` is told how many looks at the
    repository come next, and may raise instead. Raises AdapterError."""
    first_problems: tuple[str, ...] = ()
    for _ in range(MAX_TURNS):
        reply = conversation.ask()
        submitted = next((call for call in reply.tool_calls if call.name == "submit_plan"), None)
        if reply.tool_calls and submitted is None:
            on_looks(len(reply.tool_calls))
            for call, said in zip(reply.tool_calls, _looks(reply.tool_calls, store, sha), strict=True):
                conversation.answer(call.id, said)
            continue
        found, problems = _read(reply, submitted, judge)
        if found:
            _close(conversation, reply, submitted)
            return Planned(found, first_problems)
        if reply.finish_reason == "length":
            problems = [*problems, CUT_OFF]
        if first_problems:
            return Planned(None, (*first_problems, *problems))
        first_problems = tuple(problems)
        _ask_again(conversation, reply, submitted, problems)
    raise AdapterError(Failure.PERMANENT, f"The planner submitted no plan in {MAX_TURNS} turns.")


def _looks(calls: Sequence[ToolCall], store: BareRepository, sha: str) -> list[str]:
    """All at once: there is nothing else that a planner can do."""
    return [one.result() for one in together(lambda call: look(call, store, sha), calls, leave=lambda: None)]


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


def _close(conversation: Conversation, reply: Reply, submitted: ToolCall | None) -> None:
    """Every call has its answer, so that the conversation can go on in a later iteration."""
    for call in reply.tool_calls:
        conversation.answer(call.id, ACCEPTED if call is submitted else NOT_RUN)


def _ask_again(conversation: Conversation, reply: Reply, submitted: ToolCall | None, problems: list[str]) -> None:
    text = prompts.render("planner-repair", problems=" ".join(problems))
    for call in reply.tool_calls:
        conversation.answer(call.id, text if call is submitted else NOT_RUN)
    if not reply.tool_calls:
        conversation.tell(text)
