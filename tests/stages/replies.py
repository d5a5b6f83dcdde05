"""Answers of a model, as the gateway gives them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from orchestration.domain.conversation import Reply, Usage

_PLAIN = Reply("Hello.", (), Usage(10, 5), "stop", "large-1", "own", Decimal("0.01"), 120, 40)


def reply(**changes: Any) -> Reply:
    return replace(_PLAIN, **changes)
