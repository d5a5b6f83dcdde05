"""From a request to landed commits, stage by stage, and what its log can tell afterwards."""

from __future__ import annotations

import contextlib
import json
import threading

from orchestration.domain.errors import InvalidInput
from orchestration.domain.events import NOUN_OF
from orchestration.domain.states import INITIAL, SwarmStatus
from orchestration.models import Attempt, Event, MergeEntry, PlanIteration, Subtask, Swarm
from orchestration.stages.rows import store_of
from orchestration.stages.steer import cancel
from orchestration.stages.tick import tick
from tests.stages.world import Model, Nudges, World, at_once, hand_off, planned, statuses, task, write


def story(world: World, model: Model, nudges: Nudges) -> Swarm:
    """Three subtasks land, one conflicts with another and settles it, and a second plan follows the first."""
    model.plans = [
        planned(task("one"), task("two", "one"), task("left"), task("right"), done=False),
        planned(task("last", "two"), done=True),
    ]
    model.workers["left"] = [write("same.txt", "left\n"), hand_off()]
    model.workers["right"] = [write("same.txt", "right\n"), hand_off()]
    swarm = world.submit()
    nudges.run()
    swarm.refresh_from_db()
    return swarm


def test_a_request_becomes_landed_commits(world: World, model: Model, nudges: Nudges):
    swarm = story(world, model, nudges)
    assert swarm.status == "succeeded"
    landed = {"one": "complete", "two": "complete", "left": "complete", "right": "complete", "last": "complete"}
    assert statuses(swarm) == landed
    store = store_of(swarm)
    tip = store.tip(swarm.branch)
    assert tip == swarm.head_sha
    assert store.list_files(tip) == ["a.txt", "last.txt", "one.txt", "same.txt", "src/b.py", "two.txt"]
    assert world.clone.git("rev-parse", swarm.branch) == tip
    assert world.clone.git("fsck", "--strict") == ""


def test_no_nudge_is_left_and_none_is_needed_twice(world: World, model: Model, nudges: Nudges):
    """Running every nudge of the story again, in any order and after its end, changes nothing."""
    swarm = story(world, model, nudges)
    before = list(Event.objects.filter(swarm=swarm).values_list("seq", "kind"))
    for nudge in list(nudges.all):
        nudges(*nudge)
    nudges.run()
    assert list(Event.objects.filter(swarm=swarm).values_list("seq", "kind")) == before


def replay(events: list[Event]) -> dict[tuple[str, str], str]:
    """The status of every row, from the events' kind and facts alone, as a page without database would."""
    words = {noun.value: set(kind) for kind, noun in NOUN_OF.items()}
    found: dict[tuple[str, str], str] = {}
    for event in events:
        noun, _, word = event.kind.partition(".")
        if event.kind == "swarm.submitted":
            found["swarm", event.facts["id"]] = INITIAL[SwarmStatus].value
        elif word in words.get(noun, set()):
            key = (noun, str(event.facts["number"] if noun == "plan" else event.facts["id"]))
            assert event.facts.get("from") == found.get(key), f"{event.kind} does not follow what was before"
            found[key] = word
    return found


def test_the_log_is_enough_to_rebuild_the_status_of_every_row(world: World, model: Model, nudges: Nudges):
    swarm = story(world, model, nudges)
    events = list(Event.objects.filter(swarm=swarm))
    assert [event.seq for event in events] == list(range(1, swarm.last_seq + 1))
    rows = {("swarm", swarm.public_id): swarm.status}
    rows |= {("subtask", row.public_id): row.status for row in Subtask.objects.all()}
    rows |= {("attempt", row.public_id): row.status for row in Attempt.objects.all()}
    rows |= {("merge_entry", row.public_id): row.status for row in MergeEntry.objects.all()}
    rows |= {("plan", str(row.number)): row.status for row in PlanIteration.objects.all()}
    assert replay(events) == rows


def test_the_log_says_what_everything_belongs_to(world: World, model: Model, nudges: Nudges):
    swarm = story(world, model, nudges)
    names = {row.public_id: row.name for row in Subtask.objects.all()}
    events = list(Event.objects.filter(swarm=swarm))
    for event in events:
        if event.kind.startswith(("attempt.", "merge_entry.")):
            assert names[event.facts["subtask"]] == event.facts["name"]
    conflict = next(event for event in events if event.kind == "merge_entry.conflict")
    assert "same.txt" in conflict.facts["reason"]
    assert json.loads(json.dumps([event.facts for event in events]))


def test_what_ended_has_the_time_of_its_end(world: World, model: Model, nudges: Nudges):
    swarm = story(world, model, nudges)
    assert swarm.finished_at
    for rows in (Subtask.objects.all(), Attempt.objects.all(), MergeEntry.objects.all(), PlanIteration.objects.all()):
        assert all(row.finished_at for row in rows)


WIDE = [task(f"base-{n}") for n in range(4)] + [
    task(f"top-{n}", f"base-{n}", "base-0", priority=9 - n) for n in range(4)
]


def test_many_workers_at_once_do_the_same(world: World, model: Model, nudges: Nudges):
    """All stages beside one another, with ticks in between: every row is fought for."""
    model.plans = [planned(*WIDE)]
    swarm = world.submit()

    def over() -> bool:
        return Swarm.objects.get().finished_at is not None

    def ticking() -> None:
        while not over():
            tick()
            threading.Event().wait(0.05)

    assert at_once(*[lambda: nudges.run_until(over)] * 6, ticking) == [None] * 7
    swarm.refresh_from_db()
    assert swarm.status == "succeeded"
    assert set(statuses(swarm).values()) == {"complete"}
    assert Attempt.objects.count() == MergeEntry.objects.count() == len(WIDE)
    store, tip = store_of(swarm), store_of(swarm).tip(swarm.branch)
    assert tip
    assert len(store.trailers(swarm.base_sha, tip, "MQ-Request")) == len(WIDE)
    events = list(Event.objects.filter(swarm=swarm))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert replay(events)["swarm", swarm.public_id] == "succeeded"


def test_a_cancel_in_the_midst_of_many_workers_ends_them_all(world: World, model: Model, nudges: Nudges):
    model.plans = [planned(*WIDE)]
    swarm = world.submit()
    done = threading.Event()

    def stop() -> None:
        world.service.wait_for(lambda: world.service.total >= 8, timeout=60)
        while (row := Swarm.objects.get()).status != "cancelled":
            with contextlib.suppress(InvalidInput):  # look again
                cancel(row, world.ada)
        done.set()

    assert at_once(*[lambda: nudges.run_until(done.is_set)] * 6, stop) == [None] * 7
    nudges.run()
    tick()
    nudges.run()
    assert set(statuses(swarm).values()) <= {"cancelled", "complete"}
    assert not Attempt.objects.filter(status__in=("assigned", "running")).exists()
    assert set(MergeEntry.objects.values_list("status", flat=True)) <= {"landed", "cancelled"}
    store, tip = store_of(swarm), store_of(swarm).tip(swarm.branch)
    assert tip
    landed = MergeEntry.objects.filter(status="landed").values_list("public_id", flat=True)
    assert sorted(value for _, value in store.trailers(swarm.base_sha, tip, "MQ-Request")) == sorted(landed)
