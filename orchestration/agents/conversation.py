"""One conversation with a model through the gateway, within a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from orchestration.adapters import secrets
from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.gateway import RetryPolicy, get_gateway
from orchestration.adapters.llm.failures import ContentRefused
from orchestration.adapters.llm.waiting import Listener
from orchestration.agents.assignment import Inbox
from orchestration.domain.conversation import Endpoint, Message, Reply, ToolSpec
from orchestration.domain.errors import AdapterError, Failure

CALL_TIMEOUT_S = 600.0


class OutOfTime(AdapterError):
    """The conversation's own deadline passed: no fault of the model service."""

    def __init__(self, seconds: float) -> None:
        super().__init__(Failure.TRANSIENT, f"The time limit of {seconds:g} s is used up.")


@dataclass(slots=True)
class Clock:
    """A deadline on the monotonic clock, of which some may have been used before."""

    seconds: float
    used_before: float = 0.0
    _end: float = field(init=False)

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.seconds - self.used_before

    def used(self) -> float:
        return self.seconds - (self._end - time.monotonic())

    def left(self) -> float:
        """Seconds left; raises OutOfTime when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise OutOfTime(self.seconds)
        return left


class Around(Protocol):
    """What stands around one model call, such as a budget."""

    def __call__(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], left: Callable[[], float]
    ) -> AbstractContextManager[None]: ...


def unbound(
    messages: Sequence[Message], tools: Sequence[ToolSpec], left: Callable[[], float]
) -> AbstractContextManager[None]:
    return nullcontext()


class Quiet:
    """An inbox that nobody writes to."""

    def news(self) -> Sequence[str]:
        return ()

    @property
    def going(self) -> Collection[object]:
        return ()

    def sent(self) -> None: ...

    def answered(self, text: str) -> None: ...


@dataclass(slots=True)
class Conversation:
    """Grows message by message; each request has so much of it as the model can read. `on_reply` accounts for each
    answer and may raise to end it all; `around` is entered before each call, and may raise instead of it; `meanwhile`
    is done once, while the model thinks."""

    endpoint: Endpoint
    tools: tuple[ToolSpec, ...]
    purpose: str
    clock: Clock
    retries: RetryPolicy
    cancellation: Cancellation
    on_reply: Callable[[Reply], object]
    on_progress: Callable[[int], None] | None = None
    meanwhile: Callable[[], object] | None = None
    around: Around = unbound
    inbox: Inbox = field(default_factory=Quiet)
    listener: Listener | None = None
    messages: list[Message] = field(default_factory=list)

    def ask(self) -> Reply:
        """The next answer, already part of the conversation. What people said meanwhile is in the request."""
        for text in self.inbox.news():  # behind the results of the last turn's calls, as both kinds of service want it
            self.tell(text)
        messages = get_gateway().fitted(self.endpoint, self.messages, self.tools)
        with self.around(messages, self.tools, self.clock.left):
            reply = self._complete(messages)
            self.on_reply(reply)
        self.inbox.answered(reply.text)
        if reply.finish_reason == "content_filter":
            raise ContentRefused(reply.endpoint)
        self.messages.append(Message("assistant", reply.text, reply.tool_calls))
        return reply

    def _complete(self, messages: Sequence[Message]) -> Reply:
        timeout = min(CALL_TIMEOUT_S, self.clock.left())
        try:
            return get_gateway().complete(
                self.endpoint,
                messages,
                self.tools,
                purpose=self.purpose,
                timeout_s=timeout,
                cancellation=self.cancellation,
                retries=self.retries,
                on_progress=self.on_progress,
                on_sent=self._sent if self.meanwhile or self.inbox.going else None,
                listener=self.listener,
            )
        except AdapterError as error:
            if error.transient:
                self.clock.left()  # the deadline itself is the truer reason
            raise

    def _sent(self) -> None:
        self.inbox.sent()
        if self.meanwhile:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()

    def tell(self, text: str) -> None:
        self.messages.append(Message("user", text))

    def answer(self, call_id: str, text: str) -> None:
        text = str(secrets.clean(text))  # before anything is cut from it: half a secret would not be known as one
        self.messages.append(Message("tool", text, tool_call_id=call_id))
