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
HURRY_AT = (5, 1)  # turns before the end it is asked to submit what it has
CUT_OFF = "Your answer was cut off: make the plan shorter, the rest can follow in the next iteration."

NOT_RUN = "Not run: the plan came first."
ACCEPTED = "The plan was taken."
NOT_TAKEN = "That plan cannot be used either, and was not taken."


@dataclass(frozen=True, slots=True)
class Planned:
    """`plan` is None where the answer was unusable twice, or never came; `problems` are those of the first try, and
    what was wrong both times is said once."""

    plan: SubmittedPlan | None
    problems: tuple[str, ...]

    @property
    def failure(self) -> AdapterError:
        """Of one without a plan."""
        return AdapterError(Failure.TRANSIENT, " ".join(self.problems))


def plan(
    conversation: Conversation,
    store: BareRepository,
    sha: str,
    judge: Callable[[SubmittedPlan], list[str]],
    on_looks: Callable[[int], None] = lambda _: None,
) -> Planned:
    """Runs until a usable plan, until a second one that cannot be used, or to the last turn. `on_looks` is told how
    many looks at the repository come next, and may raise instead. Raises AdapterError."""
    first_problems: tuple[str, ...] = ()
    for left in reversed(range(MAX_TURNS)):
        reply = conversation.ask()
        submitted = next((call for call in reply.tool_calls if call.name == "submit_plan"), None)
        if reply.tool_calls and submitted is None:
            on_looks(len(reply.tool_calls))
            for call, said in zip(reply.tool_calls, _looks(reply.tool_calls, store, sha), strict=True):
                conversation.answer(call.id, said)
            if left in HURRY_AT:
                conversation.tell(prompts.render("planner-hurry", left=_turns(left)))
            continue
        found, problems = _read(reply, submitted, judge)
        if found:
            _close(conversation, reply, submitted, ACCEPTED)
            return Planned(found, first_problems)
        if reply.finish_reason == "length":
            problems = [*problems, CUT_OFF]
        if first_problems:
            _close(conversation, reply, submitted, NOT_TAKEN)
            return Planned(None, tuple(dict.fromkeys([*first_problems, *problems])))
        first_problems = tuple(problems)
        _ask_again(conversation, reply, submitted, problems)
    return Planned(None, (*first_problems, f"The planner submitted no plan in {MAX_TURNS} turns."))


def _turns(left: int) -> str:
    return "one more answer" if left == 1 else f"{left} more answers"


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


def _close(conversation: Conversation, reply: Reply, submitted: ToolCall | None, said: str) -> None:
    """Every call has its answer, so that the conversation can go on in a later iteration."""
    for call in reply.tool_calls:
        conversation.answer(call.id, said if call is submitted else NOT_RUN)


def _ask_again(conversation: Conversation, reply: Reply, submitted: ToolCall | None, problems: list[str]) -> None:
    text = prompts.render("planner-repair", problems=" ".join(problems))
    for call in reply.tool_calls:
        conversation.answer(call.id, text if call is submitted else NOT_RUN)
    if not reply.tool_calls:
        conversation.tell(text)
