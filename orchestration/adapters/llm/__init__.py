"""What every kind of model service has to offer. The gateway is the only caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import httpx

from orchestration.adapters.llm.keys import Key
from orchestration.domain.conversation import Endpoint, Message, Reply, Sampling, ToolSpec

Progress = Callable[[int], None]  # characters of the answer so far
Text = Callable[[Callable[[], str]], None]  # is given what puts the text so far together
Headers = Callable[[Mapping[str, str]], None]  # an answer's, as soon as they are there


def ignore(_: Mapping[str, str]) -> None:
    """For callers that keep no account of the service's limits."""


def unheard(_: Callable[[], str]) -> None:
    """For callers that wait for the whole answer."""


class Provider(Protocol):
    """One wire format."""

    def encode(
        self,
        endpoint: Endpoint,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        *,
        tool_choice: str | None,
        max_output_tokens: int | None,
        sampling: Sampling = ...,
    ) -> bytes:
        """The body of the request; the same one is sent again on every retry. Raises RequestRefused where this kind of
        service cannot be asked so."""
        ...

    async def complete(
        self,
        transport: httpx.AsyncBaseTransport,
        endpoint: Endpoint,
        key: Key,
        body: bytes,
        *,
        on_progress: Progress,
        on_headers: Headers = ignore,
        on_text: Text = unheard,
    ) -> Reply:
        """One try. Raises AdapterError, or what failures.py makes of it, and never answers with half a reply."""
        ...
