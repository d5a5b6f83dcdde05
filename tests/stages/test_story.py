"""From a request to landed commits, stage by stage, and what its log can tell afterwards."""

from __future__ import annotations

import json

from orchestration.domain.events import NOUN_OF
from orchestration.domain.states import INITIAL, SwarmStatus
from orchestration.models import Attempt, Event, MergeEntry, PlanIteration, Subtask, Swarm
from orchestration.stages.rows import store_of
from tests.stages.world import Model, Nudges, World, hand_off, planned, statuses, task, write


def story(world: World, model: Model, nudges: Nudges) -> Swarm:
    """Three subtasks land, one conflicts with another, and a second plan follows the first."""
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
    assert swarm.status == "partly_succeeded"
    landed = {"one": "complete", "two": "complete", "left": "complete", "right": "conflict", "last": "complete"}
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
