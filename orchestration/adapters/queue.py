"""Nudges: "look at row N". Losing one costs a tick's delay and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from celery import current_app
from kombu.exceptions import OperationalError

from orchestration.domain.events import Stage

logger = logging.getLogger(__name__)
# What Celery would find out for each of them anew: the task that asked for it, how to show what it was asked without,
# and whether its queue is there, for which its workers see.
_PLAIN: Mapping[str, Any] = {"add_to_parent": False, "kwargsrepr": "{}", "declare": ()}


def nudge(stage: Stage, row_id: int) -> None:
    """Ask some worker to run `stage` for a row. A broker that is away is logged: the tick asks again."""
    try:
        current_app.send_task(
            f"orchestration.{stage}",
            args=[row_id],
            argsrepr=f"[{row_id}]",
            ignore_result=True,
            retry=False,
            **_PLAIN,
        )
    except OperationalError as error:
        logger.warning("The broker took no nudge for %s %s: %s", stage, row_id, error)
