"""Any agent with a command line, run to its end in the sandbox, reaching models through our gateway alone."""

from __future__ import annotations

import re

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.sandbox import Box, CommandResult, Program
from orchestration.agents.assignment import Assignment, Report, Workplace
from orchestration.agents.conversation import Clock
from orchestration.agents.programs import Outside
from orchestration.domain.agents import PROMPTS, asks_for
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.handoffs import Claim, SubmittedHandoff
from orchestration.domain.texts import storable

TAIL = 4000
AGAIN = "An earlier run ended, but it is not complete yet."
MAX_REFUSED_CLAIMS = 2  # then the claim stands and our verdict with it
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CANNOT_START = frozenset({126, 127})


class CommandAgent:
    """Told its task by {prompt} or {prompt_file} where the description has one of them, otherwise by its input."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    def run(
        self, assignment: Assignment, workplace: Workplace, report: Report, cancellation: Cancellation
    ) -> SubmittedHandoff:
        """Works until the handoff. Raises AdapterError, OutOfTime among them."""
        clock = Clock(assignment.timeout_s)
        told = task = assignment.task
        with self._outside.box() as box:
            for refused in range(MAX_REFUSED_CLAIMS + 1):
                news = report.inbox.news()
                task = "\n\n".join([task, *news])  # the next run has no memory of this one
                handoff = self._once(box, "\n\n".join([told, *news]), clock, report)
                claims = handoff.status is Claim.COMPLETE or handoff.split
                objections = report.objections(handoff) if claims else ()
                if not objections or refused == MAX_REFUSED_CLAIMS:
                    return handoff
                report.ran("handoff", {"status": handoff.status.value}, "\n".join(objections), ok=False, duration_ms=0)
                told = "\n".join([task, "", AGAIN, *objections])
        raise AssertionError  # pragma: no cover - the last round returns

    def _once(self, box: Box, told: str, clock: Clock, report: Report) -> SubmittedHandoff:
        spec, stop = self._outside.spec, self._outside.access.stop
        by_input = not any(asks_for(spec, name) for name in PROMPTS)
        program = self._outside.program(box, told, by_input=by_input)
        tools = self._outside.tools
        if tools:
            tools.begin()
        report.inbox.sent()
        ran = box.run(program, timeout_s=clock.left(), cancellation=stop)
        self._write_down(program, ran, report)
        stop.check()
        if ran.timed_out:
            clock.left()
        handoff = tools.handoff if tools and tools.handoff else _handoff(spec.name, ran)
        report.inbox.answered(handoff.summary)
        return handoff

    def _write_down(self, program: Program, ran: CommandResult, report: Report) -> None:
        said = _plain(ran.output)
        if said:
            report.save_artifact(type_="transcript", name="output.txt", mime="text/plain", content=ran.output.encode())
        ending = ran.limit or f"exit code {ran.exit_code}"
        report.ran(
            "command",
            {"command": self._outside.spec.argv[0]},
            f"{said[-TAIL:]}\n({ending})".strip(),
            ok=ran.exit_code == 0,
            duration_ms=ran.duration_ms,
        )


def _handoff(name: str, ran: CommandResult) -> SubmittedHandoff:
    tail = storable(_plain(ran.output)[-TAIL:])
    if ran.exit_code == 0 and not ran.limit:
        return SubmittedHandoff(status=Claim.COMPLETE, summary=tail or "It ended without a word.")
    how = ran.limit or f"It ended with exit code {ran.exit_code}."
    if ran.exit_code in CANNOT_START:
        raise AdapterError(Failure.PERMANENT, f"{name} could not be started. {tail}")
    return SubmittedHandoff(status=Claim.FAILED, summary=f"{how} {tail}".strip(), concerns=[how])


def _plain(output: str) -> str:
    """Without what only a terminal understands."""
    return _COLOURS.sub("", output).strip()
