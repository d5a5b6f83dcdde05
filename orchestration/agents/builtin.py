"""Our own agent: a tool loop in the worker's process whose commands run in the sandbox."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError

from orchestration.adapters.cancellation import Cancellation
from orchestration.agents.arguments import AskHuman
from orchestration.agents.assignment import Assignment, Report, Suspended, Workplace
from orchestration.agents.conversation import Clock, Conversation
from orchestration.agents.together import together
from orchestration.agents.toolbox import Toolbox
from orchestration.domain.conversation import Message, ToolCall, find_json_object, parse_arguments
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.handoffs import Claim, SubmittedHandoff, parse_handoff
from orchestration.domain.steering import ONE_AT_A_TIME, WAITS, Resumption
from orchestration.domain.tools import in_groups, tools_for
from orchestration.domain.validation import sentences

ASK = "ask_human"
MAX_PROSE = 3  # answers in a row without a tool call
MAX_SAME_CALL = 8  # the same call in a row
CIRCLE, IN_A_CIRCLE = 30, 3  # so many calls, of which no more than so few are different
MAX_REFUSED_HANDOFFS = 2  # then the claim stands and our verdict with it

USE_TOOLS = "Go on with the tools. When you are done, or cannot go on, call handoff."
GO_ON = "Your answer was cut off. Go on; write smaller pieces."


class BuiltinAgent:
    def run(
        self, assignment: Assignment, workplace: Workplace, report: Report, cancellation: Cancellation
    ) -> SubmittedHandoff:
        """Works until the handoff. Raises AdapterError, OutOfTime among them, and Suspended."""
        before = assignment.resumption
        clock = Clock(assignment.timeout_s, before.used_s if before else 0.0)
        tools = tools_for(assignment.kind)
        conversation = Conversation(
            assignment.endpoint,
            tools,
            "worker",
            clock,
            assignment.retries,
            cancellation,
            on_reply=report.turn,
            on_progress=lambda _: report.alive(),
            meanwhile=workplace.files,
            around=report.around,
            inbox=report.inbox,
            listener=report.listener,
        )
        loop = _Loop(conversation, Toolbox(workplace, report, clock, cancellation, [one.name for one in tools]), report)
        if before:
            loop.go_on(before)
        else:
            conversation.messages = [Message("system", assignment.system), Message("user", assignment.task)]
        return loop.run(assignment.max_steps, begun=before.steps if before else 0)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Of one call."""

    call: ToolCall
    arguments: dict[str, Any]
    result: str
    ok: bool = False
    duration_ms: int = 0


