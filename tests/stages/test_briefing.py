"""What a worker is told of the work that its own builds on."""

from __future__ import annotations

from typing import Any

from orchestration.models import Handoff
from orchestration.stages import briefing
from tests import factories


def test_all_that_is_told_of_handoffs_is_read_at_once(django_assert_num_queries: Any):
    swarm = factories.make_swarm()
    done, split = (factories.make_subtask(swarm, name=name, status="complete") for name in ("done", "split"))
    attempt = factories.make_attempt(done, status="complete")
    factories.make_handoff(attempt, summary="Did it.", suggestions=[], suspicious="Too fast.", files_changed=[])
    Handoff.objects.create(parent=split, status="partial", summary="Both parts.", files_changed=["a.txt"])
    subtask = factories.make_subtask(swarm, needs=[done, split])
    with django_assert_num_queries(3):
        told = [briefing._handoff(one) for one in briefing.handoffs_for(subtask)]
    assert told == [
        "done (complete): Did it.\n  concern: Keys have no prefix yet.\n  doubt: Too fast.",
        "split (partial): Both parts.\n  changed: a.txt",
    ]
