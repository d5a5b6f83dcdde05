"""Model calls of agents that are not ours: whoever holds an attempt's token asks as the attempt, within its limits."""

from __future__ import annotations

import copy
import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import F, QuerySet
from django.utils import timezone

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.gateway import RetryPolicy, get_gateway
from orchestration.adapters.llm.failures import RequestRefused
from orchestration.adapters.secrets import clean_messages
from orchestration.adapters.serving.access import GatewayAccess
from orchestration.adapters.serving.application import Application
from orchestration.adapters.serving.server import serving
from orchestration.adapters.serving.shape import Question, Refusal, Trouble
from orchestration.agents.conversation import CALL_TIMEOUT_S, OutOfTime
from orchestration.agents.mcp import ToolServer
from orchestration.domain.conversation import Message, Reply, ToolSpec
from orchestration.domain.endpoints import ModelRole
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.states import AttemptStatus
from orchestration.domain.steering import WAITS
from orchestration.models import Attempt
from orchestration.stages.accounting import Spending
from orchestration.stages.leases import release_connection
from orchestration.stages.relay import Relay
from orchestration.stages.reporting import AttemptReport
from orchestration.stages.rows import config_of, endpoint_for

AT_ONCE = 8  # calls of one attempt
LONGEST_ANSWER = 8192  # tokens: what every current model accepts. Who asks for more gets the endpoint's own limit
FIRST_LOOK_S, LONGEST_LOOK_S = 0.02, 1.0  # while calls in flight may take the last of the turns
CLOSE_S = 30.0
OVER = "The attempt is over."

_WRONG = Trouble(401, "The token is missing or wrong; use the one that this agent was given.", "invalid_token")
_ENDED = Trouble(401, "The attempt of this token is over, so the token is void.", "invalid_token")
_TOO_MANY = Trouble(
    429, f"At most {AT_ONCE} calls of one attempt may run at once; ask again.", "rate_limit_exceeded", again=True
)

_NO_TOOLS = Trouble(404, "No tools are offered here.", "not_found")


