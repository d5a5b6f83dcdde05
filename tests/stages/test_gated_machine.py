"""The merge queue in gated mode: whatever gates say in whatever order, the invariants hold.

Each example is up to forty steps; TEST_GATED_EXAMPLES says how many.
"""

from __future__ import annotations

import os

import pytest

from tests.stages.gated_machine import GatedQueue
from tests.stages.queue_machine import run_machine

pytestmark = [pytest.mark.any_database, pytest.mark.timeout(1800)]  # a busy machine is not a broken queue
EXAMPLES = int(os.environ.get("TEST_GATED_EXAMPLES", "10"))


def test_whatever_gates_say_the_invariants_hold(memory: None) -> None:
    run_machine(GatedQueue, EXAMPLES)