class _Loop:
    def __init__(self, conversation: Conversation, toolbox: Toolbox, report: Report) -> None:
        self._conversation = conversation
        self._toolbox = toolbox
        self._report = report
        self._prose = 0
        self._refused = 0
        self._latest: deque[tuple[str, str]] = deque(maxlen=CIRCLE)

    def go_on(self, before: Resumption) -> None:
        """With the answer that it has waited for."""
        self._prose = before.memory.get("prose", 0)
        self._refused = before.memory.get("refused", 0)
        self._conversation.messages = list(before.messages)
        self._conversation.answer(before.call_id, before.answer)
        self._report.ran(ASK, {"question": before.question}, before.answer, ok=True, duration_ms=0)

    def run(self, max_steps: int, *, begun: int) -> SubmittedHandoff:
        for _ in range(begun, max_steps):
            reply = self._conversation.ask()
            cut = reply.finish_reason == "length"
            if reply.tool_calls:
                self._prose = 0
                handoff = self._calls(reply.tool_calls, cut=cut)
            else:
                handoff = self._text(reply.text, cut=cut)
            if handoff:
                return handoff
        raise AdapterError(Failure.PERMANENT, f"The agent did not hand off within {max_steps} turns.")

    def _calls(self, calls: Sequence[ToolCall], *, cut: bool) -> SubmittedHandoff | None:
        """Every call gets its answer before the next turn; a handoff that is believed ends the attempt. Questions come
        last, because the agent may have to wait there."""
        asked = [call for call in calls if call.name == ASK]
        for group in in_groups(calls):
            if len(group) > 1:
                self._look(group, cut=cut)
                continue
            [call] = group
            self._note_repeat(call)
            handoff = None if call in asked else self._call(call, cut=cut)
            if handoff:
                return handoff
        for call in asked[1:]:
            self._conversation.answer(call.id, self._refuse(ASK, {"raw": call.arguments[:2000]}, ONE_AT_A_TIME))
        if asked:
            self._ask(asked[0], cut=cut)
        return None

    def _ask(self, call: ToolCall, *, cut: bool) -> None:
        """Raises Suspended where nobody has answered yet."""
        arguments: dict[str, Any] = {"raw": call.arguments[:2000]}
        try:
            arguments = parse_arguments(call)
            given = AskHuman.model_validate(arguments)
            known = self._report.ask_human(given.question, given.options)
        except (InvalidInput, ValidationError) as error:
            words = " ".join(sentences(error)) if isinstance(error, ValidationError) else str(error)
            why = f"Error: {words}" + (f" {GO_ON}" if cut else "")
            self._conversation.answer(call.id, self._refuse(ASK, arguments, why))
            return
        self._report.ran(ASK, arguments, known or WAITS, ok=True, duration_ms=0)
        if known is None:
            raise self._suspended(call, given)
        self._conversation.answer(call.id, known)

    def _suspended(self, call: ToolCall, given: AskHuman) -> Suspended:
        conversation = self._conversation
        memory = {"prose": self._prose, "refused": self._refused}
        used = conversation.clock.used()
        return Suspended(call.id, given.question, given.options, tuple(conversation.messages), used, memory)

    def _look(self, calls: Sequence[ToolCall], *, cut: bool) -> None:
        """All at once, told in their order. Where the agent is stopped at one of them, those before it have run."""
        due: list[ToolCall] = []
        try:
            for call in calls[: self._report.may_run(len(calls))]:
                self._note_repeat(call)
                due.append(call)
        finally:
            for outcome in together(partial(self._outcome, cut=cut), due, leave=self._report.leave):
                self._tell(outcome.result())

    def _call(self, call: ToolCall, *, cut: bool) -> SubmittedHandoff | None:
        if call.name != "handoff":
            self._tell(self._outcome(call, cut=cut))
            return None
        try:
            arguments = parse_arguments(call)
        except InvalidInput as error:
            self._tell(_unreadable(call, error, cut=cut))
            return None
        handoff, objection = self._hand_off(arguments)
        if handoff is None:
            self._conversation.answer(call.id, self._refuse("handoff", arguments, objection))
        return handoff

    def _refuse(self, name: str, arguments: dict[str, object], why: str) -> str:
        """What the model is told, shown to whoever watches as well."""
        self._report.ran(name, arguments, why, ok=False, duration_ms=0)
        return why

    def _outcome(self, call: ToolCall, *, cut: bool) -> _Outcome:
        """In any thread: nothing of the conversation is touched."""
        try:
            arguments = parse_arguments(call)
        except InvalidInput as error:
            return _unreadable(call, error, cut=cut)
        started = time.monotonic()
        result, ok = self._toolbox.run(call.name, arguments)
        return _Outcome(call, arguments, result, ok=ok, duration_ms=round((time.monotonic() - started) * 1000))

    def _tell(self, outcome: _Outcome) -> None:
        call, result = outcome.call, outcome.result
        self._report.ran(call.name, outcome.arguments, result, ok=outcome.ok, duration_ms=outcome.duration_ms)
        self._conversation.answer(call.id, result)

    def _hand_off(self, arguments: dict[str, object]) -> tuple[SubmittedHandoff | None, str]:
        """The handoff where it can stand, otherwise what the agent is told."""
        try:
            handoff = parse_handoff(arguments)
        except InvalidInput as error:
            return None, f"Error: {error}"
        claims = handoff.status is Claim.COMPLETE or handoff.split
        objections = self._report.objections(handoff) if claims else ()
        if not objections or self._refused >= MAX_REFUSED_HANDOFFS:
            return handoff, ""
        self._refused += 1
        return None, "Not complete yet. " + "\n".join(objections) + "\nMend it, or hand off with an honest status."

    def _text(self, text: str, *, cut: bool) -> SubmittedHandoff | None:
        """An answer in prose: a handoff in JSON is taken, otherwise the model is sent back to its tools."""
        told = GO_ON if cut else USE_TOOLS
        found = find_json_object(text)
        if found and "status" in found and "summary" in found:
            handoff, objection = self._hand_off(found)
            if handoff:
                return handoff
            told = self._refuse("handoff", found, objection)
        self._prose += 1
        if self._prose >= MAX_PROSE:
            raise AdapterError(Failure.PERMANENT, f"The model answered {MAX_PROSE} times without using a tool.")
        self._conversation.tell(told)
        return None

    def _note_repeat(self, call: ToolCall) -> None:
        """Raises AdapterError where the agent gets nowhere: it need not use up its turns for that."""
        self._latest.append((call.name, _plain(call)))
        last = list(self._latest)[-MAX_SAME_CALL:]
        name = call.name[:60]
        if len(last) == MAX_SAME_CALL and len(set(last)) == 1:
            raise AdapterError(
                Failure.PERMANENT, f"The agent made the same call of {name} {MAX_SAME_CALL} times in a row."
            )
        if len(self._latest) == CIRCLE and len(set(self._latest)) <= IN_A_CIRCLE:
            times = f"{CIRCLE} calls in a row were {len(set(self._latest))} different ones, {name} among them"
            raise AdapterError(Failure.PERMANENT, f"The agent went round in circles: its last {times}.")


def _unreadable(call: ToolCall, error: InvalidInput, *, cut: bool) -> _Outcome:
    why = f"Error: {error}" + (f" {GO_ON}" if cut else "")
    return _Outcome(call, {"raw": call.arguments[:2000]}, why)


def _plain(call: ToolCall) -> str:
    """The same for arguments that differ in their spaces or their order only."""
    try:
        return json.dumps(parse_arguments(call), sort_keys=True)
    except InvalidInput:
        return call.arguments
