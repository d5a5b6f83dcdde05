"""Writes down what an attempt does while it works: one transaction a turn."""

from __future__ import annotations

import threading
import time
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from orchestration.adapters.secrets import clean
from orchestration.domain.conversation import Reply, ToolCall, parse_arguments
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.texts import first_line
from orchestration.models import Attempt, Step, Swarm
from orchestration.models.prepared import PreparedUpdate, insert
from orchestration.stages import keeping
from orchestration.stages.accounting import Calls, book, plausible
from orchestration.stages.aloud import Aloud
from orchestration.stages.leases import release_connection
from orchestration.stages.transition import progressed

ALIVE_EVERY_S = 5.0
_sign = PreparedUpdate(lambda pk, now: (Attempt.objects.filter(pk=pk), {"last_sign_at": now}))
_rest = PreparedUpdate(lambda pk, now: (Attempt.objects.filter(pk=pk), {"last_sign_at": now, "doing": ""}))
_SAYS_MOST = ("command", "path", "pattern", "name", "summary")  # of a call's arguments, for one line on a card


class AttemptReport:
    """The agent's Report without its judgement; `Inspection` adds that."""

    def __init__(self, swarm: Swarm, attempt: Attempt, max_total_steps: int) -> None:
        self._swarm = swarm
        self._attempt = attempt
        self._max_total_steps = max_total_steps
        self._last_calls: int | None = None  # how many of this turn's calls may still run, where not all of them may
        self._turn = attempt.steps  # one that has waited for a person goes on with its transcript
        self._number = attempt.transcript.count() if attempt.steps else 0
        self._waiting: list[Step] = []
        self._last_sign = time.monotonic()  # whoever claimed it has just given one
        self._lock = threading.RLock()  # an agent that is not ours may have several calls in flight
        self._shared = False
        self._outputs = 0
        self.aloud = Aloud(attempt)

    def turn(self, reply: Reply) -> None:
        """Books the answer and writes the last turn's results. Raises AdapterError(BUDGET) where none of its calls may
        run: each is counted before it runs, and the swarm's limit is never passed."""
        granted = self.answered(reply, self._attempt)
        if granted < len(reply.tool_calls):
            self._last_calls = granted
            self._require_calls()

    def answered(self, reply: Reply, on: Attempt) -> int:
        """Books it on `on`, the attempt as whoever asked holds it, and says how many of its tool calls may run."""
        reply = plausible(reply)
        calls = Calls(len(reply.tool_calls), self._max_total_steps)
        with self._lock:
            self._turn += 1
            if reply.text or not reply.tool_calls:
                self._add(text=reply.text, tokens=reply.usage.output_tokens)
            with transaction.atomic():
                self._write_steps()
                seen = {"doing": _doing(reply.tool_calls), "last_sign_at": timezone.now()}
                granted = book(self._swarm, reply, on=on, calls=calls, **seen)
        progressed(self._swarm)
        self.aloud.over()
        release_connection()
        return granted

    @property
    def turns(self) -> int:
        """That the attempt has had."""
        return self._turn

    def may_run(self, wanted: int) -> int:
        return wanted if self._last_calls is None else min(wanted, self._last_calls)

    def ran(self, tool: str, arguments: dict[str, Any], result: str, *, ok: bool, duration_ms: int) -> None:
        """Kept until the next turn or the end: one transaction a turn. Raises AdapterError(BUDGET) after the last."""
        self._add(tool=tool[:64], arguments=arguments, text=result, ok=ok, duration_ms=duration_ms)
        if self._last_calls is not None:
            self._last_calls -= 1
            self._require_calls()

    def _require_calls(self) -> None:
        if self._last_calls == 0:
            reason = f"The swarm's limit of {self._max_total_steps} tool calls is used up."
            raise AdapterError(Failure.BUDGET, reason)

    def alive(self) -> None:
        now = time.monotonic()
        if now - self._last_sign >= ALIVE_EVERY_S:
            self._last_sign = now
            _sign(pk=self._attempt.pk, now=timezone.now())
            release_connection()

    def flush(self) -> None:
        """Writes what the last turn did; called at the end, whatever the end was."""
        with self._lock, transaction.atomic():
            self._write_steps()
            _rest(pk=self._attempt.pk, now=timezone.now())
        self.aloud.over()

    def save_artifact(self, *, type_: str, name: str, mime: str, content: bytes) -> str:
        return keeping.save(self._attempt, type_=type_, name=name, mime=mime, content=content)

    def keep_output(self, tool: str, text: str) -> str:
        """Keeps what is too long for the model, and says under which name; empty where it is not kept."""
        with self._lock:
            self._outputs += 1
            name = f"{tool}-{self._turn}-{self._outputs}.txt"
        return keeping.keep_output(self._attempt, name, text)

    def _add(self, **fields: Any) -> None:
        with self._lock:
            self._number += 1
            self._waiting.append(
                Step(attempt_id=self._attempt.pk, number=self._number, turn=self._turn, **clean(fields))
            )

    def share(self) -> None:
        """Another process may write this attempt's transcript as well: from now on the rows say what number is next."""
        self._shared = True
        self._turn = self._attempt.steps

    def _write_steps(self) -> None:
        if self._waiting:
            if self._shared:
                self._renumber()
            insert(self._waiting)
        self._waiting = []
        self._last_sign = time.monotonic()

    def _renumber(self) -> None:
        Attempt.objects.select_for_update(no_key=True).get(pk=self._attempt.pk)  # one after the other
        last = Step.objects.filter(attempt=self._attempt).aggregate(last=Max("number"))["last"] or 0
        for number, step in enumerate(self._waiting, last + 1):
            step.number = number


def _doing(calls: tuple[ToolCall, ...]) -> str:
    """The turn's first call in one line: what the page shows on the agent's card."""
    if not calls:
        return "thinking"
    try:
        arguments = parse_arguments(calls[0])
    except InvalidInput:
        arguments = {}
    said = next((str(arguments[name]) for name in _SAYS_MOST if arguments.get(name)), "")
    return str(clean(first_line(f"{calls[0].name} {said}", 200)))
