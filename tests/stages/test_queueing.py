"""In which order what waits is landed: whose turn it is, what is needed first, what is put aside."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from orchestration.domain.merging import AGING_S, in_order
from orchestration.models import MergeEntry, Swarm
from orchestration.stages.merge import merge
from orchestration.stages.queueing import is_waiting, waiting
from tests import factories
from tests.stages.test_merge import landings
from tests.stages.world import World


def entry(swarm: Swarm, name: str, **subtask: Any) -> MergeEntry:
    made = factories.make_subtask(swarm, name=name, status="handed_off", **subtask)
    return factories.make_entry(factories.make_attempt(made, status="complete"), status="queued")


def order(swarm: Swarm) -> list[str]:
    names = dict(MergeEntry.objects.values_list("pk", "subtask__name"))
    return [names[pk] for pk in in_order(waiting(swarm))]


def test_the_parts_of_a_split_subtask_take_turns_with_what_the_planner_asked_for():
    swarm = factories.make_swarm()
    big = factories.make_subtask(swarm, name="big", status="waiting")
    inner = factories.make_subtask(swarm, name="inner", status="waiting", parent=big)
    parts = [entry(swarm, f"part-{number}", parent=inner if number % 2 else big) for number in range(4)]
    entry(swarm, "single")
    entry(swarm, "another")
    assert len(parts) == 4
    assert order(swarm) == ["part-0", "single", "another", "part-1", "part-2", "part-3"]


def test_what_is_needed_lands_first_however_late_and_idle_it_is():
    swarm = factories.make_swarm()
    late = factories.make_subtask(swarm, name="needed", status="handed_off")
    entry(swarm, "needs-it", needs=[late], priority=1)
    factories.make_entry(factories.make_attempt(late, status="complete"), status="queued", priority=10)
    assert order(swarm) == ["needed", "needs-it"]


def test_what_is_put_aside_has_no_place_until_it_is_due():
    swarm = factories.make_swarm()
    aside = entry(swarm, "aside")
    entry(swarm, "next")
    MergeEntry.objects.filter(pk=aside.pk).update(not_before=timezone.now() + timedelta(hours=1))
    assert order(swarm) == ["next"]
    MergeEntry.objects.filter(pk=aside.pk).update(not_before=timezone.now())
    assert order(swarm) == ["aside", "next"]


def test_one_that_has_waited_long_lands_before_an_urgent_one(world: World):
    swarm = world.running()
    world.queued(swarm, "urgent", {"urgent.txt": "x\n"}, priority=1)
    old = world.queued(swarm, "old", {"old.txt": "x\n"}, priority=10)
    MergeEntry.objects.filter(pk=old.pk).update(enqueued_at=timezone.now() - timedelta(seconds=10 * AGING_S))
    merge(swarm.pk)
    assert landings(swarm) == ["old", "urgent"]


def test_a_queue_waits_for_a_writer_where_something_is_due_or_was_left_half_way():
    swarm, other = factories.make_swarm(), factories.make_swarm()
    assert not is_waiting(swarm)
    one = entry(swarm, "one")
    assert is_waiting(swarm)
    assert not is_waiting(other)
    for status, waits in (("merging", True), ("gating", False), ("conflict", False), ("cancelled", False)):
        MergeEntry.objects.filter(pk=one.pk).update(status=status)
        assert is_waiting(swarm) is waits, status


def test_what_is_put_aside_is_due_again_when_its_time_has_come():
    swarm = factories.make_swarm()
    one, minute = entry(swarm, "one"), timedelta(minutes=1)
    for until, waits in ((timezone.now() + minute, False), (timezone.now() - minute, True)):
        MergeEntry.objects.filter(pk=one.pk).update(not_before=until)
        assert is_waiting(swarm) is waits
        assert [queued.id for queued in waiting(swarm)] == ([one.pk] if waits else [])
