"""One writer: legal changes only, all of a transaction or nothing, a gapless log, nudges after the commit."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, transaction

from orchestration.adapters import queue
from orchestration.domain.events import KINDS, NUDGES, Stage
from orchestration.domain.states import (
    AttemptStatus,
    EntryStatus,
    IllegalTransition,
    IterationStatus,
    SubtaskStatus,
    SwarmStatus,
)
from orchestration.models import Attempt, Event, MergeEntry, Subtask, Swarm
from orchestration.stages.transition import Superseded, advance, moves, note, status_of
from tests import factories
from tests.stages.world import Nudges, at_once


def kinds(swarm: Swarm) -> list[str]:
    return list(Event.objects.filter(swarm=swarm).values_list("kind", flat=True))


def test_a_change_writes_the_row_and_its_event():
    subtask = factories.make_subtask(name="one")
    assert advance(subtask.swarm, subtask, SubtaskStatus.ASSIGNED, reason="There is room.", wait_reason="")
    row = Subtask.objects.get(pk=subtask.pk)
    assert (row.status, row.status_reason) == ("assigned", "There is room.")
    event = Event.objects.get(swarm=subtask.swarm)
    assert (event.seq, event.kind) == (1, "subtask.assigned")
    assert event.facts == {"id": row.public_id, "name": "one", "from": "pending", "reason": "There is room."}


@pytest.mark.parametrize("json", [{}, {"merge": 1.5, "it's %s": ['"', None, {"ü": True}]}, ["a", 2], "word", 7, False])
def test_json_is_written_as_it_is(json: Any):
    """Whatever is asked for, and beside what a prepared statement takes as beside what it does not."""
    for beside in ({"intent_new": factories.SHA}, {"intent_new": factories.SHA, "gated": False}):
        entry = factories.make_entry()
        assert advance(entry.swarm, entry, EntryStatus.MERGING, took=json, **beside)
        fresh = MergeEntry.objects.get(pk=entry.pk)
        assert (fresh.took, entry.took, fresh.intent_new) == (json, json, factories.SHA)
        assert MergeEntry.objects.filter(pk=entry.pk, took=json).exists()


def test_a_change_that_the_table_does_not_know_is_a_bug():
    subtask = factories.make_subtask(status="complete")
    with pytest.raises(IllegalTransition):
        advance(subtask.swarm, subtask, SubtaskStatus.PENDING)
    assert Subtask.objects.get().status == "complete"


def test_the_same_word_of_another_kind_is_no_legal_change():
    """They are equal in Python; a table of both kinds would let it pass."""
    subtask = factories.make_subtask(status="running")
    with pytest.raises(IllegalTransition):
        advance(subtask.swarm, subtask, AttemptStatus.COMPLETE)


def test_who_comes_second_changes_nothing():
    swarm = factories.make_swarm()
    first = factories.make_subtask(swarm, name="one")
    second = Subtask.objects.get(pk=first.pk)
    assert advance(swarm, first, SubtaskStatus.ASSIGNED)
    assert not advance(swarm, second, SubtaskStatus.CANCELLED, reason="Too late.")
    assert Subtask.objects.get().status == "assigned"
    assert kinds(swarm) == ["subtask.assigned"]


def test_one_change_that_comes_too_late_undoes_all_that_happened_with_it(nudges: Nudges):
    swarm = factories.make_swarm()
    good, stale = factories.make_subtask(swarm), factories.make_subtask(swarm)
    advance(swarm, Subtask.objects.get(pk=stale.pk), SubtaskStatus.CANCELLED)
    nudges.take()
    before = kinds(swarm)

    def move() -> None:
        with moves(swarm) as together:
            together.advance(good, SubtaskStatus.ASSIGNED)
            together.created(Attempt.objects.create(subtask=good, number=1))
            together.record("swarm.noted", text="Never said.")
            together.advance(stale, SubtaskStatus.ASSIGNED)

    with pytest.raises(Superseded):
        move()
    assert Subtask.objects.get(pk=good.pk).status == "pending"
    assert not Attempt.objects.exists()
    assert kinds(swarm) == before
    assert Swarm.objects.get().last_seq == len(before)
    assert nudges.take() == []


def test_any_other_error_undoes_everything_too(nudges: Nudges):
    subtask = factories.make_subtask()

    def move() -> None:
        with moves(subtask.swarm) as together:
            together.advance(subtask, SubtaskStatus.ASSIGNED)
            raise KeyError("in between")

    with pytest.raises(KeyError):
        move()
    assert Subtask.objects.get().status == "pending"
    assert nudges.all == []


def test_a_lease_that_is_not_ours_any_more_changes_nothing():
    attempt = factories.make_attempt(lease_token="mine", status="running")
    swarm = attempt.subtask.swarm
    Attempt.objects.update(lease_token="another's")
    assert not advance(swarm, attempt, AttemptStatus.COMPLETE, lease="mine")
    assert Attempt.objects.get().status == "running"
    assert advance(swarm, Attempt.objects.get(), AttemptStatus.COMPLETE, lease="another's")


def test_only_known_events_are_recorded():
    swarm = factories.make_swarm()
    with pytest.raises(ValueError, match=r"swarm\.flew is no event"):
        note(swarm, "swarm.flew")
    assert kinds(swarm) == []


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_known_event_can_be_stored_and_wakes_whom_it_should(kind: str, nudges: Nudges):
    swarm = factories.make_swarm()
    note(swarm, kind, text="so")
    assert Event.objects.get().facts == {"text": "so"}
    woken = [stage for stage in NUDGES.get(kind, ()) if stage is not Stage.SUBPLAN]  # of the swarm, nobody splits it
    assert nudges.all == [(stage, swarm.pk) for stage in woken]


WORDS: list[tuple[Any, Any]] = [
    (factories.make_swarm, SwarmStatus.FINALIZING),
    (factories.make_subtask, SubtaskStatus.ASSIGNED),
    (factories.make_attempt, AttemptStatus.COMPLETE),
    (factories.make_entry, EntryStatus.CONFLICT),
]


@pytest.mark.parametrize(("make", "to"), WORDS, ids=[type(to).__name__ for _, to in WORDS])
def test_text_that_no_database_stores_is_mended(make: Any, to: Any):
    """A model's or a command's words reach reasons: NUL characters and lone surrogates are in them some day."""
    row = make()
    swarm = row if isinstance(row, Swarm) else getattr(row, "swarm", None) or row.subtask.swarm
    assert advance(swarm, row, to, reason="It printed \x00 and \ud83d.")
    row.refresh_from_db()
    assert row.status_reason == "It printed \ufffd and \ufffd."
    assert Event.objects.get(swarm=swarm).facts["reason"] == row.status_reason
    note(swarm, "swarm.noted", text="\x00")
    assert Event.objects.get(kind="swarm.noted").facts == {"text": "\ufffd"}


# When it was over.


OVER: list[tuple[Any, str, Any, bool]] = [
    (factories.make_swarm, "running", SwarmStatus.FINALIZING, False),
    (factories.make_swarm, "finalizing", SwarmStatus.SUCCEEDED, True),
    (factories.make_subtask, "pending", SubtaskStatus.BLOCKED, True),
    (factories.make_subtask, "running", SubtaskStatus.HANDED_OFF, False),
    (factories.make_subtask, "handed_off", SubtaskStatus.CONFLICT, False),
    (factories.make_subtask, "failed", SubtaskStatus.PENDING, False),
    (factories.make_attempt, "running", AttemptStatus.LOST, True),
    (factories.make_attempt, "assigned", AttemptStatus.RUNNING, False),
    (factories.make_entry, "queued", EntryStatus.MERGING, False),
    (factories.make_entry, "merging", EntryStatus.QUEUED, False),
    (factories.make_entry, "queued", EntryStatus.CONFLICT, True),
]


@pytest.mark.parametrize(("make", "old", "new", "over"), OVER, ids=[f"{o}-{n}" for _, o, n, _ in OVER])
def test_a_row_is_over_when_nothing_more_will_happen_to_it(make: Any, old: str, new: Any, over: bool):
    row = make(status=old)
    swarm = row if isinstance(row, Swarm) else getattr(row, "swarm", None) or row.subtask.swarm
    assert advance(swarm, row, new)
    row.refresh_from_db()
    assert bool(row.finished_at) is over


def test_a_plan_is_over_too():
    swarm = factories.make_swarm()
    iteration = factories.make_iteration(swarm, status="running")
    assert advance(swarm, iteration, IterationStatus.LOST)
    iteration.refresh_from_db()
    assert iteration.finished_at


# The log's numbers.


def test_events_of_eight_writers_are_numbered_without_gaps_in_the_order_of_their_commits():
    swarm = factories.make_swarm()
    subtasks = [factories.make_subtask(swarm) for _ in range(8)]

    def live(subtask: Subtask) -> None:
        for _ in range(5):
            with moves(swarm) as together:
                together.advance(subtask, SubtaskStatus.ASSIGNED)
                together.advance(subtask, SubtaskStatus.RUNNING)
            advance(swarm, subtask, SubtaskStatus.PENDING)

    assert at_once(*(lambda row=row: live(row) for row in subtasks)) == [None] * 8
    seen = list(Event.objects.filter(swarm=swarm).values_list("seq", "facts__id", "kind"))
    assert [seq for seq, *_ in seen] == list(range(1, 8 * 5 * 3 + 1))
    assert Swarm.objects.get().last_seq == len(seen)
    for subtask in subtasks:
        own = [(seq, kind) for seq, who, kind in seen if who == subtask.public_id]
        assert [kind for _, kind in own] == ["subtask.assigned", "subtask.running", "subtask.pending"] * 5
        pairs = zip(own[::3], own[1::3], strict=True)
        assert all(second[0] == first[0] + 1 for first, second in pairs), "one transaction's events lie together"


def test_a_reader_never_sees_a_number_before_all_lower_ones():
    """What a page does: it asks for everything after N, and N is the last it has seen."""
    swarm = factories.make_swarm()
    ready: list[int] = []

    def write() -> None:
        for _ in range(20):
            note(swarm, "swarm.noted")

    def read() -> list[int]:
        gaps: list[int] = []
        while len(ready) < 81:
            fresh = list(Event.objects.filter(swarm=swarm, seq__gt=len(ready)).values_list("seq", flat=True))
            gaps += [seq for number, seq in enumerate(fresh, len(ready) + 1) if seq != number]
            ready.extend(fresh)
            if len(ready) >= 80:
                break
        return gaps

    assert at_once(write, write, write, write, read) == [None, None, None, None, []]
    assert len(ready) == 80


def test_two_swarms_count_for_themselves():
    one, other = factories.make_swarm(), factories.make_swarm()
    note(one, "swarm.noted")
    note(other, "swarm.noted")
    note(one, "swarm.noted")
    assert list(Event.objects.filter(swarm=one).values_list("seq", flat=True)) == [1, 2]
    assert list(Event.objects.filter(swarm=other).values_list("seq", flat=True)) == [1]


# Nudges.


def test_a_nudge_goes_out_after_the_commit_and_not_before(nudges: Nudges, monkeypatch: pytest.MonkeyPatch):
    subtask = factories.make_subtask(status="running")
    seen: list[tuple[str, bool]] = []

    def look(stage: Stage, row_id: int) -> None:
        def elsewhere() -> str:
            return Subtask.objects.get(pk=subtask.pk).status

        seen.append((at_once(elsewhere)[0], connection.in_atomic_block))

    monkeypatch.setattr(queue, "nudge", look)
    with transaction.atomic():
        with moves(subtask.swarm) as together:
            together.advance(subtask, SubtaskStatus.FAILED)
        assert seen == []
    assert seen == [("failed", False)] * 2


def test_a_stage_is_nudged_once_a_transaction_however_many_events_ask_for_it(nudges: Nudges):
    swarm = factories.make_swarm()
    attempts = [factories.make_attempt(factories.make_subtask(swarm), status="assigned") for _ in range(3)]
    with moves(swarm) as together:
        for attempt in attempts:
            together.created(attempt)
            together.record("subtask.complete")
            together.record("subtask.pending")
    executes = [(Stage.EXECUTE, attempt.pk) for attempt in attempts]
    assert sorted(nudges.all) == sorted([*executes, (Stage.DISPATCH, swarm.pk), (Stage.PLAN, swarm.pk)])


def test_a_transaction_without_events_nudges_nobody(nudges: Nudges):
    swarm = factories.make_swarm()
    with moves(swarm):
        pass
    assert nudges.all == []
    assert Swarm.objects.get().last_seq == 0


def test_a_broker_that_breaks_does_not_undo_what_is_committed(monkeypatch: pytest.MonkeyPatch):
    def broken(stage: Stage, row_id: int) -> None:
        raise ConnectionError("no broker")

    monkeypatch.setattr(queue, "nudge", broken)
    subtask = factories.make_subtask()
    assert advance(subtask.swarm, subtask, SubtaskStatus.BLOCKED)
    assert Subtask.objects.get().status == "blocked"


def test_every_kind_of_row_has_its_words():
    rows = (factories.make_swarm(), factories.make_subtask(), factories.make_attempt(), factories.make_entry())
    assert [type(status_of(row)) for row in rows] == [SwarmStatus, SubtaskStatus, AttemptStatus, EntryStatus]
    assert status_of(factories.make_iteration(factories.make_swarm())) is IterationStatus.DONE


def test_a_subplan_is_woken_by_its_subtask_its_parts_and_its_planner(nudges: Nudges):
    parent = factories.make_subtask(name="big", status="pending")
    other = factories.make_subtask(parent.swarm, status="running")
    part = factories.make_subtask(parent.swarm, status="running", parent=parent)
    iteration = factories.make_iteration(parent.swarm, parent=parent, status="running")
    rows = [(parent, SubtaskStatus.WAITING), (part, SubtaskStatus.FAILED), (iteration, IterationStatus.DONE)]
    for row, to in [*rows, (other, SubtaskStatus.FAILED)]:
        nudges.take()
        advance(parent.swarm, row, to)
        woken = [pk for stage, pk in nudges.take() if stage is Stage.SUBPLAN]
        assert woken == ([] if row is other else [parent.pk])
