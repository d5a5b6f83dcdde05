"""Puts what people say to an agent that is not ours into the requests that it makes of its model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from orchestration.domain.conversation import Message
from orchestration.models import Attempt
from orchestration.stages.tell import Ear


@dataclass(frozen=True, slots=True)
class _Said:
    """Words that stood at the end of a request of so many messages, the last of which was `after`."""

    length: int
    after: tuple[str, str]
    text: str

    def place_in(self, messages: Sequence[Message]) -> int:
        """Where it was said; in a conversation that was cut short or is another one, behind the task."""
        if self.length <= len(messages) and _mark(messages[self.length - 1]) == self.after:
            at = self.length
        else:
            at = next((number for number, one in enumerate(messages, 1) if one.role == "user"), len(messages))
        while at < len(messages) and messages[at].role == "tool":  # nothing stands between a call and its result
            at += 1
        return at


class Relay:
    """Of one attempt. The agent's own history does not hold what was said, so it is put into every later request too.
    An agent that works with tools is not told in requests without any: such are for a title or a summary."""

    def __init__(self, attempt: Attempt, turns: Callable[[], int]) -> None:
        self._attempt = attempt
        self._turns = turns
        self._lock = threading.Lock()
        self._taken: set[int] = set()
        self._said: list[_Said] = []
        self._works_with_tools = False

    @contextmanager
    def told(self, messages: Sequence[Message], *, tools: bool) -> Iterator[tuple[Sequence[Message], Ear]]:
        """Around one call: the request with what was said, and who learns that it was sent and answered. What is not
        sent is in the next one."""
        ear = Ear(self._attempt.subtask.swarm, self._attempt.subtask, self._attempt, turns=self._turns)
        self._works_with_tools = self._works_with_tools or tools
        if self._works_with_tools and not tools:
            yield messages, ear
            return
        with self._lock:
            ear.skip(self._taken)
            fresh = [_Said(len(messages), _mark(messages[-1]), text) for text in ear.news()]
            self._taken |= ear.going
            self._said += fresh
            request = self._placed(messages)
        try:
            yield request, ear
        finally:
            with self._lock:
                if ear.going:
                    self._taken -= ear.going
                    self._said = [one for one in self._said if one not in fresh]

    def _placed(self, messages: Sequence[Message]) -> Sequence[Message]:
        request = list(messages)
        places = [(one.place_in(messages), one.text) for one in self._said]
        places.sort(key=lambda place: place[0])  # at the same place in the order in which they were said
        for at, text in reversed(places):
            request.insert(at, Message("user", text))
        return request


def _mark(message: Message) -> tuple[str, str]:
    """Agents shorten what their tools said long ago."""
    return message.role, message.tool_call_id or message.text
