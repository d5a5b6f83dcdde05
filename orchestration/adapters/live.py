"""Hints for open pages: "something after N". A page that misses one is healed by its own heartbeat."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, get_channel_layer

logger = logging.getLogger(__name__)
_loop: asyncio.AbstractEventLoop | None = None


def serve_from(loop: asyncio.AbstractEventLoop | None) -> None:
    """The loop that the sockets of this process live on. Its in-memory channel layer is not thread-safe, so
    hints from worker threads are handed to it there."""
    global _loop  # noqa: PLW0603 - one server a process
    _loop = loop


def announce(group: str, seq: int) -> None:
    """Never raises: the rows are already committed, and a hint is only a hint."""
    _send(group, {"type": "swarm.changed", "seq": seq})


def say(group: str, attempt: int, text: str) -> None:
    """What an attempt's model has said so far, for pages alone; nothing: it has ended. Never raises."""
    _send(group, {"type": "attempt.said", "attempt": attempt, "text": text})


def _send(group: str, message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    if layer is None:
        return
    try:
        if _loop is not None and _loop.is_running():
            asyncio.run_coroutine_threadsafe(layer.group_send(group, message), _loop)
        elif not isinstance(layer, InMemoryChannelLayer):
            async_to_sync(layer.group_send)(group, message)
    except (OSError, RuntimeError) as error:
        logger.warning("No live hint for %s: %s", group, error)
