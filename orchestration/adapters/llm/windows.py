"""What each endpoint's model can read: told, known, or learned from a refusal, which all worker processes remember."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from orchestration.adapters.llm.failures import ContextTooLong, place
from orchestration.adapters.llm.sharing import Board
from orchestration.domain.conversation import Endpoint, Message, ToolSpec
from orchestration.domain.fitting import fit, tokens, tool_tokens
from orchestration.domain.windows import LEAST, known_window, learned, request_room

log = logging.getLogger(__name__)

KEPT_S = 24 * 3600  # then it is tried again: the service may have been given a larger model
LOOK_EVERY_S = 10.0


@dataclass(slots=True)
class _Learned:
    """`room` is for a request; `limit` is the whole window where the service told it. 0: nothing learned."""

    room: int = 0
    limit: int = 0
    until: float = 0.0
    looked_at: float = 0.0


class Windows:
    def __init__(self, board: Board | None, clock: Callable[[], float] = time.time) -> None:
        self._board = board
        self._clock = clock
        self._known: dict[str, _Learned] = {}

    def fitted(self, endpoint: Endpoint, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> list[Message]:
        """So much of the conversation as the endpoint's model can read beside the tools."""
        return fit(messages, self.room(endpoint, tools))

    def room(self, endpoint: Endpoint, tools: Sequence[ToolSpec]) -> int:
        """Tokens of a conversation, by our own estimate, that stand beside the tools and an answer."""
        room = request_room(endpoint.context_window or known_window(endpoint.model))
        return max(LEAST, min(room, self._learned(endpoint).room or room) - tool_tokens(tools))

    def told(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint with the window that its service told, where an operator says nothing."""
        limit = self._learned(endpoint).limit
        return replace(endpoint, context_window=endpoint.context_window or limit or None)

    def too_long(
        self, endpoint: Endpoint, messages: Sequence[Message], tools: Sequence[ToolSpec], error: ContextTooLong
    ) -> bool:
        """Remembers what the refusal of these fitted messages tells; whether a shorter request can be made."""
        sent = tokens(messages) + tool_tokens(tools)
        room, limit = learned(error.said, sent)
        known = self._learned(endpoint)
        if sent <= LEAST or room >= sent:
            return False
        if not known.room or room < known.room:
            log.warning("%s takes less than was thought: %d tokens from now on. %s", place(endpoint), room, error)
            known.room, known.limit, known.until = room, limit or known.limit, self._clock() + KEPT_S
            self._share(endpoint, known)
        return self.fitted(endpoint, messages, tools) != list(messages)

    def _learned(self, endpoint: Endpoint) -> _Learned:
        known = self._known.setdefault(_key(endpoint), _Learned())
        now = self._clock()
        if known.room and now >= known.until:
            known.room = known.limit = 0
        if self._board is not None and now - known.looked_at >= LOOK_EVERY_S:
            known.looked_at = now
            self._look(endpoint, known)
        return known

    def _look(self, endpoint: Endpoint, known: _Learned) -> None:
        found = self._try(lambda board: board.get(_key(endpoint)))
        if isinstance(found, list) and found[2] > self._clock() and (not known.room or found[0] < known.room):
            known.room, known.limit, known.until = found

    def _share(self, endpoint: Endpoint, known: _Learned) -> None:
        self._try(lambda board: board.set(_key(endpoint), [known.room, known.limit, known.until], KEPT_S))

    def _try(self, use: Callable[[Board], Any]) -> Any:
        """A cache that cannot be reached costs one refusal for each process, and is told of by the shared pace."""
        try:
            return use(self._board) if self._board is not None else None
        except Exception as error:  # each cache raises its own
            log.debug("The shared cache fails: %s", error)
            return None


def _key(endpoint: Endpoint) -> str:
    """Another model, or another word of the operator, is another window."""
    return _hashed(f"{endpoint.place} {endpoint.model} {endpoint.context_window}")


@lru_cache(maxsize=256)  # asked several times for every call
def _hashed(words: str) -> str:
    return "window-" + hashlib.sha256(words.encode()).hexdigest()[:32]
