"""A merge queue that stands still says so once, with its reason; one that moves or is at its checks says nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from orchestration.domain.merging import STALLED_S
from orchestration.domain.states import EntryStatus
from orchestration.models import GateRun, Lease, MergeEntry, Swarm
from orchestration.stages.leases import take
from orchestration.stages.stalls import tell_of_stalls
from orchestration.stages.tick import tick
from orchestration.stages.transition import advance, moves
from orchestration.web.words import sentence
from tests import factories

LONG = timedelta(seconds=STALLED_S + 5)


def queued(swarm: Swarm, *, ago: timedelta = LONG, **fields: Any) -> MergeEntry:
    attempt = factories.make_attempt(factories.make_subtask(swarm, status="handed_off"), status="complete")
    entry = factories.make_entry(attempt, **{"status": "queued"} | fields)
    MergeEntry.objects.filter(pk=entry.pk).update(enqueued_at=timezone.now() - ago)
    return entry


def notes(swarm: Swarm) -> list[str]:
    return [event.facts["reason"] for event in swarm.events.filter(kind="swarm.noted")]


def came_back(entry: MergeEntry, before: str, *, ago: timedelta = timedelta()) -> None:
    """To the queue, from this status."""
    MergeEntry.objects.filter(pk=entry.pk).update(status=before)
    entry.refresh_from_db()
    assert advance(entry.swarm, entry, EntryStatus.QUEUED)
    entry.swarm.events.filter(kind="merge_entry.queued").update(at=timezone.now() - ago)


@pytest.mark.parametrize(("ago", "stands"), [(timedelta(), False), (LONG, True)])
def test_a_conflict_that_was_settled_has_not_waited_as_long_as_it_is_old(ago: timedelta, stands: bool):
    swarm = factories.make_swarm()
    came_back(queued(swarm, ago=9 * LONG), "conflict", ago=ago)
    tell_of_stalls()
    assert len(notes(swarm)) == stands


def test_a_resolution_has_its_conflicts_age_and_its_own_arrival():
    swarm = factories.make_swarm()
    entry = queued(swarm, ago=9 * LONG)
    with moves(swarm) as together:
        together.created(entry)
    tell_of_stalls()
    assert notes(swarm) == []


@pytest.mark.parametrize("before", ["merging", "gating"])
def test_a_landing_that_fails_again_and_again_is_no_arrival(before: str):
    swarm = factories.make_swarm()
    came_back(queued(swarm), before)
    tell_of_stalls()
    assert len(notes(swarm)) == 1


def test_one_whose_checks_run_does_not_stand_still():
    swarm = factories.make_swarm()
    queued(swarm)
    run = GateRun.objects.create(swarm=swarm, status="running", lease_token="x", started_at=timezone.now())
    tell_of_stalls()
    assert notes(swarm) == []
    run.delete()
    tell_of_stalls()
    assert len(notes(swarm)) == 1


def test_the_page_says_it_in_its_own_words():
    swarm = factories.make_swarm()
    queued(swarm)
    tell_of_stalls()
    event = swarm.events.get(kind="swarm.noted")
    assert sentence(event.kind, event.facts).startswith(STANDS)


STANDS = f"The merge queue has not moved for {STALLED_S:.0f} seconds. "


def test_what_keeps_the_first_one_waiting_is_said_once():
    swarm = factories.make_swarm()
    entry = queued(swarm, status_reason="The disk is full.")
    tick()
    tick()
    assert notes(swarm) == [f"{STANDS}{entry.subtask.name}: The disk is full."]


def test_without_a_reason_it_is_said_who_has_the_branch():
    swarm = factories.make_swarm()
    queued(swarm)
    take(f"merge:{swarm.pk}", "somebody")
    tell_of_stalls()
    assert notes(swarm) == [f"{STANDS}A worker has the branch and is not done."]


def test_or_that_nobody_has_it():
    swarm = factories.make_swarm()
    queued(swarm, status="merging")
    Lease.objects.create(name=f"merge:{swarm.pk}", token="dead", expires_at=timezone.now() - LONG)
    tell_of_stalls()
    assert notes(swarm) == [f"{STANDS}No worker looks at it: is the engine running?"]


def test_a_landing_ends_a_stall_and_the_next_one_is_said_again():
    swarm = factories.make_swarm()
    queued(swarm, ago=3 * LONG)
    tell_of_stalls()
    landed = queued(swarm, ago=3 * LONG, status="landed")
    MergeEntry.objects.filter(pk=landed.pk).update(finished_at=timezone.now() - timedelta(seconds=1))
    tell_of_stalls()
    assert len(notes(swarm)) == 1, "it moves"
    MergeEntry.objects.filter(pk=landed.pk).update(finished_at=timezone.now() - LONG)
    tell_of_stalls()
    assert len(notes(swarm)) == 2


@pytest.mark.parametrize(("ago", "status"), [(timedelta(), "queued"), (LONG, "conflict"), (LONG, "cancelled")])
def test_a_queue_that_is_empty_or_fresh_does_not_stand_still(ago: timedelta, status: str):
    swarm = factories.make_swarm()
    queued(swarm, ago=ago, status=status)
    tell_of_stalls()
    assert notes(swarm) == []