class Line:
    """One attempt's line to the models. `stop` is set when a call met a limit that ends the attempt."""

    def __init__(
        self,
        attempt: Attempt,
        report: AttemptReport,
        left: Callable[[], float],
        stop: Cancellation,
        tools: ToolServer | None = None,
    ) -> None:
        swarm = attempt.subtask.swarm
        config = config_of(swarm)
        self._attempt = attempt
        self._swarm = swarm
        self._report = report
        self._left = left
        self._stop = stop
        self._tools = tools
        self._relay = Relay(attempt, lambda: report.turns)
        self._most_steps = config.max_steps_per_subagent
        self._retries = RetryPolicy(config.max_retries, config.base_delay_ms, config.max_delay_ms)
        self._endpoint = endpoint_for(swarm, ModelRole.WORKER)
        report.share()
        self._idle = threading.Condition()
        self._calls = 0
        self._ended = time.monotonic()

    @property
    def model(self) -> str:
        return self._endpoint.model

    def admit(self, token: str) -> Line:
        """Raises Refusal: this attempt's token only, while the attempt runs under the lease that it began with."""
        with _own_connection():
            row = self._row().values_list("gateway_hash", flat=True).first() or ""
            if not fits(token, row):
                raise Refusal(_WRONG)
            if not self._live().exists():
                raise Refusal(_ENDED)
        return self

    def ask(self, question: Question, hung_up: Cancellation) -> Reply:
        """Blocks until the answer is whole and booked. What ends the attempt also sets `stop`."""
        with self._counted(), _own_connection(), self._stop.calling(lambda: hung_up.cancel(self._stop.reason)):
            try:
                return self._ask(question, hung_up)
            except AdapterError as error:
                if _ends_the_attempt(error):
                    self._stop.cancel(str(error), error)
                if error.kind is Failure.CANCELLED:
                    self._stop.check()  # the limit that another call met says more
                raise

    def serve(self, message: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Its own tools. Where it asked what only a person can answer, it is stopped, and begins again with that."""
        if self._tools is None:
            raise Refusal(_NO_TOOLS)
        with self._counted(), _own_connection():
            self._report.alive()
            answer = self._tools.answer(message)
            if self._tools.suspended:
                self._stop.cancel(WAITS)
            return answer

    def idle(self) -> float:
        """Seconds without any call in flight."""
        with self._idle:
            return 0.0 if self._calls else time.monotonic() - self._ended

    def wait_until_idle(self, seconds: float) -> bool:
        with self._idle:
            return self._idle.wait_for(lambda: self._calls == 0, seconds)

    def _ask(self, question: Question, hung_up: Cancellation) -> Reply:
        on = copy.copy(self._attempt)
        on.reserved_tokens, on.reserved_usd = 0, Decimal(0)
        spending = Spending(on, self._swarm, hung_up)
        with self._relay.told(question.messages, tools=bool(question.tools)) as (messages, ear):
            question = replace(question, messages=tuple(self._fitted(messages, question.tools)))
            with self._turn(hung_up), spending.call(self._endpoint, question.messages, question.tools, self._left):
                reply = self._complete(question, hung_up, ear.sent)
                granted = self._report.answered(reply, on)
            ear.answered(reply.text)
            if reply.tool_calls and not granted:
                most = config_of(self._swarm).max_total_steps
                raise AdapterError(Failure.BUDGET, f"The swarm's limit of {most} tool calls is used up.")
            return replace(reply, tool_calls=reply.tool_calls[:granted])

    def _fitted(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Sequence[Message]:
        """An agent that does not know the model's window keeps its instruction and its latest turns."""
        clean = clean_messages(messages)  # before it is cut: half a secret would not be known
        return get_gateway().fitted(self._endpoint, clean, tools)

    def _complete(self, question: Question, hung_up: Cancellation, on_sent: Callable[[], None]) -> Reply:
        most = question.max_output_tokens
        return get_gateway().complete(
            self._endpoint,
            question.messages,
            question.tools,
            purpose="worker",
            cancellation=hung_up,
            tool_choice=question.tool_choice,
            sampling=question.sampling,
            max_output_tokens=most if most and most < LONGEST_ANSWER else None,
            timeout_s=min(CALL_TIMEOUT_S, self._left()),
            retries=self._retries,
            on_progress=lambda _: self._report.alive(),
            on_sent=on_sent,
            listener=self._report.aloud,
        )

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._idle:
            self._calls += 1
        try:
            yield
        finally:
            with self._idle:
                self._calls -= 1
                self._ended = time.monotonic()
                self._idle.notify_all()

    @contextmanager
    def _turn(self, hung_up: Cancellation) -> Iterator[None]:
        """One of the attempt's turns is this call's: counted in the row, because it may be asked in two processes."""
        self._take_turn(hung_up)
        release_connection()
        try:
            yield
        finally:
            self._row().filter(reserved_steps__gt=0).update(reserved_steps=F("reserved_steps") - 1)

    def _take_turn(self, hung_up: Cancellation) -> None:
        look = FIRST_LOOK_S
        while not self._try_turn():
            self._require_turn()
            release_connection()
            hung_up.wait(min(look, self._left()))
            hung_up.check()
            look = min(2 * look, LONGEST_LOOK_S)

    def _try_turn(self) -> bool:
        free = self._live().filter(reserved_steps__lt=AT_ONCE, steps__lt=self._most_steps - F("reserved_steps"))
        return free.update(reserved_steps=F("reserved_steps") + 1) == 1

    def _require_turn(self) -> None:
        """Returns where calls in flight may yet fail and leave their turns to others."""
        found = self._live().values_list("steps", "reserved_steps").first()
        if found is None:
            raise Refusal(_ENDED)
        steps, in_flight = found
        if steps >= self._most_steps:
            message = f"The agent did not hand off within {self._most_steps} turns."
            raise Refusal(Trouble(429, message, "step_limit_reached"))
        if in_flight >= AT_ONCE:
            raise Refusal(_TOO_MANY)

    def _row(self) -> QuerySet[Attempt]:
        return Attempt.objects.filter(pk=self._attempt.pk)

    def _live(self) -> QuerySet[Attempt]:
        return self._row().filter(
            status=AttemptStatus.RUNNING, lease_token=self._attempt.lease_token, lease_expires_at__gt=timezone.now()
        )


@contextmanager
def open_gateway(
    attempt: Attempt,
    report: AttemptReport,
    cancellation: Cancellation,
    *,
    network: bool,
    left: Callable[[], float],
    tools: ToolServer | None = None,
) -> Iterator[GatewayAccess]:
    """The way to the models for the agent of this attempt, which is ours and running. `network`: the agent shares the
    server's network; otherwise a sandbox must show `access.shown`. `tools` of ours are offered beside the models. On
    leaving, its token is void, its calls have ended and are settled, and nothing of it is left."""
    stop, token = Cancellation(), new_token(attempt)
    line = Line(attempt, report, left, stop, tools)
    with (
        _known(attempt, line),
        cancellation.calling(lambda: stop.cancel(cancellation.reason)),
        serving(Application(line.admit), network=network) as (port, directory),
    ):
        try:
            yield GatewayAccess(token, line.model, port, directory, stop, line.idle)
        finally:
            Attempt.objects.filter(pk=attempt.pk).update(gateway_hash="")
            stop.cancel(OVER)
            line.wait_until_idle(CLOSE_S)


def house_gateway() -> Application:
    """For carriers with a network: the same for every attempt that runs, told apart by their tokens."""
    return Application(_door)


_lines: dict[int, Line] = {}  # of the attempts that run in this process


@contextmanager
def _known(attempt: Attempt, line: Line) -> Iterator[None]:
    _lines[attempt.pk] = line
    try:
        yield
    finally:
        del _lines[attempt.pk]


def _door(token: str) -> Line:
    with _own_connection():
        public_id, _, _ = token.partition(".")
        rows = Attempt.objects.select_related("subtask__swarm__repository", "subtask__swarm__endpoint")
        attempt = rows.filter(public_id=public_id, status=AttemptStatus.RUNNING).exclude(gateway_hash="").first()
        if attempt is None:
            raise Refusal(_WRONG)
        if attempt.pk in _lines:
            return _lines[attempt.pk].admit(token)
        report = AttemptReport(attempt.subtask.swarm, attempt, config_of(attempt.subtask.swarm).max_total_steps)
        return Line(attempt, report, _left_of(attempt), Cancellation()).admit(token)


def _left_of(attempt: Attempt) -> Callable[[], float]:
    seconds = config_of(attempt.subtask.swarm).subagent_timeout_secs
    ran = (timezone.now() - (attempt.started_at or attempt.created_at)).total_seconds()
    end = time.monotonic() + seconds - ran

    def left() -> float:
        if time.monotonic() >= end:
            raise OutOfTime(seconds)
        return end - time.monotonic()

    return left


def new_token(attempt: Attempt) -> str:
    """Only its hash is kept; an older one is void."""
    token = f"{attempt.public_id}.{secrets.token_urlsafe(32)}"
    Attempt.objects.filter(pk=attempt.pk).update(gateway_hash=_hash(token))
    return token


def fits(token: str, gateway_hash: str) -> bool:
    return bool(gateway_hash) and hmac.compare_digest(_hash(token), gateway_hash)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _ends_the_attempt(error: AdapterError) -> bool:
    """Where the same agent could ask again and again and never get an answer."""
    if isinstance(error, Refusal):
        return error.trouble.code == "step_limit_reached"
    if isinstance(error, OutOfTime):
        return True
    return error.kind is Failure.BUDGET or (error.kind is Failure.PERMANENT and not isinstance(error, RequestRefused))


@contextmanager
def _own_connection() -> Iterator[None]:
    """This thread ends with the call, and its connection to the database with it."""
    try:
        yield
    finally:
        connection.close()
