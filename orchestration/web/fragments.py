"""The names of the pages' panels, and the one way to render them for the page and for the socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from django.template.loader import get_template

Rendered = tuple[int, dict[str, str]]
SWARM: Mapping[str, str] = {
    f"swarm-{name}": f"swarms/_{name}.html"
    for name in (
        "questions",
        "header",
        "messages",
        "result",
        "publication",
        "plan",
        "timeline",
        "agents",
        "queue",
        "checks",
        "scratchpad",
        "shared",
        "artifacts",
        "activity",
        "statistics",
    )
}
BOARD: Mapping[str, str] = {"board": "board/_board.html"}
SUBTASK: Mapping[str, str] = {
    f"subtask-{name}": f"subtasks/_{name}.html"
    for name in ("questions", "header", "attempt", "messages", "shared", "events")
}
DRAFT: Mapping[str, str] = {"attempt-draft": "subtasks/_draft.html"}
FIGURES: Mapping[str, str] = {f"queue-{name}": f"components/queue_{name}.html" for name in ("figures", "hot")}
QUEUE: Mapping[str, str] = {
    f"queue-{name}": f"swarms/_queue_{name}.html" for name in ("state", "waiting", "ahead", "settled", "rounds")
} | dict(FIGURES)
REPOSITORY_QUEUE: Mapping[str, str] = {
    f"queue-{name}": f"repositories/_queue_{name}.html" for name in ("waiting", "stuck")
} | dict(FIGURES)


def render(names: Mapping[str, str], context: Mapping[str, Any]) -> dict[str, str]:
    """Each panel's HTML by the id of its element."""
    return {name: get_template(path).render(dict(context)) for name, path in names.items()}


def partials(panels: Mapping[str, str]) -> str:
    """One message: every panel as a whole, to be morphed into the one on the page."""
    return "".join(
        f'<hx-partial hx-target="#{name}" hx-swap="outerMorph">{html}</hx-partial>' for name, html in panels.items()
    )


AGE_S = 0.25
MOST_KEPT = 256
_lock = threading.Lock()
_kept: dict[Hashable, tuple[float, Rendered]] = {}


def shared(key: Hashable, make: Callable[[], Rendered]) -> Rendered:
    """One rendering for all viewers with the same rights who ask within AGE_S.

    A socket waits that long between a hint and its look, so what it is given was made after the hint.
    """
    with _lock:
        now = time.monotonic()
        made = _kept.get(key)
        if made and now - made[0] < AGE_S:
            return made[1]
        if len(_kept) >= MOST_KEPT:
            _kept.clear()
        rendered = make()
        _kept[key] = now, rendered
        return rendered
