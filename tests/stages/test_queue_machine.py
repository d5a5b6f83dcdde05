"""The merge queue in optimistic mode: whatever happens in whatever order, the invariants hold.

Each example is up to forty steps; TEST_QUEUE_EXAMPLES says how many.
"""

from __future__ import annotations

import os

import pytest

from tests.stages.queue_machine import Queue, run_machine

pytestmark = [pytest.mark.any_database, pytest.mark.timeout(1800)]  # a busy machine is not a broken queue
EXAMPLES = int(os.environ.get("TEST_QUEUE_EXAMPLES", "60"))


def test_whatever_happens_the_invariants_hold(memory: None) -> None:
    run_machine(Queue, EXAMPLES)
